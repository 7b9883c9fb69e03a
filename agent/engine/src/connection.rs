//! One connection: bytes out, bytes in, and the requests that wait on it in order.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::now_ns;
use crate::driver::{Answer, Encoder, Expect, Parsed, Parser};
use crate::feed::Row;
use crate::tally::{Book, End, ErrorKind};

/// Encoded but unwritten bytes beyond which a connection takes no further request.
const MOST_OUT_BYTES: usize = 256 * 1024;
const FIRST_BACKOFF_NS: i64 = 1_000_000;
const LONGEST_BACKOFF_NS: i64 = 1_000_000_000;

/// A request on its way. Dead ones (timed out) stay in line, because their answers still come in order.
struct Pending {
    due_ns: i64,
    /// From when on nothing but ourselves kept it from leaving.
    ready_ns: i64,
    sent_ns: i64,
    first_byte: u64,
    bytes: u64,
    second: i64,
    op: u16,
    alive: bool,
    expect: Expect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down { retry_at_ns: i64 },
    Connecting { since_ns: i64 },
    Up,
}

/// What the pacer must do with the poll after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    Same,
    ReadOnly,
    ReadWrite,
    Gone,
}

pub struct Connection {
    address: SocketAddr,
    socket: Option<Socket>,
    state: State,
    backoff_ns: i64,
    out: Vec<u8>,
    out_at: usize,
    /// Bytes that this connection was ever given, and ever wrote.
    encoded: u64,
    written: u64,
    pending: VecDeque<Pending>,
    /// How many at the front have their first byte out.
    sent: usize,
    /// How many at the front have been looked at for a timeout.
    expired: usize,
    parser: Box<dyn Parser>,
    blocked: bool,
    /// When it last became able to take a request that it had to refuse before.
    freed_ns: i64,
    pub refused_at_connect: Option<i32>,
    pub reconnects: u64,
    pub partial_writes: u64,
    pub alive: u64,
}

impl Connection {
    pub fn new(address: SocketAddr, encoder: &dyn Encoder, pipeline: usize) -> Self {
        Connection {
            address,
            socket: None,
            state: State::Down { retry_at_ns: 0 },
            backoff_ns: FIRST_BACKOFF_NS,
            out: Vec::with_capacity(MOST_OUT_BYTES + 128 * 1024),
            out_at: 0,
            encoded: 0,
            written: 0,
            pending: VecDeque::with_capacity(pipeline.min(4096)),
            sent: 0,
            expired: 0,
            parser: encoder.parser(),
            blocked: false,
            freed_ns: 0,
            refused_at_connect: None,
            reconnects: 0,
            partial_writes: 0,
            alive: 0,
        }
    }

    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub fn fd(&self) -> Option<RawFd> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }

    pub fn takes(&self, pipeline: usize) -> bool {
        self.is_up() && !self.blocked && self.pending.len() < pipeline && self.out.len() - self.out_at < MOST_OUT_BYTES
    }

    pub fn freed_ns(&self) -> i64 {
        self.freed_ns
    }

    pub fn has_output(&self) -> bool {
        self.out_at < self.out.len()
    }

    /// Starts connecting if it is time to; true when there is a new descriptor to watch for writing.
    pub fn dial_if_due(&mut self, now: i64) -> bool {
        let State::Down { retry_at_ns } = self.state else {
            return false;
        };
        if now < retry_at_ns {
            return false;
        }
        let opened = Socket::new(Domain::for_address(self.address), Type::STREAM, Some(Protocol::TCP)).and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            match socket.connect(&self.address.into()) {
                Ok(()) => Ok(socket),
                Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
                Err(e) => Err(e),
            }
        });
        match opened {
            Ok(socket) => {
                self.socket = Some(socket);
                self.state = State::Connecting { since_ns: now };
                true
            }
            Err(error) => {
                self.refused_at_connect = error.raw_os_error().or(Some(libc::EIO));
                self.down(now);
                false
            }
        }
    }

    /// A connect that takes longer than `timeout_ns` has failed.
    pub fn give_up_dialing(&mut self, now: i64, timeout_ns: i64) -> bool {
        if let State::Connecting { since_ns } = self.state {
            if now - since_ns > timeout_ns {
                self.refused_at_connect = Some(libc::ETIMEDOUT);
                self.down(now);
                return true;
            }
        }
        false
    }

    fn down(&mut self, now: i64) {
        self.socket = None;
        self.state = State::Down { retry_at_ns: now + self.backoff_ns };
        self.backoff_ns = (self.backoff_ns * 2).min(LONGEST_BACKOFF_NS);
        self.out.clear();
        self.out_at = 0;
        self.blocked = false;
        self.parser.reset();
    }

    /// Ends everything that waits here with `kind` and drops the socket; it will be dialled again.
    pub fn fail(&mut self, kind: ErrorKind, now: i64, book: &mut Book) {
        for request in self.pending.drain(..) {
            if request.alive {
                book.ended(request.second, request.op, End::Error(kind));
            }
        }
        self.alive = 0;
        self.sent = 0;
        self.expired = 0;
        self.encoded = 0;
        self.written = 0;
        if self.is_up() {
            self.reconnects += 1;
        }
        self.down(now);
    }

    /// Encodes one request; `held`: it had to wait for a connection, which is not our lateness.
    #[allow(clippy::too_many_arguments)]
    pub fn take(
        &mut self,
        row: &Row,
        due_ns: i64,
        second: i64,
        ready_ns: i64,
        op: &str,
        target: Option<&[u8]>,
        encoder: &dyn Encoder,
    ) {
        if self.out_at == self.out.len() {
            self.out.clear();
            self.out_at = 0;
        }
        let before = self.out.len();
        let expect = encoder.encode(row, op, target, &mut self.out);
        let bytes = (self.out.len() - before) as u64;
        self.pending.push_back(Pending {
            due_ns,
            ready_ns,
            sent_ns: 0,
            first_byte: self.encoded,
            bytes,
            second,
            op: row.op,
            alive: true,
            expect,
        });
        self.encoded += bytes;
        self.alive += 1;
    }

    /// Writes what is encoded, once; one system call carries all that was due together.
    pub fn flush(&mut self, book: &mut Book) -> Watch {
        if !self.is_up() || !self.has_output() {
            return Watch::Same;
        }
        let Some(socket) = self.socket.as_mut() else {
            return Watch::Same;
        };
        let stamp = now_ns();
        match socket.write(&self.out[self.out_at..]) {
            Ok(n) => {
                self.out_at += n;
                self.written += n as u64;
                while let Some(request) = self.pending.get_mut(self.sent) {
                    if request.first_byte >= self.written {
                        break;
                    }
                    request.sent_ns = stamp;
                    if request.alive {
                        let ready = if self.blocked { stamp } else { request.ready_ns.max(request.due_ns) };
                        book.sent(request.second, request.op, stamp - ready, request.bytes);
                    }
                    self.sent += 1;
                }
                let was_blocked = self.blocked;
                self.blocked = self.has_output();
                match (was_blocked, self.blocked) {
                    (false, true) => {
                        self.partial_writes += 1;
                        Watch::ReadWrite
                    }
                    (true, false) => {
                        self.freed_ns = stamp;
                        Watch::ReadOnly
                    }
                    _ => Watch::Same,
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                if self.blocked {
                    return Watch::Same;
                }
                self.blocked = true;
                self.partial_writes += 1;
                Watch::ReadWrite
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Watch::Same,
            Err(e) => {
                self.fail(kind_of(&e), stamp, book);
                Watch::Gone
            }
        }
    }

    /// The descriptor became writable: a connect has ended, or a full buffer has room.
    pub fn writable(&mut self, now: i64, book: &mut Book) -> Watch {
        if let State::Connecting { .. } = self.state {
            let error = self.socket.as_ref().map_or(Ok(None), Socket::take_error);
            match error {
                Ok(None) => {
                    self.state = State::Up;
                    self.freed_ns = now;
                    self.refused_at_connect = None;
                    return Watch::ReadOnly;
                }
                Ok(Some(e)) | Err(e) => {
                    self.refused_at_connect = e.raw_os_error().or(Some(libc::EIO));
                    self.down(now);
                    return Watch::Gone;
                }
            }
        }
        self.flush(book)
    }

    /// Reads what has come and settles the requests that it answers.
    pub fn readable(&mut self, buffer: &mut [u8], pipeline: usize, book: &mut Book) -> Watch {
        loop {
            if !self.is_up() {
                return Watch::Same;
            }
            let Some(socket) = self.socket.as_mut() else {
                return Watch::Same;
            };
            let read = socket.read(buffer);
            let stamp = now_ns();
            match read {
                Ok(0) => {
                    self.fail(ErrorKind::Closed, stamp, book);
                    return Watch::Gone;
                }
                Ok(n) => {
                    if let Err(kind) = self.settle(&buffer[..n], stamp, pipeline, book) {
                        self.fail(kind, stamp, book);
                        return Watch::Gone;
                    }
                    if n < buffer.len() {
                        return Watch::Same;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Watch::Same,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.fail(kind_of(&e), stamp, book);
                    return Watch::Gone;
                }
            }
        }
    }

    fn settle(&mut self, bytes: &[u8], stamp: i64, pipeline: usize, book: &mut Book) -> Result<(), ErrorKind> {
        self.parser.push(bytes);
        if let Some(front) = self.pending.front() {
            if front.alive {
                book.received(front.second, front.op, bytes.len() as u64);
            }
        }
        let was_full = self.pending.len() >= pipeline;
        while let Some(front) = self.pending.front() {
            match self.parser.next(&front.expect) {
                Parsed::NeedMore => break,
                Parsed::Garbage => return Err(ErrorKind::Protocol),
                Parsed::Answer { answer, close } => {
                    if front.sent_ns == 0 {
                        // An answer to what was never asked.
                        return Err(ErrorKind::Protocol);
                    }
                    if front.alive {
                        let end = match answer {
                            Answer::Ok => End::Completed { miss: false },
                            Answer::Miss => End::Completed { miss: true },
                            Answer::Server => End::Error(ErrorKind::Server),
                            Answer::Status4xx => End::Error(ErrorKind::Status4xx),
                            Answer::Status5xx => End::Error(ErrorKind::Status5xx),
                        };
                        if matches!(end, End::Completed { .. }) {
                            book.latency(front.second, front.op, stamp - front.sent_ns, stamp - front.due_ns);
                        }
                        book.ended(front.second, front.op, end);
                        self.alive -= 1;
                    }
                    self.pending.pop_front();
                    self.sent = self.sent.saturating_sub(1);
                    self.expired = self.expired.saturating_sub(1);
                    self.backoff_ns = FIRST_BACKOFF_NS;
                    if close {
                        return Err(ErrorKind::Closed);
                    }
                }
            }
        }
        if self.pending.is_empty() && !self.parser.is_empty() {
            return Err(ErrorKind::Protocol);
        }
        if was_full && self.pending.len() < pipeline {
            self.freed_ns = stamp;
        }
        Ok(())
    }

    /// Ends what is overdue. Their places in line stay until answered; a line that stays dead too long is closed.
    pub fn expire(&mut self, now: i64, timeout_ns: i64, book: &mut Book) -> Watch {
        while let Some(request) = self.pending.get_mut(self.expired) {
            if now - request.due_ns <= timeout_ns {
                break;
            }
            if request.alive {
                request.alive = false;
                self.alive -= 1;
                book.ended(request.second, request.op, End::TimedOut);
            }
            self.expired += 1;
        }
        let hopeless = self.pending.front().is_some_and(|r| !r.alive && now - r.due_ns > 2 * timeout_ns);
        if hopeless {
            self.fail(ErrorKind::Closed, now, book);
            return Watch::Gone;
        }
        Watch::Same
    }
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ErrorKind::Reset,
        io::ErrorKind::ConnectionRefused => ErrorKind::Connect,
        _ => ErrorKind::Closed,
    }
}
