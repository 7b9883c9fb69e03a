//! The loop of one engine thread: everything that is due leaves in one pass, then answers are taken, then it waits.
//!
//! While answers are awaited it spins for a while after the last sign of life, so that a done stamp is not late by the time
//! that a sleeping core takes to wake (tens of microseconds); after that it sleeps in epoll until an answer, the next deadline
//! less `spin_ns`, or the next tick. Knows neither Python nor protocols; all waiting is in `poll`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crossbeam_channel::TryRecvError;

use crate::clock;
use crate::connection::{Connection, Request, Watch};
use crate::driver::Encoder;
use crate::feed::{Chunk, Feed};
use crate::poll::{Poll, Ready};
use crate::tally::{Book, End, ErrorKind};
use crate::walls::{Gauges, Walls};

const SECOND_NS: i64 = 1_000_000_000;
/// How often timeouts, reconnects and finished seconds are looked at; idle, less often.
const TICK_NS: i64 = 1_000_000;
const IDLE_TICK_NS: i64 = 5_000_000;
/// On a core of its own a thread spins for answers until waking up late is a few percent of what they take; longer would starve
/// whatever else must run there.
const SPIN_PINNED_NS: i64 = 1_000_000;
const SPIN_SHARED_NS: i64 = 250_000;
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

/// What one engine thread is told; the same for all but `core`, `connections`, `window` and `pipeline`.
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
    /// False where a spinning thread would keep the only core from the one that has to answer.
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

pub struct Pacer {
    orders: Orders,
    encoder: Arc<dyn Encoder>,
    connections: Vec<Connection>,
    poll: Poll,
    ready: Vec<Ready>,
    buffer: Vec<u8>,
    turn: usize,
    /// Connections with something to write.
    dirty: Vec<usize>,
    backlog: VecDeque<Request>,
    /// Requests whose connection has gone before they left; they go to the head of the backlog.
    orphans: Vec<Request>,
    chunk: Chunk,
    at: usize,
    feed: Option<Feed>,
    starving: bool,
    /// Rows still to come are due no earlier than this after T0.
    floor_ns: i64,
    began_ns: i64,
    t0_ns: i64,
    ops: Vec<Arc<str>>,
    outcome: Outcome,
}

impl Pacer {
    /// Opens nothing yet; fails only if the kernel gives no epoll.
    pub fn new(orders: Orders, encoder: Arc<dyn Encoder>) -> std::io::Result<Self> {
        let connect = |_| Connection::new(orders.address, &*encoder, orders.pipeline, orders.timeout_ns);
        Ok(Pacer {
            connections: (0..orders.connections).map(connect).collect(),
            poll: Poll::new(orders.connections)?,
            ready: Vec::with_capacity(orders.connections),
            buffer: vec![0; READ_BYTES],
            turn: 0,
            dirty: Vec::with_capacity(orders.connections),
            backlog: VecDeque::with_capacity(4096),
            orphans: Vec::new(),
            chunk: Chunk::default(),
            at: 0,
            feed: None,
            starving: false,
            floor_ns: i64::MIN,
            began_ns: 0,
            t0_ns: 0,
            ops: Vec::new(),
            outcome: Outcome::default(),
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
    pub fn run(mut self, feed: Feed, t0_ns: i64, stop: &AtomicBool, mut book: Book) -> Outcome {
        clock::finest_timer_slack();
        let pinned = self.orders.core.filter(|&core| match clock::pin(core) {
            Ok(()) => {
                if let Err(e) = clock::prioritise() {
                    self.outcome.notes.push(format!("not prioritised on core {core}: {e}"));
                }
                true
            }
            Err(e) => {
                self.outcome.notes.push(format!("not pinned to core {core}: {e}"));
                false
            }
        });
        let spin_for_answers_ns = match (self.orders.spin_for_answers, pinned) {
            (false, _) => 0,
            (true, Some(_)) => SPIN_PINNED_NS,
            (true, None) => SPIN_SHARED_NS,
        };
        self.feed = Some(feed);
        self.t0_ns = t0_ns;
        let mut walls = Walls::new(t0_ns, pinned, &book);
        let mut last_tick = clock::now_ns();
        let mut last_life = last_tick;
        self.began_ns = last_tick;
        loop {
            let now = clock::now_ns();
            if stop.load(Ordering::Relaxed) || self.admit(now, &mut book) {
                self.outcome.stopped = true;
                break;
            }
            if self.dispatch(&mut book) {
                last_life = now;
            }
            let awaited = self.awaited(&book);
            walls.saw(awaited);
            let next_due = self.next_due(now);
            if next_due.is_none() && self.feed.is_none() && self.backlog.is_empty() && awaited == 0 {
                break;
            }
            let idle = book.open() == 0 && next_due.is_some();
            let next_tick = last_tick + if idle { IDLE_TICK_NS } else { TICK_NS };
            if now >= next_tick {
                self.tick(now, &mut book);
                if walls.turned(now) {
                    walls.tell(now, self.gauges(&book), &book);
                }
                last_tick = now;
                continue;
            }
            let until_due = next_due.map_or(i64::MAX, |due| due.saturating_sub(now).saturating_sub(self.orders.spin_ns));
            let spins = awaited > 0 && now - last_life < spin_for_answers_ns;
            let may_send = !self.backlog.is_empty() && self.connections.iter().any(Connection::takes);
            let timeout = if spins || may_send { 0 } else { until_due.min(next_tick - now).max(0) };
            if timeout > 0 || awaited > 0 || !self.backlog.is_empty() {
                if self.take_events(timeout, &mut book) {
                    last_life = clock::now_ns();
                }
            } else {
                std::hint::spin_loop();
            }
        }
        walls.tell(clock::now_ns(), self.gauges(&book), &book);
        if self.outcome.stopped {
            self.abandon(&mut book);
        }
        self.outcome.first_send_ns = book.first_send_ns();
        book.finish();
        self.outcome
    }

    /// Requests that a connection has taken and that have no end yet.
    fn awaited(&self, book: &Book) -> u64 {
        book.open() - self.backlog.len() as u64
    }

    fn gauges(&self, book: &Book) -> Gauges {
        let sum = |of: fn(&Connection) -> u64| self.connections.iter().map(of).sum::<u64>();
        Gauges {
            open: book.open(),
            backlog: self.backlog.len() as u64 + sum(Connection::unwritten),
            partial_writes: sum(|c| c.partial_writes),
            reconnects: sum(|c| c.reconnects),
        }
    }

    fn second_of(&self, time_ns: i64) -> i64 {
        time_ns.saturating_sub(self.t0_ns).div_euclid(SECOND_NS)
    }

    fn dial(&mut self, now: i64) {
        for (token, connection) in self.connections.iter_mut().enumerate() {
            if connection.dial_if_due(now) {
                let watched = connection.fd().map_or(Ok(()), |fd| self.poll.add(fd, token, true));
                if let Err(e) = watched {
                    connection.refused(e.raw_os_error(), now);
                }
            }
        }
    }

    /// Moves to the next chunk if the current one is used up.
    fn next_chunk(&mut self, wait: bool) {
        let Some(feed) = self.feed.as_ref().filter(|_| self.at >= self.chunk.rows.len()) else {
            return;
        };
        // Read before the channel: what was handed over before this floor was set is then seen in the channel.
        let floor_ns = feed.floor_ns.load(Ordering::Acquire);
        let next = if wait { feed.chunks.recv().map_err(|_| TryRecvError::Disconnected) } else { feed.chunks.try_recv() };
        match next {
            Ok(chunk) => {
                self.ops.extend(chunk.new_ops.iter().cloned());
                let used = std::mem::replace(&mut self.chunk, chunk).rows;
                // With enough memory there already this is freed.
                drop(feed.used.try_send(used));
                self.at = 0;
                let now = clock::now_ns();
                let missed = |due: i64| due > self.began_ns && due.saturating_add(FEED_LATE_NS) < now;
                let first = self.chunk.rows.first().map(|row| self.t0_ns.saturating_add(row.due_ns));
                if self.starving && !wait && self.orders.window == 0 && first.is_some_and(missed) {
                    self.outcome.feed_starved += 1;
                }
                self.starving = false;
            }
            Err(TryRecvError::Empty) => {
                self.starving = true;
                self.floor_ns = floor_ns;
            }
            Err(TryRecvError::Disconnected) => self.feed = None,
        }
    }

    /// When the next row is due; None: unknown, or not a matter of time. A closed window opens at T0.
    fn next_due(&self, now: i64) -> Option<i64> {
        let row = self.chunk.rows.get(self.at)?;
        match self.orders.window {
            0 => Some(self.t0_ns.saturating_add(row.due_ns)),
            _ => Some(self.t0_ns).filter(|t0| *t0 > now),
        }
    }

    /// Takes up every row that is due. True: the late policy ends the run.
    fn admit(&mut self, now: i64, book: &mut Book) -> bool {
        let closed_window = self.orders.window > 0;
        loop {
            self.next_chunk(false);
            let Some(row) = self.chunk.rows.get_mut(self.at) else {
                return false;
            };
            let due_ns = if closed_window { now.max(self.t0_ns) } else { self.t0_ns.saturating_add(row.due_ns) };
            if due_ns > now || closed_window && book.open() >= self.orders.window as u64 {
                return false;
            }
            let row = std::mem::take(row);
            self.at += 1;
            let second = self.second_of(due_ns);
            self.outcome.last_due_ns = due_ns;
            book.scheduled(second, row.slot);
            if self.orders.late != Late::Send && now.saturating_sub(due_ns) > self.orders.late_after_ns {
                book.ended(second, row.slot, End::Dropped);
                if self.orders.late == Late::Abort {
                    let late_us = now.saturating_sub(due_ns) / 1000;
                    self.outcome.notes.push(format!("aborted: a request was {late_us} us late"));
                    return true;
                }
                continue;
            }
            let slot = row.slot;
            let request = Request { row, due_ns, second, resent: false };
            let free = if self.backlog.is_empty() { self.choose() } else { None };
            match free {
                Some(token) => self.give(token, request, due_ns),
                None if self.backlog.len() < LONGEST_BACKLOG => self.backlog.push_back(request),
                None => book.ended(second, slot, End::Unsent),
            }
        }
    }

    /// The next connection in turn that takes a request.
    fn choose(&mut self) -> Option<usize> {
        let n = self.connections.len();
        let token = (0..n).map(|step| (self.turn + step) % n).find(|&token| self.connections[token].takes())?;
        self.turn = (token + 1) % n;
        Some(token)
    }

    fn give(&mut self, token: usize, request: Request, ready_ns: i64) {
        let op = &self.ops[usize::from(request.row.op)];
        let connection = &mut self.connections[token];
        connection.take(request, ready_ns, op, &*self.encoder);
        if !connection.queued {
            connection.queued = true;
            self.dirty.push(token);
        }
    }

    /// Hands waiting requests to connections and writes. True if anything was written.
    fn dispatch(&mut self, book: &mut Book) -> bool {
        while !self.backlog.is_empty() {
            let Some(token) = self.choose() else {
                break;
            };
            if let Some(request) = self.backlog.pop_front() {
                let ready = self.connections[token].freed_ns().max(request.due_ns);
                self.give(token, request, ready);
            }
        }
        let wrote = !self.dirty.is_empty();
        while let Some(token) = self.dirty.pop() {
            self.connections[token].queued = false;
            let watch = self.connections[token].flush(book, &mut self.orphans);
            self.rewatch(token, watch, book);
        }
        self.adopt();
        wrote
    }

    /// Puts requests that lost their connection at the head of the backlog, oldest first.
    fn adopt(&mut self) {
        if !self.orphans.is_empty() {
            self.orphans.sort_by_key(|request| request.due_ns);
            while let Some(request) = self.orphans.pop() {
                self.backlog.push_front(request);
            }
        }
    }

    fn rewatch(&mut self, token: usize, watch: Watch, book: &mut Book) {
        let write = match watch {
            Watch::Same | Watch::Gone => return,
            Watch::ReadOnly => false,
            Watch::ReadWrite => true,
        };
        let connection = &mut self.connections[token];
        if connection.fd().is_some_and(|fd| self.poll.modify(fd, token, write).is_err()) {
            // A descriptor that cannot be watched would never be heard of again.
            connection.fail(ErrorKind::Closed, clock::now_ns(), book, &mut self.orphans);
        }
    }

    /// Waits at most `timeout_ns` and settles what came. True if anything did.
    fn take_events(&mut self, timeout_ns: i64, book: &mut Book) -> bool {
        self.ready.clear();
        self.poll.wait(timeout_ns, &mut self.ready);
        let mut parted = false;
        for i in 0..self.ready.len() {
            let Ready { token, readable, writable } = self.ready[i];
            if writable {
                let watch = self.connections[token].writable(clock::now_ns(), book, &mut self.orphans);
                self.rewatch(token, watch, book);
            }
            if readable {
                let watch = self.connections[token].readable(&mut self.buffer, book, &mut self.orphans);
                parted |= watch == Watch::Gone;
                self.rewatch(token, watch, book);
            }
        }
        if parted {
            self.adopt();
            self.dial(clock::now_ns());
        }
        !self.ready.is_empty()
    }

    /// Timeouts, reconnects, finished seconds.
    fn tick(&mut self, now: i64, book: &mut Book) {
        self.take_events(0, book);
        for connection in &mut self.connections {
            connection.expire(now, book, &mut self.orphans);
            connection.give_up_dialing(now);
        }
        self.adopt();
        let overdue = |request: &Request| now.saturating_sub(request.due_ns) > self.orders.timeout_ns;
        while let Some(request) = self.backlog.pop_front() {
            if !overdue(&request) {
                self.backlog.push_front(request);
                break;
            }
            book.ended(request.second, request.row.slot, End::TimedOut);
        }
        let refused = |c: &Connection| c.refused_at_connect.is_some();
        if !self.connections.iter().any(Connection::is_up) && self.connections.iter().any(refused) {
            // Nobody answers at that address now: what is due has its answer, and need not wait for a timeout.
            for request in self.backlog.drain(..) {
                book.ended(request.second, request.row.slot, End::Error(ErrorKind::Connect));
            }
        }
        self.dial(now);
        let now_second = self.second_of(now);
        let more_to_come = self.feed.is_some() || self.at < self.chunk.rows.len();
        let next = match self.next_due(now) {
            Some(due) => self.second_of(due),
            None if !more_to_come => i64::MAX,
            None if self.orders.window > 0 => now_second,
            None => self.second_of(self.t0_ns.saturating_add(self.floor_ns)),
        };
        book.close_before(next.min(now_second));
    }

    /// After a stop: what has left ends as stopped, what has not and the rest of the schedule as unsent.
    fn abandon(&mut self, book: &mut Book) {
        let now = clock::now_ns();
        for connection in &mut self.connections {
            connection.abandon(now, book);
        }
        for request in self.backlog.drain(..) {
            let end = if request.resent { End::Error(ErrorKind::Stopped) } else { End::Unsent };
            book.ended(request.second, request.row.slot, end);
        }
        loop {
            while let Some(row) = self.chunk.rows.get(self.at) {
                self.at += 1;
                // In a closed window a row has no time before it is taken up.
                let due_ns = if self.orders.window > 0 { now } else { self.t0_ns.saturating_add(row.due_ns) };
                let second = self.second_of(due_ns);
                self.outcome.last_due_ns = due_ns;
                book.scheduled(second, row.slot);
                book.ended(second, row.slot, End::Unsent);
                book.close_before(second);
            }
            if self.feed.is_none() {
                return;
            }
            self.next_chunk(true);
        }
    }
}
