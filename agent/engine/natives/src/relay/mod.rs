//! A relay: stands between clients and a system and holds back what passes, by a time, a varying time, or a rate.
//!
//! Bytes of a connection stay in order whatever the times are, as TCP would have it; datagrams too. What one side ends or breaks is ended or
//! broken on the other, after what was held before. One thread, one epoll, one timer.

mod datagrams;
mod page;
mod pairs;
mod sockets;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;

pub use page::{Page, PAGE_BYTES};

use crate::clock::now_ns;
use crate::sched;
use datagrams::Datagrams;
use page::Shape;
use pairs::Pairs;
use sockets::{lose, Poll, Timer};

const STOP: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
/// Beside the load generator, which runs at this value too: it would otherwise starve who must be in time.
const NICE: i32 = -20;
const SLICE_NS: u64 = 100_000;

/// Where something comes in and where it goes on to.
pub struct Route {
    pub listener: TcpListener,
    pub datagrams: Option<UdpSocket>,
    pub onward: SocketAddr,
    /// Whether what passes is held back.
    pub shaped: bool,
    /// Bytes that one flow may hold before its sender has to wait.
    pub most_held: usize,
    /// Which share of the packets that arrive on this way's sockets the kernel is to drop before they are taken in; 0: none.
    pub lost: f64,
}

/// What both kinds of traffic share.
struct Work {
    poll: Poll,
    /// When whom to look at again.
    wakes: BinaryHeap<Reverse<(i64, u64)>>,
    /// Until when the paced way is taken, each direction.
    taken_until_ns: [i64; 2],
    draws: u64,
}

impl Work {
    fn wake_at(&mut self, at_ns: i64, token: u64) {
        self.wakes.push(Reverse((at_ns, token)));
    }

    /// An even draw from 0 up to the bound (xorshift64*, Vigna 2016).
    fn draw(&mut self, bound_ns: i64) -> i64 {
        if bound_ns <= 0 {
            return 0;
        }
        self.draws ^= self.draws >> 12;
        self.draws ^= self.draws << 25;
        self.draws ^= self.draws >> 27;
        let fraction = (self.draws.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64;
        (fraction * bound_ns as f64) as i64
    }

    /// When so many bytes that came now are to go on.
    fn due(&mut self, shape: &Shape, direction: usize, bytes: usize, now: i64) -> i64 {
        let mut due = now;
        if shape.bytes_per_s > 0 {
            let free = self.taken_until_ns[direction].max(now);
            due = free + (bytes as f64 * 1e9 / shape.bytes_per_s as f64) as i64;
            self.taken_until_ns[direction] = due;
        }
        due + shape.delay_ns + if direction == 0 { self.draw(shape.jitter_ns) } else { 0 }
    }
}

/// Relays until the other end of stop_fd is closed. Shapes and counts are in the page, which may change at any time.
pub fn relay(routes: Vec<Route>, page: &Page, stop_fd: i32) -> io::Result<()> {
    // Without the right to it the relay is only later when the cores are busy, which the dose's own measurement shows.
    let _ = sched::ask(NICE, SLICE_NS);
    let poll = Poll::new()?;
    let timer = Timer::new()?;
    poll.watch(stop_fd, STOP)?;
    poll.watch(timer.as_raw_fd(), TIMER)?;
    let mut work = Work { poll, wakes: BinaryHeap::new(), taken_until_ns: [0; 2], draws: now_ns() as u64 | 1 };
    let mut pairs = Pairs::default();
    let mut datagrams = Datagrams::new();
    for (at, route) in routes.iter().enumerate() {
        route.listener.set_nonblocking(true)?;
        // What a listener accepts has its filter from the first packet on.
        lose(route.listener.as_raw_fd(), route.lost)?;
        work.poll.watch(route.listener.as_raw_fd(), token(Kind::Listener, at, 0))?;
        if let Some(socket) = &route.datagrams {
            socket.set_nonblocking(true)?;
            lose(socket.as_raw_fd(), route.lost)?;
            work.poll.watch(socket.as_raw_fd(), token(Kind::Datagrams, at, 0))?;
        }
    }
    let mut news = Vec::new();
    loop {
        let now = now_ns();
        while let Some(&Reverse((_, who))) = work.wakes.peek().filter(|wake| wake.0 .0 <= now) {
            work.wakes.pop();
            news.push((who, 0));
        }
        if news.is_empty() {
            timer.set(work.wakes.peek().map(|wake| wake.0 .0))?;
            work.poll.wait(&mut news)?;
        } else {
            work.poll.look(&mut news)?;
        }
        for (who, events) in news.drain(..) {
            match who {
                STOP => return Ok(()),
                TIMER => timer.clear(),
                _ => match told(who) {
                    (Kind::Listener, at, _) => pairs.accept(&routes[at], page, &mut work),
                    (Kind::Pair, at, end) => pairs.go_on(at, end, events, page, &mut work),
                    (Kind::Datagrams, at, _) => datagrams.come_in(at, &routes[at], page, &mut work),
                    (Kind::Peer, at, _) => datagrams.come_back(at, &routes, page, &mut work),
                    (Kind::Held, at, _) => datagrams.let_go(at, &routes, page, &mut work),
                },
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Listener = 1,
    Pair = 2,
    Datagrams = 3,
    Peer = 4,
    Held = 5,
}

/// What an epoll event or a wake is about: kind, place, and which end of a pair.
fn token(kind: Kind, at: usize, end: usize) -> u64 {
    (kind as u64) << 56 | (end as u64) << 48 | at as u64
}

fn told(token: u64) -> (Kind, usize, usize) {
    let kind = match token >> 56 {
        1 => Kind::Listener,
        2 => Kind::Pair,
        3 => Kind::Datagrams,
        4 => Kind::Peer,
        _ => Kind::Held,
    };
    (kind, (token & 0xffff_ffff) as usize, (token >> 48 & 0xff) as usize)
}
