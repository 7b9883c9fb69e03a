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
/// A buffer that one large request has grown beyond this is given back.
const MOST_KEPT_BYTES: usize = 2 << 20;
const FIRST_BACKOFF_NS: i64 = 1_000_000;
const LONGEST_BACKOFF_NS: i64 = 1_000_000_000;

/// A scheduled request without an end.
pub struct Request {
    pub row: Row,
    pub due_ns: i64,
    pub second: i64,
    /// Has left before, on a connection that said it would not answer: counted as sent already.
    pub resent: bool,
}

/// A request on its way. Dead ones (timed out) stay in line, because their answers still come in order.
struct Pending {
    request: Request,
    /// From when on nothing but ourselves kept it from leaving.
    ready_ns: i64,
    /// Our own lateness, once it has been offered to the kernel.
    slip_ns: Option<i64>,
    sent_ns: i64,
    first_byte: u64,
    bytes: u64,
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

/// How a stream of answers goes on.
enum Flow {
    Open,
    /// The peer has announced that it answers nothing after this.
    Parting,
    Broken(ErrorKind),
}

pub struct Connection {
    address: SocketAddr,
    socket: Option<Socket>,
    state: State,
    backoff_ns: i64,
    pipeline: usize,
    timeout_ns: i64,
    out: Vec<u8>,
    out_at: usize,
    /// Bytes that this connection was ever given, and ever wrote.
    encoded: u64,
    written: u64,
    /// Bytes that ever came, and those that answers have used.
    arrived: u64,
    used: u64,
    pending: VecDeque<Pending>,
    /// How many at the front have their first byte out.
    sent: usize,
    /// How many at the front have been looked at for a timeout.
    expired: usize,
    parser: Box<dyn Parser>,
    /// The kernel's buffer was full at the last write.
    blocked: bool,
    /// When it last became able to take a request that it had to refuse before.
    freed_ns: i64,
    /// Requests taken and answered since it was connected, and after how many the peer is known to part.
    taken: u64,
    answered: u64,
    life: u64,
    pub queued: bool,
    pub refused_at_connect: Option<i32>,
    pub reconnects: u64,
    pub partial_writes: u64,
}

impl Connection {
    pub fn new(address: SocketAddr, encoder: &dyn Encoder, pipeline: usize, timeout_ns: i64) -> Self {
        Connection {
            address,
            socket: None,
            state: State::Down { retry_at_ns: i64::MIN },
            backoff_ns: FIRST_BACKOFF_NS,
            pipeline,
            timeout_ns,
            out: Vec::with_capacity(MOST_OUT_BYTES),
            out_at: 0,
            encoded: 0,
            written: 0,
            arrived: 0,
            used: 0,
            pending: VecDeque::with_capacity(pipeline.min(1024)),
            sent: 0,
            expired: 0,
            parser: encoder.parser(),
            blocked: false,
            freed_ns: i64::MIN,
            taken: 0,
            answered: 0,
            life: u64::MAX,
            queued: false,
            refused_at_connect: None,
            reconnects: 0,
            partial_writes: 0,
        }
    }

    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub fn fd(&self) -> Option<RawFd> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }

    pub fn takes(&self) -> bool {
        self.is_up()
            && !self.blocked
            && self.pending.len() < self.pipeline
            && self.taken < self.life
            && self.out.len() - self.out_at < MOST_OUT_BYTES
    }

    pub fn freed_ns(&self) -> i64 {
        self.freed_ns
    }

    /// Requests encoded here of which no byte has left.
    pub fn unwritten(&self) -> u64 {
        self.pending.iter().skip(self.sent).filter(|p| p.alive).count() as u64
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
                self.refused(error.raw_os_error(), now);
                false
            }
        }
    }

    /// A connect that takes longer than a request may has failed.
    pub fn give_up_dialing(&mut self, now: i64) {
        if let State::Connecting { since_ns } = self.state {
            if now - since_ns > self.timeout_ns {
                self.refused(Some(libc::ETIMEDOUT), now);
            }
        }
    }

    /// A connect has failed; it will be tried again, later each time.
    pub fn refused(&mut self, errno: Option<i32>, now: i64) {
        self.refused_at_connect = errno.or(Some(libc::EIO));
        self.down(now + self.backoff_ns);
        self.backoff_ns = (self.backoff_ns * 2).min(LONGEST_BACKOFF_NS);
    }

    fn down(&mut self, retry_at_ns: i64) {
        self.socket = None;
        self.reconnects += u64::from(self.is_up());
        self.state = State::Down { retry_at_ns };
        self.out.clear();
        self.out_at = 0;
        self.blocked = false;
        self.parser.reset();
        self.pending.clear();
        self.sent = 0;
        self.expired = 0;
        self.encoded = 0;
        self.written = 0;
        self.arrived = 0;
        self.used = 0;
        self.taken = 0;
        self.answered = 0;
    }

    /// The connection has broken: what is under way ends with `kind`; what never left may leave elsewhere.
    pub fn fail(&mut self, kind: ErrorKind, now: i64, book: &mut Book, orphans: &mut Vec<Request>) {
        for pending in self.pending.drain(..).filter(|p| p.alive) {
            if pending.sent_ns == 0 {
                orphans.push(pending.request);
            } else {
                book.ended(pending.request.second, pending.request.row.slot, End::Error(kind));
            }
        }
        self.down(now + self.backoff_ns);
        self.backoff_ns = (self.backoff_ns * 2).min(LONGEST_BACKOFF_NS);
    }

    /// The peer parts in good order: it has not looked at what comes after its last answer (RFC 9112, 9.6), which may leave
    /// again elsewhere. From now on a connection gets no more than it was willing to answer.
    fn part(&mut self, now: i64, orphans: &mut Vec<Request>) {
        self.life = self.answered.max(1);
        for pending in self.pending.drain(..).filter(|p| p.alive) {
            let resent = pending.request.resent || pending.sent_ns != 0;
            orphans.push(Request { resent, ..pending.request });
        }
        self.down(now);
    }

    /// The run was stopped: what has left ends as stopped, what has not as unsent.
    pub fn abandon(&mut self, now: i64, book: &mut Book) {
        for Pending { request, sent_ns, .. } in self.pending.drain(..).filter(|p| p.alive) {
            let left = sent_ns != 0 || request.resent;
            let end = if left { End::Error(ErrorKind::Stopped) } else { End::Unsent };
            book.ended(request.second, request.row.slot, end);
        }
        self.down(now);
    }

    /// Encodes one request. `ready_ns`: when it was both due and allowed to go.
    pub fn take(&mut self, request: Request, ready_ns: i64, op: &str, encoder: &dyn Encoder) {
        if self.out_at == self.out.len() {
            self.out.clear();
            self.out_at = 0;
            if self.out.capacity() > MOST_KEPT_BYTES {
                self.out.shrink_to(MOST_OUT_BYTES);
            }
        }
        let before = self.out.len();
        let expect = encoder.encode(&request.row, op, &mut self.out);
        let bytes = (self.out.len() - before) as u64;
        let first_byte = self.encoded;
        self.pending.push_back(Pending { request, ready_ns, slip_ns: None, sent_ns: 0, first_byte, bytes, alive: true, expect });
        self.encoded += bytes;
        self.taken += 1;
    }

    /// Writes what is encoded, once; one system call carries all that was due together.
    pub fn flush(&mut self, book: &mut Book, orphans: &mut Vec<Request>) -> Watch {
        if !self.is_up() || self.out_at == self.out.len() {
            return Watch::Same;
        }
        let Some(socket) = self.socket.as_mut() else {
            return Watch::Same;
        };
        let stamp = now_ns();
        let wrote = match socket.write(&self.out[self.out_at..]) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Watch::Same,
            Err(e) => {
                self.fail(kind_of(&e), stamp, book, orphans);
                return Watch::Gone;
            }
        };
        self.out_at += wrote;
        self.written += wrote as u64;
        while let Some(pending) = self.pending.get_mut(self.sent).filter(|p| p.first_byte < self.written) {
            pending.sent_ns = stamp;
            let Request { second, resent, row, .. } = &pending.request;
            if pending.alive && !resent {
                let slip = pending.slip_ns.unwrap_or(stamp - pending.ready_ns);
                book.sent(*second, row.slot, stamp, slip, pending.bytes);
            }
            self.sent += 1;
        }
        let was_blocked = self.blocked;
        self.blocked = self.out_at < self.out.len();
        match (was_blocked, self.blocked) {
            (false, true) => {
                self.partial_writes += 1;
                // From here on the peer keeps them waiting, not we.
                for pending in self.pending.iter_mut().skip(self.sent) {
                    pending.slip_ns.get_or_insert(stamp - pending.ready_ns);
                }
                Watch::ReadWrite
            }
            (true, false) => {
                self.freed_ns = stamp;
                Watch::ReadOnly
            }
            _ => Watch::Same,
        }
    }

    /// The descriptor became writable: a connect has ended, or a full buffer has room.
    pub fn writable(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Request>) -> Watch {
        if let State::Connecting { .. } = self.state {
            return match self.socket.as_ref().map_or(Ok(None), Socket::take_error) {
                Ok(None) => {
                    self.state = State::Up;
                    self.freed_ns = now;
                    self.refused_at_connect = None;
                    Watch::ReadOnly
                }
                Ok(Some(e)) | Err(e) => {
                    self.refused(e.raw_os_error(), now);
                    Watch::Gone
                }
            };
        }
        self.flush(book, orphans)
    }

    /// Reads what has come and settles the requests that it answers.
    pub fn readable(&mut self, buffer: &mut [u8], book: &mut Book, orphans: &mut Vec<Request>) -> Watch {
        while self.is_up() {
            let Some(socket) = self.socket.as_mut() else {
                return Watch::Same;
            };
            let read = socket.read(buffer);
            let stamp = now_ns();
            let drained = matches!(read, Ok(n) if n < buffer.len());
            let flow = match read {
                Ok(0) => self.hung_up(stamp, book),
                Ok(n) => self.settle(&buffer[..n], stamp, book),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Watch::Same,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => Flow::Broken(kind_of(&e)),
            };
            match flow {
                Flow::Open if drained => return Watch::Same,
                Flow::Open => {}
                Flow::Parting => {
                    self.part(stamp, orphans);
                    return Watch::Gone;
                }
                Flow::Broken(kind) => {
                    self.fail(kind, stamp, book, orphans);
                    return Watch::Gone;
                }
            }
        }
        Watch::Same
    }

    fn hung_up(&mut self, stamp: i64, book: &mut Book) -> Flow {
        match self.parser.closed() {
            Some(answer) if !self.pending.is_empty() => {
                self.answered(answer, stamp, book);
                Flow::Parting
            }
            _ => Flow::Broken(ErrorKind::Closed),
        }
    }

    /// Ends the oldest request.
    fn answered(&mut self, answer: Answer, stamp: i64, book: &mut Book) {
        let Some(Pending { request, sent_ns, alive, .. }) = self.pending.pop_front() else {
            return;
        };
        let bytes = self.arrived - self.parser.unread() as u64 - self.used;
        self.used += bytes;
        self.sent = self.sent.saturating_sub(1);
        self.expired = self.expired.saturating_sub(1);
        self.answered += 1;
        if self.answered >= self.life {
            // It did not part when it was thought to.
            self.life = self.life.saturating_mul(2);
            self.freed_ns = stamp;
        }
        self.backoff_ns = FIRST_BACKOFF_NS;
        if !alive {
            return;
        }
        let Request { second, due_ns, row, .. } = &request;
        let response_ns = stamp.saturating_sub(*due_ns);
        let end = match answer {
            // The clock decides, not how often it is looked at.
            _ if response_ns > self.timeout_ns => End::TimedOut,
            Answer::Ok => End::Completed { miss: false },
            Answer::Miss => End::Completed { miss: true },
            Answer::Server => End::Error(ErrorKind::Server),
            Answer::Status4xx => End::Error(ErrorKind::Status4xx),
            Answer::Status5xx => End::Error(ErrorKind::Status5xx),
        };
        book.received(*second, row.slot, bytes);
        if matches!(end, End::Completed { .. }) {
            book.latency(*second, row.slot, stamp - sent_ns, response_ns);
        }
        book.ended(*second, row.slot, end);
    }

    fn settle(&mut self, bytes: &[u8], stamp: i64, book: &mut Book) -> Flow {
        self.parser.push(bytes);
        self.arrived += bytes.len() as u64;
        let was_full = self.pending.len() >= self.pipeline;
        while let Some(front) = self.pending.front() {
            match self.parser.next(&front.expect) {
                Parsed::NeedMore => break,
                Parsed::Garbage => return Flow::Broken(ErrorKind::Protocol),
                // An answer to what was never asked.
                Parsed::Answer { .. } if front.sent_ns == 0 => return Flow::Broken(ErrorKind::Protocol),
                Parsed::Answer { answer, close } => {
                    self.answered(answer, stamp, book);
                    if close {
                        return Flow::Parting;
                    }
                }
            }
        }
        if self.pending.is_empty() && !self.parser.is_between() {
            return Flow::Broken(ErrorKind::Protocol);
        }
        if was_full && self.pending.len() < self.pipeline {
            self.freed_ns = stamp;
        }
        Flow::Open
    }

    /// Ends what is overdue. Their places in line stay until answered; a line that stays dead too long is closed.
    pub fn expire(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Request>) {
        let timeout = self.timeout_ns;
        let overdue = |pending: &Pending| now.saturating_sub(pending.request.due_ns) > timeout;
        while let Some(pending) = self.pending.get_mut(self.expired).filter(|p| overdue(p)) {
            pending.alive = false;
            book.ended(pending.request.second, pending.request.row.slot, End::TimedOut);
            self.expired += 1;
        }
        // By when it left, not by when it was due: a run that began late must not close everything.
        let left = |pending: &Pending| if pending.sent_ns == 0 { pending.ready_ns } else { pending.sent_ns };
        if self.pending.front().is_some_and(|p| !p.alive && now.saturating_sub(left(p)) > 2 * timeout) {
            self.fail(ErrorKind::Closed, now, book, orphans);
        }
    }
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ErrorKind::Reset,
        io::ErrorKind::ConnectionRefused => ErrorKind::Connect,
        _ => ErrorKind::Closed,
    }
}
