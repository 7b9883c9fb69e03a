//! The loop of one engine thread: everything that is due leaves in one pass, then answers are taken, then it waits.
//!
//! While answers are awaited it spins for a while after the last sign of life, so that a done stamp is not late by the time
//! that a sleeping core takes to wake (tens of microseconds); after that it sleeps in epoll until an answer, the next deadline
//! less `spin_ns`, or the next tick. Knows neither Python nor protocols; all waiting is in `poll`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crossbeam_channel::TryRecvError;

use crate::clock;
use crate::driver::{Moved, Verb};
use crate::feed::{Chunk, Feed};
use crate::lane::{Lane, Orphan, Refusal, Request, Watch, Way};
use crate::poll::{Poll, Ready};
use crate::routes::{Cluster, Routes};
use crate::tally::{Book, End, ErrorKind};
use crate::users::{Think, Users};
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
/// Lanes that are being opened at the same time: a storm of connects would be a load of its own.
const MOST_DIALING: usize = 64;
/// A cluster that sends a request from one server to the next and back is not followed for ever.
const MOST_SERVERS: usize = 1024;
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
    pub think: Think,
    pub pipeline: usize,
    pub spin_ns: i64,
    pub cluster: Option<Cluster>,
    pub log_requests: bool,
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
    way: Arc<Way>,
    lanes: Vec<Box<dyn Lane>>,
    routes: Routes,
    /// Hosts that servers of a cluster have named.
    names: HashMap<Box<str>, Option<IpAddr>>,
    poll: Poll,
    ready: Vec<Ready>,
    buffer: Vec<u8>,
    /// Lanes with something to write, and whether a lane is among them.
    dirty: Vec<usize>,
    queued: Vec<bool>,
    /// Requests that their lane has given up.
    orphans: Vec<Orphan>,
    users: Users,
    chunk: Chunk,
    at: usize,
    feed: Option<Feed>,
    starving: bool,
    /// Rows still to come are due no earlier than this after T0.
    floor_ns: i64,
    began_ns: i64,
    t0_ns: i64,
    verbs: Vec<Verb>,
    outcome: Outcome,
}

impl Pacer {
    /// Opens nothing yet; fails only if the kernel gives no descriptors.
    pub fn new(orders: Orders, way: Arc<Way>) -> std::io::Result<Self> {
        let routes = Routes::new(orders.cluster.clone());
        let mut pacer = Pacer {
            lanes: Vec::new(),
            poll: Poll::new(orders.connections * routes.groups())?,
            routes,
            names: HashMap::new(),
            ready: Vec::with_capacity(orders.connections),
            buffer: vec![0; READ_BYTES],
            dirty: Vec::with_capacity(orders.connections),
            queued: Vec::new(),
            orphans: Vec::new(),
            users: Users::new(orders.window as u64, orders.think),
            chunk: Chunk::default(),
            at: 0,
            feed: None,
            starving: false,
            floor_ns: i64::MIN,
            began_ns: 0,
            t0_ns: 0,
            verbs: Vec::new(),
            outcome: Outcome::default(),
            orders,
            way,
        };
        for (group, address) in pacer.routes.addresses().into_iter().enumerate() {
            pacer.open_group(group, address.unwrap_or(pacer.orders.address))?;
        }
        Ok(pacer)
    }

    /// Makes the lanes to one server.
    fn open_group(&mut self, group: usize, address: SocketAddr) -> std::io::Result<()> {
        for _ in 0..self.orders.connections {
            let Orders { pipeline, timeout_ns, .. } = self.orders;
            self.lanes.push(self.way.lane(address, pipeline, timeout_ns, &mut self.outcome.notes)?);
            self.queued.push(false);
            self.routes.add_lane(group);
        }
        Ok(())
    }

    /// Opens all lanes before the start; why the first that cannot be could not.
    pub fn connect(&mut self, deadline_ns: i64, book: &mut Book) -> Result<(), Refusal> {
        loop {
            let now = clock::now_ns();
            self.dial(now);
            if self.lanes.iter().all(|lane| lane.is_up()) {
                return Ok(());
            }
            if let Some(refusal) = self.lanes.iter().find_map(|lane| lane.refusal()) {
                return Err(refusal);
            }
            if now >= deadline_ns {
                return Err(Refusal { errno: libc::ETIMEDOUT, words: None });
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
        if self.orders.window == 0 {
            book.record_gaps();
        }
        if self.orders.log_requests {
            book.log_requests();
        }
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
            let next_due = self.next_due(now, &book);
            if next_due.is_none() && self.feed.is_none() && self.routes.waiting() == 0 && awaited == 0 {
                break;
            }
            let idle = book.open() == 0 && next_due.is_some();
            let next_tick = last_tick + if idle { IDLE_TICK_NS } else { TICK_NS };
            if now >= next_tick {
                self.tick(now, &mut book);
                if walls.turned(now) {
                    walls.tell(now, self.gauges(&book), &mut book);
                }
                last_tick = now;
                continue;
            }
            let until_due = next_due.map_or(i64::MAX, |due| due.saturating_sub(now).saturating_sub(self.orders.spin_ns));
            let spins = awaited > 0 && now - last_life < spin_for_answers_ns;
            let waiting = self.routes.waiting() > 0;
            let may_send = self.routes.may_go(|lane| self.lanes[lane].takes());
            let timeout = if spins || may_send { 0 } else { until_due.min(next_tick - now).max(0) };
            if timeout > 0 || awaited > 0 || waiting {
                if self.take_events(timeout, &mut book) {
                    last_life = clock::now_ns();
                }
            } else {
                std::hint::spin_loop();
            }
        }
        walls.tell(clock::now_ns(), self.gauges(&book), &mut book);
        if self.outcome.stopped {
            self.abandon(&mut book);
        }
        self.outcome.first_send_ns = book.first_send_ns();
        book.finish();
        self.outcome
    }

    /// Requests that a lane has taken and that have no end yet.
    fn awaited(&self, book: &Book) -> u64 {
        book.open() - self.routes.waiting() as u64
    }

    fn gauges(&self, book: &Book) -> Gauges {
        let mut gauges = Gauges { open: book.open(), backlog: self.routes.waiting() as u64, ..Gauges::default() };
        for lane in self.lanes.iter().map(|lane| lane.gauges()) {
            gauges.backlog += lane.unwritten;
            gauges.partial_writes += lane.partial_writes;
            gauges.reconnects += lane.reconnects;
        }
        gauges
    }

    fn second_of(&self, time_ns: i64) -> i64 {
        time_ns.saturating_sub(self.t0_ns).div_euclid(SECOND_NS)
    }

    fn dial(&mut self, now: i64) {
        let mut dialing = self.lanes.iter().filter(|lane| lane.is_dialing()).count();
        for (token, lane) in self.lanes.iter_mut().enumerate() {
            if dialing >= MOST_DIALING {
                return;
            }
            if lane.dial_if_due(now) {
                let watched = lane.fd().map_or(Ok(()), |fd| self.poll.add(fd, token, true));
                if let Err(e) = watched {
                    lane.refused(e.raw_os_error(), now);
                }
                dialing += usize::from(lane.is_dialing());
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
                self.verbs.extend(chunk.new_ops.iter().map(|op| self.way.verb(op)));
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

    /// When the next row is due; None: unknown, or not a matter of time. A closed loop opens at T0.
    fn next_due(&self, now: i64, book: &Book) -> Option<i64> {
        let row = self.chunk.rows.get(self.at)?;
        match self.orders.window {
            0 => Some(self.t0_ns.saturating_add(row.due_ns)),
            _ if self.t0_ns > now => Some(self.t0_ns),
            _ => self.users.next_ready_ns(now, book.open()),
        }
    }

    /// When the row at hand is due, if that is now.
    fn due(&mut self, now: i64, book: &Book) -> Option<i64> {
        let row = self.chunk.rows.get(self.at)?;
        if self.orders.window == 0 {
            return Some(self.t0_ns.saturating_add(row.due_ns)).filter(|due| *due <= now);
        }
        if now < self.t0_ns {
            return None;
        }
        self.users.ready(now, self.t0_ns, book.open())
    }

    /// Takes up every row that is due. True: the late policy ends the run.
    fn admit(&mut self, now: i64, book: &mut Book) -> bool {
        loop {
            self.next_chunk(false);
            let Some(due_ns) = self.due(now, book) else {
                return false;
            };
            let row = std::mem::take(&mut self.chunk.rows[self.at]);
            self.at += 1;
            let second = self.second_of(due_ns);
            self.outcome.last_due_ns = due_ns;
            book.scheduled(second, row.slot);
            let request = Request { row, due_ns, second, resent: false };
            if self.orders.late != Late::Send && now.saturating_sub(due_ns) > self.orders.late_after_ns {
                request.end(0, 0, End::Dropped, book);
                if self.orders.late == Late::Abort {
                    let late_us = now.saturating_sub(due_ns) / 1000;
                    self.outcome.notes.push(format!("aborted: a request was {late_us} us late"));
                    return true;
                }
                continue;
            }
            let group = self.routes.group_of(&request.row);
            let lanes = &self.lanes;
            match self.routes.choose(group, request.row.session, |lane| lanes[lane].takes()) {
                Some(token) => self.give(token, request, due_ns),
                None if self.routes.waiting() < LONGEST_BACKLOG => self.routes.wait(group, request),
                None => request.end(0, 0, End::Unsent, book),
            }
        }
    }

    fn give(&mut self, token: usize, request: Request, ready_ns: i64) {
        let verb = self.verbs[usize::from(request.row.op)];
        self.lanes[token].take(request, ready_ns, verb);
        if !std::mem::replace(&mut self.queued[token], true) {
            self.dirty.push(token);
        }
    }

    /// Hands waiting requests to lanes and writes. True if anything was written.
    fn dispatch(&mut self, book: &mut Book) -> bool {
        while let Some((token, request)) = {
            let lanes = &self.lanes;
            self.routes.next(|lane| lanes[lane].takes())
        } {
            let ready = self.lanes[token].freed_ns().max(request.due_ns);
            self.give(token, request, ready);
        }
        let wrote = !self.dirty.is_empty();
        while let Some(token) = self.dirty.pop() {
            self.queued[token] = false;
            let watch = self.lanes[token].flush(book, &mut self.orphans);
            self.rewatch(token, watch, book);
        }
        self.adopt(book);
        wrote
    }

    /// Puts requests that lost their lane before all that wait, oldest first; those that belong elsewhere go there.
    fn adopt(&mut self, book: &mut Book) {
        if self.orphans.is_empty() {
            return;
        }
        let mut orphans = std::mem::take(&mut self.orphans);
        orphans.sort_by_key(|orphan| orphan.request.due_ns);
        while let Some(Orphan { request, moved }) = orphans.pop() {
            match moved {
                None => {
                    let group = self.routes.group_of(&request.row);
                    self.routes.wait_first(group, request);
                }
                Some(moved) => self.follow(request, &moved, book),
            }
        }
        self.orphans = orphans;
    }

    /// A server has said that a request belongs to another one.
    fn follow(&mut self, request: Request, moved: &Moved, book: &mut Book) {
        let found = match self.server(&moved.address) {
            Some((group, false)) => Some(group),
            Some((group, true)) => {
                self.open_group(group, self.routes.addresses()[group].unwrap_or(self.orders.address)).ok().map(|()| group)
            }
            None => None,
        };
        let Some(group) = found else {
            // No cluster, or a server that cannot be named: its word is the answer.
            return request.end(0, clock::now_ns(), End::Error(ErrorKind::Server), book);
        };
        if !moved.ask {
            self.routes.slot_moves(moved.slot, group);
            return self.routes.wait_first(group, request);
        }
        let lanes = &self.lanes;
        match self.routes.choose(group, request.row.session, |lane| lanes[lane].takes()) {
            Some(token) => {
                self.lanes[token].asking();
                let due_ns = request.due_ns;
                self.give(token, request, due_ns);
            }
            // Later it will be sent here once more, and then there may be room.
            None => {
                let home = self.routes.group_of(&request.row);
                self.routes.wait(home, request);
            }
        }
    }

    /// The group of a server that a cluster has named; true: new.
    fn server(&mut self, address: &str) -> Option<(usize, bool)> {
        self.orders.cluster.as_ref()?;
        let (host, port) = address.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        let found = match host {
            // A server that does not know its own address means the one that it was asked at.
            "" => Some(SocketAddr::new(self.orders.address.ip(), port)),
            host => self.looked_up(host.trim_matches(['[', ']']), port),
        }?;
        if self.routes.groups() >= MOST_SERVERS {
            return None;
        }
        self.routes.group_at(found)
    }

    /// A numeric address is not looked up; a name is, once, since that keeps everything waiting: also one that nobody knows.
    fn looked_up(&mut self, host: &str, port: u16) -> Option<SocketAddr> {
        if let Some(known) = self.names.get(host) {
            return known.map(|ip| SocketAddr::new(ip, port));
        }
        if self.names.len() >= MOST_SERVERS {
            return None;
        }
        let found = (host, port).to_socket_addrs().ok().and_then(|mut found| found.next());
        self.names.insert(host.into(), found.map(|address| address.ip()));
        found
    }

    fn rewatch(&mut self, token: usize, watch: Watch, book: &mut Book) {
        let write = match watch {
            Watch::Same | Watch::Gone => return,
            Watch::ReadOnly => false,
            Watch::ReadWrite => true,
        };
        let lane = &mut self.lanes[token];
        if lane.fd().is_some_and(|fd| self.poll.modify(fd, token, write).is_err()) {
            // A descriptor that cannot be watched would never be heard of again.
            lane.fail(clock::now_ns(), book, &mut self.orphans);
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
                let watch = self.lanes[token].writable(clock::now_ns(), book, &mut self.orphans);
                self.rewatch(token, watch, book);
            }
            if readable {
                let watch = self.lanes[token].readable(&mut self.buffer, book, &mut self.orphans);
                parted |= watch == Watch::Gone;
                self.rewatch(token, watch, book);
            }
        }
        if parted || !self.orphans.is_empty() {
            self.adopt(book);
            self.dial(clock::now_ns());
        }
        !self.ready.is_empty()
    }

    /// Timeouts, reconnects, finished seconds.
    fn tick(&mut self, now: i64, book: &mut Book) {
        self.take_events(0, book);
        for token in 0..self.lanes.len() {
            let watch = self.lanes[token].expire(now, book, &mut self.orphans);
            self.lanes[token].give_up_dialing(now);
            self.rewatch(token, watch, book);
        }
        self.adopt(book);
        let timeout_ns = self.orders.timeout_ns;
        let overdue = |request: &Request| now.saturating_sub(request.due_ns) > timeout_ns;
        self.routes.drop_while(overdue, |request| request.end(0, now, End::TimedOut, book));
        for group in 0..self.routes.groups() {
            let lanes = self.routes.lanes_of(group);
            let up = lanes.iter().any(|lane| self.lanes[*lane].is_up());
            if !up && lanes.iter().any(|lane| self.lanes[*lane].refusal().is_some()) {
                // Nobody answers at that address now: what is due has its answer, and need not wait for a timeout.
                self.routes.drain_group(group, |request| request.end(0, now, End::Error(ErrorKind::Connect), book));
            }
        }
        self.dial(now);
        let now_second = self.second_of(now);
        let more_to_come = self.feed.is_some() || self.at < self.chunk.rows.len();
        let next = match self.next_due(now, book) {
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
        for lane in &mut self.lanes {
            lane.abandon(now, book);
        }
        for group in 0..self.routes.groups() {
            self.routes.drain_group(group, |request| {
                let end = if request.resent { End::Error(ErrorKind::Stopped) } else { End::Unsent };
                request.end(0, now, end, book);
            });
        }
        loop {
            while let Some(row) = self.chunk.rows.get(self.at) {
                self.at += 1;
                // In a closed window a row has no time before it is taken up.
                let due_ns = if self.orders.window > 0 { now } else { self.t0_ns.saturating_add(row.due_ns) };
                let second = self.second_of(due_ns);
                self.outcome.last_due_ns = due_ns;
                // Counted, not logged: nothing is known of them but their place in the trace.
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
