//! The loop of one engine thread: everything that is due leaves in one pass, then answers are taken, then it waits.
//!
//! While answers are awaited it spins for up to SPIN_FOR_ANSWERS_NS after the last sign of life, so that a done stamp is not late
//! by the time a sleeping core takes to wake; after that it sleeps in epoll until an answer, a deadline or the next tick.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crossbeam_channel::{Receiver, TryRecvError};

use crate::clock;
use crate::collector::Wall;
use crate::connection::{Connection, Watch};
use crate::driver::Encoder;
use crate::feed::{Chunk, Row, NO_TARGET};
use crate::poll::{Poll, Ready};
use crate::tally::{Book, End, ErrorKind};

const SECOND_NS: i64 = 1_000_000_000;
const TICK_NS: i64 = 1_000_000;
const SPIN_FOR_ANSWERS_NS: i64 = 250_000;
/// Due requests that wait for a connection; a million is 16 s at 64 k/s. More than that end as unsent.
const LONGEST_BACKLOG: usize = 1 << 20;
const READ_BYTES: usize = 256 * 1024;
/// Rows that come this late from the feeder were the feeder's fault.
const FEED_LATE_NS: i64 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    Send,
    Drop,
    Abort,
}

/// What one engine thread is told; the same for all but `core` and `connections`.
#[derive(Clone)]
pub struct Orders {
    pub address: SocketAddr,
    pub connections: usize,
    pub core: Option<usize>,
    pub timeout_ns: i64,
    pub late: Late,
    pub late_after_ns: i64,
    pub window: usize,
    pub pipeline: usize,
    pub spin_ns: i64,
    pub spin_for_answers: bool,
}

/// What one engine thread has to say at its end.
#[derive(Default)]
pub struct Outcome {
    pub first_send_ns: i64,
    pub last_due_ns: i64,
    pub feed_starved: u64,
    pub stopped: bool,
    pub notes: Vec<String>,
}

/// A due row that no connection could take yet.
struct Held {
    row: Row,
    due_ns: i64,
    second: i64,
}

pub struct Pacer {
    orders: Orders,
    encoder: Arc<dyn Encoder>,
    connections: Vec<Connection>,
    poll: Poll,
    ready: Vec<Ready>,
    buffer: Vec<u8>,
    turn: usize,
    dirty: Vec<usize>,
    backlog: VecDeque<Held>,
    chunk: Chunk,
    at: usize,
    feed: Option<Receiver<Chunk>>,
    starving: bool,
    ops: Vec<Arc<str>>,
    targets: Vec<Arc<[u8]>>,
    outcome: Outcome,
}

impl Pacer {
    /// Opens nothing yet; fails only if the kernel gives no epoll.
    pub fn new(orders: Orders, encoder: Arc<dyn Encoder>) -> std::io::Result<Self> {
        let n = orders.connections.max(1);
        let connections = (0..n).map(|_| Connection::new(orders.address, &*encoder, orders.pipeline)).collect();
        Ok(Pacer {
            poll: Poll::new(n)?,
            ready: Vec::with_capacity(n),
            buffer: vec![0; READ_BYTES],
            turn: 0,
            dirty: Vec::with_capacity(n),
            backlog: VecDeque::with_capacity(64 * 1024),
            chunk: Chunk::default(),
            at: 0,
            feed: None,
            starving: false,
            ops: Vec::new(),
            targets: Vec::new(),
            outcome: Outcome::default(),
            connections,
            orders,
            encoder,
        })
    }

    /// Connects all connections before the start; the errno of the first that cannot.
    pub fn connect(&mut self, deadline_ns: i64, book: &mut Book) -> Result<(), i32> {
        loop {
            let now = clock::now_ns();
            self.dial(now);
            if self.connections.iter().all(Connection::is_up) {
                return Ok(());
            }
            if let Some(errno) = self.connections.iter().find_map(|c| c.refused_at_connect) {
                return Err(errno);
            }
            if now >= deadline_ns {
                return Err(libc::ETIMEDOUT);
            }
            self.take_events(TICK_NS, book);
        }
    }

    /// Replays what the feed brings, on the calling thread.
    pub fn run(mut self, feed: Receiver<Chunk>, t0_ns: i64, stop: &AtomicBool, mut book: Book) -> Outcome {
        clock::finest_timer_slack();
        let mut pinned = false;
        if let Some(core) = self.orders.core {
            match clock::pin(core) {
                Ok(()) => {
                    pinned = true;
                    if let Err(e) = clock::prioritise() {
                        self.outcome.notes.push(format!("not prioritised on core {core}: {e}"));
                    }
                }
                Err(e) => self.outcome.notes.push(format!("not pinned to core {core}: {e}")),
            }
        }
        self.feed = Some(feed);
        // The first rows are read before T0, so that the start does not wait for the disk.
        self.next_chunk(true, 0);
        let mut walls = Walls::new(t0_ns, self.orders.core, pinned);
        let mut next_tick = clock::now_ns() + TICK_NS;
        let mut last_life = 0;
        loop {
            let now = clock::now_ns();
            if stop.load(Ordering::Relaxed) {
                self.outcome.stopped = true;
                break;
            }
            if now >= next_tick {
                self.tick(now, t0_ns, &mut book);
                walls.tick(now, &mut self, &book);
                next_tick = now + TICK_NS;
            }
            if self.admit(now, t0_ns, &mut book) {
                self.outcome.stopped = true;
                break;
            }
            if self.dispatch(&mut book) {
                last_life = now;
            }
            let awaited = self.awaited();
            let next_due = self.next_due(t0_ns);
            if next_due.is_none() && self.feed.is_none() && self.backlog.is_empty() && awaited == 0 {
                break;
            }
            let deadline = next_due.map_or(next_tick, |due| due.min(next_tick)) - self.orders.spin_ns;
            let spin = self.orders.spin_for_answers && awaited > 0 && now - last_life < SPIN_FOR_ANSWERS_NS;
            let timeout = if spin || !self.backlog.is_empty() && self.can_take() { 0 } else { (deadline - now).max(0) };
            if timeout > 0 || awaited > 0 || !self.backlog.is_empty() {
                if self.take_events(timeout, &mut book) {
                    last_life = clock::now_ns();
                }
            } else {
                std::hint::spin_loop();
            }
        }
        if self.outcome.stopped {
            self.abandon(t0_ns, &mut book);
        }
        walls.last(clock::now_ns(), &mut self, &book);
        book.finish();
        self.outcome
    }

    fn awaited(&self) -> u64 {
        self.connections.iter().map(|c| c.alive).sum()
    }

    fn can_take(&self) -> bool {
        self.connections.iter().any(|c| c.takes(self.orders.pipeline))
    }

    fn dial(&mut self, now: i64) {
        for (token, connection) in self.connections.iter_mut().enumerate() {
            if connection.dial_if_due(now) {
                if let Some(fd) = connection.fd() {
                    let _ = self.poll.add(fd, token, true);
                }
            }
        }
    }

    /// Moves to the next chunk if the current one is used up.
    fn next_chunk(&mut self, wait: bool, now_in_run: i64) {
        if self.at < self.chunk.rows.len() {
            return;
        }
        let Some(feed) = &self.feed else {
            return;
        };
        let next = if wait { feed.recv().map_err(|_| TryRecvError::Disconnected) } else { feed.try_recv() };
        match next {
            Ok(chunk) => {
                self.ops.extend(chunk.new_ops.iter().cloned());
                self.targets.extend(chunk.new_targets.iter().cloned());
                let late = chunk.rows.first().is_some_and(|r| r.due_ns + FEED_LATE_NS < now_in_run);
                if self.starving && late && !wait {
                    self.outcome.feed_starved += 1;
                }
                self.starving = false;
                self.chunk = chunk;
                self.at = 0;
            }
            Err(TryRecvError::Empty) => self.starving = true,
            Err(TryRecvError::Disconnected) => self.feed = None,
        }
    }

    fn next_due(&self, t0_ns: i64) -> Option<i64> {
        if self.orders.window > 0 {
            return None;
        }
        self.chunk.rows.get(self.at).map(|r| t0_ns + r.due_ns)
    }

    /// Puts every row that is due in line. True: the late policy aborts the run.
    fn admit(&mut self, now: i64, t0_ns: i64, book: &mut Book) -> bool {
        let closed_window = self.orders.window > 0;
        let mut under_way = if closed_window { self.awaited() as usize + self.backlog.len() } else { 0 };
        loop {
            self.next_chunk(false, now - t0_ns);
            let Some(row) = self.chunk.rows.get(self.at).copied() else {
                return false;
            };
            let due_ns = if closed_window { now } else { t0_ns + row.due_ns };
            if due_ns > now || closed_window && under_way >= self.orders.window {
                return false;
            }
            self.at += 1;
            under_way += 1;
            let second = (due_ns - t0_ns).div_euclid(SECOND_NS);
            self.outcome.last_due_ns = due_ns;
            book.scheduled(second, row.op);
            if self.orders.late != Late::Send && now - due_ns > self.orders.late_after_ns {
                book.ended(second, row.op, End::Dropped);
                if self.orders.late == Late::Abort {
                    let late_us = (now - due_ns) / 1000;
                    self.outcome.notes.push(format!("aborted: a request was {late_us} us late"));
                    return true;
                }
                continue;
            }
            if self.backlog.is_empty() {
                if let Some(token) = self.choose() {
                    self.give(token, &row, due_ns, second, due_ns);
                    continue;
                }
            }
            if self.backlog.len() >= LONGEST_BACKLOG {
                book.ended(second, row.op, End::Unsent);
                continue;
            }
            self.backlog.push_back(Held { row, due_ns, second });
        }
    }

    /// The next connection in turn that takes a request.
    fn choose(&mut self) -> Option<usize> {
        let n = self.connections.len();
        for step in 0..n {
            let token = (self.turn + step) % n;
            if self.connections[token].takes(self.orders.pipeline) {
                self.turn = (token + 1) % n;
                return Some(token);
            }
        }
        None
    }

    fn give(&mut self, token: usize, row: &Row, due_ns: i64, second: i64, ready_ns: i64) {
        let op = self.ops.get(usize::from(row.op)).map_or("request", |o| o);
        let target = if row.target == NO_TARGET { None } else { self.targets.get(row.target as usize).map(|t| &**t) };
        self.connections[token].take(row, due_ns, second, ready_ns, op, target, &*self.encoder);
        if !self.dirty.contains(&token) {
            self.dirty.push(token);
        }
    }

    /// Hands held rows to connections and writes. True if anything was written.
    fn dispatch(&mut self, book: &mut Book) -> bool {
        while let Some(held) = self.backlog.pop_front() {
            let Some(token) = self.choose() else {
                self.backlog.push_front(held);
                break;
            };
            let ready = self.connections[token].freed_ns().max(held.due_ns);
            self.give(token, &held.row, held.due_ns, held.second, ready);
        }
        let wrote = !self.dirty.is_empty();
        while let Some(token) = self.dirty.pop() {
            let watch = self.connections[token].flush(book);
            self.rewatch(token, watch);
            if self.outcome.first_send_ns == 0 {
                self.outcome.first_send_ns = clock::now_ns();
            }
        }
        wrote
    }

    fn rewatch(&mut self, token: usize, watch: Watch) {
        let write = match watch {
            Watch::Same | Watch::Gone => return,
            Watch::ReadOnly => false,
            Watch::ReadWrite => true,
        };
        if let Some(fd) = self.connections[token].fd() {
            let _ = self.poll.modify(fd, token, write);
        }
    }

    /// Waits at most `timeout_ns` and settles what came. True if anything did.
    fn take_events(&mut self, timeout_ns: i64, book: &mut Book) -> bool {
        self.ready.clear();
        self.poll.wait(timeout_ns, &mut self.ready);
        for i in 0..self.ready.len() {
            let Ready { token, readable, writable } = self.ready[i];
            if writable {
                let watch = self.connections[token].writable(clock::now_ns(), book);
                self.rewatch(token, watch);
            }
            if readable {
                let watch = self.connections[token].readable(&mut self.buffer, self.orders.pipeline, book);
                self.rewatch(token, watch);
            }
        }
        !self.ready.is_empty()
    }

    /// Once a millisecond: timeouts, reconnects, finished seconds.
    fn tick(&mut self, now: i64, t0_ns: i64, book: &mut Book) {
        let timeout = self.orders.timeout_ns;
        let mut refused = false;
        for connection in &mut self.connections {
            connection.expire(now, timeout, book);
            connection.give_up_dialing(now, timeout);
            refused |= connection.refused_at_connect.is_some();
        }
        while self.backlog.front().is_some_and(|h| now - h.due_ns > timeout) {
            if let Some(held) = self.backlog.pop_front() {
                book.ended(held.second, held.row.op, End::TimedOut);
            }
        }
        if refused && !self.connections.iter().any(Connection::is_up) {
            // Nobody answers at that address now: what is due has its answer, and need not wait for a timeout.
            for held in self.backlog.drain(..) {
                book.ended(held.second, held.row.op, End::Error(ErrorKind::Connect));
            }
        }
        self.dial(now);
        let now_second = (now - t0_ns).div_euclid(SECOND_NS);
        let next = match self.next_due(t0_ns) {
            Some(due) => (due - t0_ns).div_euclid(SECOND_NS),
            None if self.feed.is_none() && self.at >= self.chunk.rows.len() => i64::MAX,
            None if self.orders.window > 0 => now_second,
            None => (self.outcome.last_due_ns - t0_ns).div_euclid(SECOND_NS),
        };
        book.close_before(next.min(now_second));
    }

    /// After a stop: what is under way ends as stopped, the rest of the schedule as unsent.
    fn abandon(&mut self, t0_ns: i64, book: &mut Book) {
        let now = clock::now_ns();
        for connection in &mut self.connections {
            connection.fail(ErrorKind::Stopped, now, book);
        }
        for held in self.backlog.drain(..) {
            book.ended(held.second, held.row.op, End::Unsent);
        }
        let now_second = (now - t0_ns).div_euclid(SECOND_NS);
        loop {
            while let Some(row) = self.chunk.rows.get(self.at).copied() {
                self.at += 1;
                let second = if self.orders.window > 0 { now_second } else { row.due_ns.div_euclid(SECOND_NS) };
                book.scheduled(second, row.op);
                book.ended(second, row.op, End::Unsent);
                book.close_before(second);
            }
            if self.feed.is_none() {
                return;
            }
            self.next_chunk(true, 0);
        }
    }
}

/// Figures of each wall second of this thread.
struct Walls {
    t0_ns: i64,
    core: Option<usize>,
    pinned: bool,
    second: i64,
    cpu_ns: i64,
    inflight_max: u64,
    partial: u64,
    reconnects: u64,
    tid: i32,
}

impl Walls {
    fn new(t0_ns: i64, core: Option<usize>, pinned: bool) -> Self {
        let second = (clock::now_ns() - t0_ns).div_euclid(SECOND_NS);
        Walls {
            t0_ns,
            core,
            pinned,
            second,
            cpu_ns: clock::thread_cpu_ns(),
            inflight_max: 0,
            partial: 0,
            reconnects: 0,
            tid: clock::thread_id(),
        }
    }

    fn tick(&mut self, now: i64, pacer: &mut Pacer, book: &Book) {
        self.inflight_max = self.inflight_max.max(pacer.awaited());
        let second = (now - self.t0_ns).div_euclid(SECOND_NS);
        if second > self.second {
            self.tell(pacer, book);
            self.second = second;
        }
    }

    fn last(&mut self, now: i64, pacer: &mut Pacer, book: &Book) {
        self.inflight_max = self.inflight_max.max(pacer.awaited());
        if now > self.t0_ns {
            self.tell(pacer, book);
        }
    }

    fn tell(&mut self, pacer: &mut Pacer, book: &Book) {
        if self.second < 0 {
            return;
        }
        let cpu = clock::thread_cpu_ns();
        let partial: u64 = pacer.connections.iter().map(|c| c.partial_writes).sum();
        let reconnects: u64 = pacer.connections.iter().map(|c| c.reconnects).sum();
        book.wall(Wall {
            second: self.second,
            core: if self.pinned { self.core } else { None },
            tid: self.tid,
            cpu_ns: cpu - self.cpu_ns,
            inflight: pacer.awaited(),
            inflight_max: self.inflight_max,
            backlog: pacer.backlog.len() as u64,
            send_buffer_full: partial - self.partial,
            reconnects: reconnects - self.reconnects,
        });
        self.cpu_ns = cpu;
        self.inflight_max = 0;
        self.partial = partial;
        self.reconnects = reconnects;
    }
}
