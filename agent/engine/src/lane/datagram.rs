//! A connected UDP socket. Each datagram begins with its number (8 bytes, little-endian), which an echo brings back; one that does not
//! come back in time is lost, and ends as timed out. Answers may come in any order.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use socket2::{Domain, Protocol as Transport, Socket, Type};

use super::line::{Line, Pending, Request};
use super::stream::kind_of;
use super::{Gauges, Lane, Orphan, Refusal, Watch};
use crate::clock::now_ns;
use crate::driver::{Answer, Expect, Verb, Wire};
use crate::tally::{Book, End, ErrorKind};

const NUMBER_BYTES: usize = 8;
/// The largest UDP payload over IPv4; a larger request is cut to it.
const LARGEST: u64 = 65_507;
/// Datagrams read in one go before others get their turn.
const MOST_AT_ONCE: usize = 256;
const RETRY_NS: i64 = 1_000_000;

pub struct Datagram {
    address: SocketAddr,
    wire: Arc<Wire>,
    socket: Option<Socket>,
    retry_at_ns: i64,
    pipeline: usize,
    timeout_ns: i64,
    line: Line,
    /// Number of the first that has not left, and of the first not looked at for a timeout.
    unsent: u64,
    unexpired: u64,
    out: Vec<u8>,
    blocked: bool,
    freed_ns: i64,
    refusal: Option<Refusal>,
    partial_writes: u64,
    reconnects: u64,
}

impl Datagram {
    pub fn new(address: SocketAddr, wire: Arc<Wire>, pipeline: usize, timeout_ns: i64) -> Self {
        Datagram {
            address,
            wire,
            socket: None,
            retry_at_ns: i64::MIN,
            pipeline,
            timeout_ns,
            line: Line::with_capacity(pipeline.min(4096)),
            unsent: 0,
            unexpired: 0,
            out: Vec::with_capacity(LARGEST as usize),
            blocked: false,
            freed_ns: i64::MIN,
            refusal: None,
            partial_writes: 0,
            reconnects: 0,
        }
    }

    /// An ICMP error has come back: some datagram that had left found nobody. The oldest in line ends by it.
    fn nobody_there(&mut self, error: &io::Error, now: i64, book: &mut Book) {
        let first = self.line.first_number();
        if first < self.unsent {
            if let Some(pending) = self.line.take(first) {
                if pending.alive {
                    pending.request.end(pending.sent_ns, now, End::Error(kind_of(error)), book);
                }
            }
        }
    }
}

impl Lane for Datagram {
    fn fd(&self) -> Option<RawFd> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }
    fn is_up(&self) -> bool {
        self.socket.is_some()
    }
    fn takes(&self) -> bool {
        self.is_up() && !self.blocked && self.line.len() < self.pipeline
    }
    fn freed_ns(&self) -> i64 {
        self.freed_ns
    }

    fn take(&mut self, request: Request, ready_ns: i64, _verb: Verb) {
        let bytes = u64::from(request.row.req_bytes).clamp(NUMBER_BYTES as u64, LARGEST);
        self.line.push(Pending::new(request, ready_ns, 0, bytes, Expect::default()));
    }

    fn flush(&mut self, book: &mut Book, orphans: &mut Vec<Orphan>) -> Watch {
        let Some(socket) = &self.socket else {
            return Watch::Same;
        };
        let was_blocked = self.blocked;
        self.blocked = false;
        while self.unsent < self.line.next_number() {
            let number = self.unsent;
            let Some(pending) = self.line.get_mut(number) else {
                self.unsent += 1;
                continue;
            };
            self.out.clear();
            self.out.extend_from_slice(&number.to_le_bytes());
            self.wire.values.append(pending.request.row.key_id, pending.bytes - NUMBER_BYTES as u64, &mut self.out);
            let stamp = now_ns();
            match socket.send(&self.out) {
                Ok(_) => pending.leaves(stamp, book),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.raw_os_error() == Some(libc::ENOBUFS) => {
                    pending.slip_ns.get_or_insert(stamp - pending.ready_ns);
                    self.blocked = true;
                    break;
                }
                // The error of an earlier datagram, told now; this one has not left and is tried again.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                    let (first, unsent) = (self.line.first_number(), self.unsent);
                    match self.line.take(first) {
                        Some(oldest) if first < unsent && oldest.alive => {
                            oldest.request.end(oldest.sent_ns, stamp, End::Error(ErrorKind::Connect), book);
                        }
                        Some(this) => {
                            this.request.end(0, stamp, End::Error(ErrorKind::Connect), book);
                            self.unsent += 1;
                        }
                        None => self.unsent += 1,
                    }
                    continue;
                }
                Err(_) => {
                    self.fail(stamp, book, orphans);
                    return Watch::Gone;
                }
            }
            self.unsent += 1;
        }
        match (was_blocked, self.blocked) {
            (false, true) => {
                self.partial_writes += 1;
                Watch::ReadWrite
            }
            (true, false) => {
                self.freed_ns = now_ns();
                Watch::ReadOnly
            }
            _ => Watch::Same,
        }
    }

    fn writable(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Orphan>) -> Watch {
        if self.freed_ns == i64::MIN {
            self.freed_ns = now;
        }
        match self.flush(book, orphans) {
            Watch::Same if !self.blocked => Watch::ReadOnly,
            other => other,
        }
    }

    fn readable(&mut self, buffer: &mut [u8], book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        let was_full = self.line.len() >= self.pipeline;
        for _ in 0..MOST_AT_ONCE {
            let Some(socket) = self.socket.as_mut() else {
                break;
            };
            let read = io::Read::read(socket, buffer);
            let stamp = now_ns();
            match read {
                Ok(n) => {
                    // Anything else that comes was not asked for, or is an echo of what we have given up.
                    let number = buffer[..n].first_chunk::<NUMBER_BYTES>().map(|b| u64::from_le_bytes(*b));
                    if let Some(pending) = number.filter(|number| *number < self.unsent).and_then(|number| self.line.take(number))
                    {
                        pending.settle(Answer::Ok, stamp, n as u64, self.timeout_ns, book);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => self.nobody_there(&e, stamp, book),
            }
        }
        if was_full && self.line.len() < self.pipeline {
            self.freed_ns = now_ns();
        }
        Watch::Same
    }

    fn expire(&mut self, now: i64, book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        let was_full = self.line.len() >= self.pipeline;
        self.unexpired = self.unexpired.max(self.line.first_number());
        while self.unexpired < self.line.next_number() {
            if let Some(pending) = self.line.get_mut(self.unexpired) {
                if !pending.is_overdue(now, self.timeout_ns) {
                    break;
                }
                pending.times_out(now, book);
                // Also what has not left: nobody would ever answer it, and its place would stay taken.
                self.line.take(self.unexpired);
            }
            self.unexpired += 1;
        }
        if was_full && self.line.len() < self.pipeline {
            self.freed_ns = now;
        }
        Watch::Same
    }

    fn fail(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Orphan>) {
        let left = self.line.drain_from(0).filter_map(|p| p.breaks(ErrorKind::Closed, now, book));
        orphans.extend(left.map(|request| Orphan { request, moved: None }));
        self.line.restart();
        (self.unsent, self.unexpired) = (0, 0);
        self.blocked = false;
        self.socket = None;
        self.reconnects += 1;
        self.retry_at_ns = now + RETRY_NS;
    }

    fn abandon(&mut self, now: i64, book: &mut Book) {
        self.line.drain_from(0).for_each(|pending| pending.stops(now, book));
        self.socket = None;
    }

    fn gauges(&self) -> Gauges {
        let unwritten = self.line.iter_from(self.unsent).count() as u64;
        Gauges { unwritten, partial_writes: self.partial_writes, reconnects: self.reconnects }
    }

    fn dial_if_due(&mut self, now: i64) -> bool {
        if self.socket.is_some() || now < self.retry_at_ns {
            return false;
        }
        let opened = Socket::new(Domain::for_address(self.address), Type::DGRAM, Some(Transport::UDP)).and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.connect(&self.address.into())?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => {
                self.socket = Some(socket);
                self.freed_ns = now;
                true
            }
            Err(e) => {
                self.refused(e.raw_os_error(), now);
                false
            }
        }
    }

    fn refused(&mut self, errno: Option<i32>, now: i64) {
        self.refusal = Some(Refusal { errno: errno.unwrap_or(libc::EIO), words: None });
        self.socket = None;
        self.retry_at_ns = now + RETRY_NS;
    }

    fn refusal(&self) -> Option<Refusal> {
        self.refusal.clone()
    }
}
