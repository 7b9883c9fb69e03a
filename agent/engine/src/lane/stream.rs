//! A TCP connection, plain or TLS: bytes out, bytes in.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use socket2::{Domain, Protocol as Transport, Socket, Type};

use super::kernel_stamps::KernelStamps;
use super::line::{Line, Pending, Request};
use super::tls::{Security, Tls};
use super::{Gauges, Lane, Orphan, Refusal, Watch};
use crate::clock::now_ns;
use crate::driver::{Of, Parsed, Protocol, Session, Verb};
use crate::tally::{Book, ErrorKind};

/// Encoded but unwritten bytes beyond which a connection takes no further request.
const MOST_OUT_BYTES: usize = 256 * 1024;
/// A buffer that one large request has grown beyond this is given back.
const MOST_KEPT_BYTES: usize = 2 << 20;
const FIRST_BACKOFF_NS: i64 = 1_000_000;
const LONGEST_BACKOFF_NS: i64 = 1_000_000_000;
/// A busy connection that waits for one answer with so many places empty behind it starts anew.
const MOST_PLACES: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down {
        retry_at_ns: i64,
    },
    Connecting {
        since_ns: i64,
    },
    /// Connected; TLS and the protocol's greeting are not over.
    Greeting {
        since_ns: i64,
    },
    Up,
}

/// How a stream of answers goes on.
enum Flow {
    Open,
    /// The peer has announced that it answers nothing after this.
    Parting,
    Broken(ErrorKind),
}

pub struct Stream {
    address: SocketAddr,
    security: Option<Arc<Security>>,
    socket: Option<Socket>,
    tls: Option<Tls>,
    /// One in so many writes and reads is stamped by the kernel; 0: none.
    stamp_every: u32,
    stamps: Option<KernelStamps>,
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
    line: Line,
    /// Number of the first request with no byte out.
    unsent: u64,
    /// Number of the first that has not been looked at for a timeout.
    unexpired: u64,
    session: Box<dyn Session>,
    /// The kernel's buffer was full at the last write.
    blocked: bool,
    freed_ns: i64,
    /// Requests answered since it was connected, and after how many the peer is known to part.
    answered: u64,
    life: u64,
    /// The peer takes no more requests; those under way are still answered.
    closing: bool,
    /// The next request is to be announced by the session.
    asking: bool,
    refusal: Option<Refusal>,
    reconnects: u64,
    partial_writes: u64,
}

impl Stream {
    pub fn new(
        address: SocketAddr,
        protocol: &dyn Protocol,
        pipeline: usize,
        timeout_ns: i64,
        security: Option<Arc<Security>>,
    ) -> Self {
        Stream {
            address,
            security,
            socket: None,
            tls: None,
            stamp_every: 0,
            stamps: None,
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
            line: Line::with_capacity(pipeline.min(1024)),
            unsent: 0,
            unexpired: 0,
            session: protocol.session(),
            blocked: false,
            freed_ns: i64::MIN,
            answered: 0,
            life: u64::MAX,
            closing: false,
            asking: false,
            refusal: None,
            reconnects: 0,
            partial_writes: 0,
        }
    }

    /// Has the kernel stamp one in `every` writes and reads, where nothing lies between them and the wire's bytes.
    pub fn stamped(mut self, every: u32) -> Self {
        self.stamp_every = if self.security.is_none() { every } else { 0 };
        self
    }

    fn down(&mut self, retry_at_ns: i64) {
        self.socket = None;
        self.stamps = None;
        self.tls = None;
        self.reconnects += u64::from(self.is_up());
        self.state = State::Down { retry_at_ns };
        self.out.clear();
        self.out_at = 0;
        self.blocked = false;
        self.closing = false;
        self.asking = false;
        self.line.restart();
        self.unsent = 0;
        self.unexpired = 0;
        self.encoded = 0;
        self.written = 0;
        self.arrived = 0;
        self.used = 0;
        self.answered = 0;
    }

    fn back_off(&mut self, now: i64) {
        self.down(now + self.backoff_ns);
        self.backoff_ns = (self.backoff_ns * 2).min(LONGEST_BACKOFF_NS);
    }

    /// The connection has broken: what is under way ends with `kind`; what never left may leave elsewhere.
    fn break_off(&mut self, kind: ErrorKind, now: i64, book: &mut Book, orphans: &mut Vec<Orphan>) {
        if let State::Greeting { .. } = self.state {
            let words = self.session.refusal().or_else(|| self.tls.as_mut().and_then(Tls::complaint));
            self.refusal = Some(Refusal { errno: libc::ECONNRESET, words });
        }
        let left = self.line.drain_from(0).filter_map(|p| p.breaks(kind, now, book));
        orphans.extend(left.map(|request| Orphan { request, moved: None }));
        self.back_off(now);
    }

    /// The peer parts in good order: it has not looked at what comes after its last answer (RFC 9112, 9.6), which may leave
    /// again elsewhere. From now on a connection gets no more than it was willing to answer.
    fn part(&mut self, now: i64, orphans: &mut Vec<Orphan>) {
        if !self.closing {
            self.life = self.answered.max(1);
        }
        give_away(self.line.drain_from(0), orphans);
        self.down(now);
    }

    /// The peer will answer only requests below `answered`: the rest may leave again elsewhere.
    fn close_after(&mut self, answered: u64, orphans: &mut Vec<Orphan>) {
        self.closing = true;
        give_away(self.line.drain_from(answered), orphans);
    }

    /// Ends the request that an answer is for. False: nobody asked.
    fn answer(&mut self, of: Of, settle: impl FnOnce(&mut Self, Pending, u64)) -> bool {
        let number = self.number(of);
        // What has not left yet cannot have been answered, and stays in line: it may leave elsewhere.
        if self.line.get_mut(number).is_some_and(|pending| pending.sent_ns == 0) {
            return false;
        }
        let Some(pending) = self.line.take(number) else {
            // Answers by number may come for what we have given up.
            return matches!(of, Of::Number(_));
        };
        let bytes = self.arrived - self.session.unread() as u64 - self.used;
        self.used += bytes;
        self.answered += 1;
        if self.answered >= self.life {
            // It did not part when it was thought to.
            self.life = self.life.saturating_mul(2);
            self.freed_ns = now_ns();
        }
        self.backoff_ns = FIRST_BACKOFF_NS;
        settle(self, pending, bytes);
        true
    }

    fn number(&self, of: Of) -> u64 {
        match of {
            Of::Oldest => self.line.first_number(),
            Of::Number(number) => number,
        }
    }

    fn settle(&mut self, bytes: &[u8], stamp: i64, book: &mut Book, orphans: &mut Vec<Orphan>) -> Flow {
        self.session.push(bytes);
        self.arrived += bytes.len() as u64;
        let was_full = !self.has_place();
        let timeout_ns = self.timeout_ns;
        loop {
            let expect = self.line.front().map(|p| p.expect).unwrap_or_default();
            let asked = match self.session.next(&expect) {
                Parsed::NeedMore => break,
                Parsed::Garbage => return Flow::Broken(ErrorKind::Protocol),
                Parsed::Tokens { of, tokens } => {
                    let number = self.number(of);
                    self.line.get_mut(number).map(|p| p.saw_tokens(stamp, tokens)).is_some()
                }
                Parsed::Usage { of, tokens } => {
                    let number = self.number(of);
                    self.line.get_mut(number).map(|p| p.tokens = tokens).is_some()
                }
                Parsed::Closing { answered } => {
                    self.close_after(answered, orphans);
                    true
                }
                Parsed::Moved => {
                    let moved = self.session.moved();
                    self.answer(Of::Oldest, |_, pending, _| {
                        if pending.alive {
                            let request = Request { resent: true, ..pending.request };
                            orphans.push(Orphan { request, moved });
                        }
                    })
                }
                Parsed::Answer { of, answer, close } => {
                    let asked = self.answer(of, |_, pending, bytes| pending.settle(answer, stamp, bytes, timeout_ns, book));
                    if asked && close {
                        return Flow::Parting;
                    }
                    asked
                }
            };
            if !asked {
                return Flow::Broken(ErrorKind::Protocol);
            }
        }
        if let State::Greeting { .. } = self.state {
            if self.session.ready() {
                self.greeted(stamp);
            }
        } else if self.line.is_empty() && !self.session.is_between() {
            return Flow::Broken(ErrorKind::Protocol);
        }
        if self.closing && self.line.is_empty() {
            return Flow::Parting;
        }
        if was_full && self.has_place() {
            self.freed_ns = stamp;
        }
        Flow::Open
    }

    fn has_place(&self) -> bool {
        self.line.len() < self.pipeline && self.session.takes()
    }

    fn greeted(&mut self, now: i64) {
        self.state = State::Up;
        self.freed_ns = now;
        self.refusal = None;
    }

    fn hung_up(&mut self, stamp: i64, book: &mut Book) -> Flow {
        let timeout_ns = self.timeout_ns;
        match self.session.closed() {
            Some(answer) if !self.line.is_empty() => {
                self.answer(Of::Oldest, |_, pending, bytes| pending.settle(answer, stamp, bytes, timeout_ns, book));
                Flow::Parting
            }
            _ if self.closing => Flow::Parting,
            _ => Flow::Broken(ErrorKind::Closed),
        }
    }

    /// Adds what the protocol owes to what is to be written.
    fn owe(&mut self) {
        self.reuse_out();
        self.session.owes(&mut self.out);
        self.recount();
    }

    /// After the session has written without a request.
    fn recount(&mut self) {
        self.encoded = self.written + (self.out.len() - self.out_at) as u64;
    }

    /// Reads decrypted bytes into `buffer`.
    fn read(&mut self, buffer: &mut [u8], book: &mut Book) -> io::Result<usize> {
        let Some(socket) = self.socket.as_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if let Some(stamps) = self.stamps.as_mut() {
            return stamps.read(socket.as_raw_fd(), buffer, book);
        }
        match self.tls.as_mut() {
            None => socket.read(buffer),
            Some(tls) => tls.read(socket, buffer),
        }
    }

    /// Writes what lies in `out`; how many of its bytes were taken.
    fn write(&mut self, stamp: i64) -> io::Result<usize> {
        let Some(socket) = self.socket.as_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if let Some(stamps) = self.stamps.as_mut() {
            return stamps.write(socket.as_raw_fd(), &self.out[self.out_at..], stamp);
        }
        match self.tls.as_mut() {
            None => socket.write(&self.out[self.out_at..]),
            Some(tls) => tls.write(socket, &self.out[self.out_at..]),
        }
    }

    fn has_to_write(&self) -> bool {
        self.out_at < self.out.len() || self.tls.as_ref().is_some_and(Tls::wants_write)
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Up | State::Greeting { .. })
    }

    fn reuse_out(&mut self) {
        if self.out_at == self.out.len() {
            self.out.clear();
            self.out_at = 0;
            if self.out.capacity() > MOST_KEPT_BYTES {
                self.out.shrink_to(MOST_OUT_BYTES);
            }
        }
    }
}

/// Requests that may leave again elsewhere.
fn give_away(gone: impl Iterator<Item = Pending>, orphans: &mut Vec<Orphan>) {
    for pending in gone.filter(|p| p.alive) {
        let resent = pending.request.resent || pending.sent_ns != 0;
        orphans.push(Orphan { request: Request { resent, ..pending.request }, moved: None });
    }
}

impl Lane for Stream {
    fn fd(&self) -> Option<RawFd> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }

    fn is_up(&self) -> bool {
        self.state == State::Up
    }

    fn takes(&self) -> bool {
        self.is_up()
            && !self.blocked
            && !self.closing
            && self.has_place()
            && self.line.next_number() < self.life
            && self.line.next_number() - self.line.first_number() < MOST_PLACES
            && self.out.len() - self.out_at < MOST_OUT_BYTES
    }

    fn freed_ns(&self) -> i64 {
        self.freed_ns
    }

    fn take(&mut self, request: Request, ready_ns: i64, verb: Verb) {
        self.reuse_out();
        let before = self.out.len();
        let asking = std::mem::take(&mut self.asking);
        if asking {
            self.session.asking(&mut self.out);
        }
        let number = self.line.next_number();
        let mut expect = self.session.encode(&request.row, verb, number, &mut self.out);
        expect.asked = asking;
        let bytes = (self.out.len() - before) as u64;
        self.line.push(Pending::new(request, ready_ns, self.encoded, bytes, expect));
        self.encoded += bytes;
    }

    fn asking(&mut self) {
        self.asking = true;
    }

    fn flush(&mut self, book: &mut Book, orphans: &mut Vec<Orphan>) -> Watch {
        if !self.is_open() || !self.has_to_write() {
            return Watch::Same;
        }
        let stamp = now_ns();
        let wrote = match self.write(stamp) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Watch::Same,
            Err(e) => {
                self.break_off(kind_of(&e), stamp, book, orphans);
                return Watch::Gone;
            }
        };
        self.out_at += wrote;
        self.written += wrote as u64;
        let end = self.line.next_number();
        while self.unsent < end {
            if let Some(pending) = self.line.get_mut(self.unsent) {
                if pending.first_byte >= self.written {
                    break;
                }
                pending.leaves(stamp, book);
            }
            self.unsent += 1;
        }
        let was_blocked = self.blocked;
        self.blocked = self.has_to_write();
        match (was_blocked, self.blocked) {
            (false, true) => {
                self.partial_writes += 1;
                // From here on the peer keeps them waiting, not we.
                for number in self.unsent..end {
                    if let Some(pending) = self.line.get_mut(number) {
                        pending.slip_ns.get_or_insert(stamp - pending.ready_ns);
                    }
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

    fn writable(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Orphan>) -> Watch {
        let State::Connecting { since_ns } = self.state else {
            return self.flush(book, orphans);
        };
        match self.socket.as_ref().map_or(Ok(None), Socket::take_error) {
            Ok(None) => {
                if let (1.., Some(fd)) = (self.stamp_every, self.fd()) {
                    self.stamps = KernelStamps::enable(fd, self.stamp_every).ok();
                }
                self.session.open(&mut self.out);
                self.encoded += self.out.len() as u64;
                self.tls = self.security.as_ref().map(|security| security.session());
                if self.tls.is_none() && self.session.ready() {
                    self.greeted(now);
                } else {
                    self.state = State::Greeting { since_ns };
                }
                self.blocked = self.has_to_write();
                match self.flush(book, orphans) {
                    Watch::Gone => Watch::Gone,
                    _ if self.blocked => Watch::ReadWrite,
                    _ => Watch::ReadOnly,
                }
            }
            Ok(Some(e)) | Err(e) => {
                self.refused(e.raw_os_error(), now);
                Watch::Gone
            }
        }
    }

    fn readable(&mut self, buffer: &mut [u8], book: &mut Book, orphans: &mut Vec<Orphan>) -> Watch {
        let mut watch = Watch::Same;
        while self.is_open() {
            let read = self.read(buffer, book);
            let stamp = now_ns();
            let drained = self.tls.is_none() && matches!(read, Ok(n) if n < buffer.len());
            let flow = match read {
                Ok(0) => self.hung_up(stamp, book),
                Ok(n) => self.settle(&buffer[..n], stamp, book, orphans),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if let (State::Greeting { .. }, Some(tls)) = (self.state, &self.tls) {
                        if !tls.is_handshaking() && self.session.ready() {
                            self.greeted(stamp);
                        }
                    }
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => Flow::Broken(kind_of(&e)),
            };
            match flow {
                Flow::Open if drained => break,
                Flow::Open => {}
                Flow::Parting => {
                    self.part(stamp, orphans);
                    return Watch::Gone;
                }
                Flow::Broken(kind) => {
                    self.break_off(kind, stamp, book, orphans);
                    return Watch::Gone;
                }
            }
        }
        self.owe();
        if self.has_to_write() && !self.blocked {
            watch = self.flush(book, orphans);
        }
        watch
    }

    /// Ends what is overdue. Where answers come in order their places stay until answered; a line that stays dead too long is closed.
    fn expire(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Orphan>) -> Watch {
        let timeout = self.timeout_ns;
        let mut cancelled = false;
        self.unexpired = self.unexpired.max(self.line.first_number());
        while self.unexpired < self.line.next_number() {
            if let Some(pending) = self.line.get_mut(self.unexpired) {
                if !pending.is_overdue(now, timeout) {
                    break;
                }
                pending.times_out(now, book);
                if pending.sent_ns != 0 && self.session.cancel(self.unexpired, &mut self.out) {
                    self.line.take(self.unexpired);
                    cancelled = true;
                }
            }
            self.unexpired += 1;
        }
        // By when it left, not by when it was due: a run that began late must not close everything.
        let left = |pending: &Pending| if pending.sent_ns == 0 { pending.ready_ns } else { pending.sent_ns };
        if self.line.front().is_some_and(|p| !p.alive && now.saturating_sub(left(p)) > 2 * timeout) {
            // It is we who close: what waits for the same answer has waited in vain, and no peer has closed on it.
            for number in self.line.first_number()..self.line.next_number() {
                if let Some(pending) = self.line.get_mut(number).filter(|p| p.sent_ns != 0) {
                    pending.times_out(now, book);
                }
            }
            self.break_off(ErrorKind::Closed, now, book, orphans);
            return Watch::Gone;
        }
        if cancelled {
            self.recount();
            self.freed_ns = now;
            return if self.blocked { Watch::Same } else { self.flush(book, orphans) };
        }
        Watch::Same
    }

    fn fail(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Orphan>) {
        self.break_off(ErrorKind::Closed, now, book, orphans);
    }

    fn abandon(&mut self, now: i64, book: &mut Book) {
        self.line.drain_from(0).for_each(|pending| pending.stops(now, book));
        self.down(now);
    }

    fn gauges(&self) -> Gauges {
        let unwritten = self.line.iter_from(self.unsent).filter(|p| p.alive).count() as u64;
        Gauges { unwritten, partial_writes: self.partial_writes, reconnects: self.reconnects }
    }

    fn dial_if_due(&mut self, now: i64) -> bool {
        let State::Down { retry_at_ns } = self.state else {
            return false;
        };
        if now < retry_at_ns {
            return false;
        }
        let opened = Socket::new(Domain::for_address(self.address), Type::STREAM, Some(Transport::TCP)).and_then(|socket| {
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

    fn is_dialing(&self) -> bool {
        matches!(self.state, State::Connecting { .. } | State::Greeting { .. })
    }

    /// A connect that takes longer than a request may has failed.
    fn give_up_dialing(&mut self, now: i64) {
        if let State::Connecting { since_ns } | State::Greeting { since_ns } = self.state {
            if now - since_ns > self.timeout_ns {
                self.refused(Some(libc::ETIMEDOUT), now);
            }
        }
    }

    /// A connect has failed; it will be tried again, later each time.
    fn refused(&mut self, errno: Option<i32>, now: i64) {
        self.refusal = Some(Refusal { errno: errno.unwrap_or(libc::EIO), words: None });
        self.back_off(now);
    }

    fn refusal(&self) -> Option<Refusal> {
        self.refusal.clone()
    }
}

pub(super) fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ErrorKind::Reset,
        io::ErrorKind::ConnectionRefused => ErrorKind::Connect,
        io::ErrorKind::InvalidData => ErrorKind::Protocol,
        _ => ErrorKind::Closed,
    }
}
