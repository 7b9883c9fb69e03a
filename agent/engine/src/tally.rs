//! Accounting: what became of every request, by the second in which it was due and by op.

use std::collections::VecDeque;

use crossbeam_channel::{Receiver, Sender};
use hdrhistogram::Histogram;

/// Ways to fail, by name in every table.
pub const ERROR_KINDS: [&str; 8] = ["connect", "reset", "closed", "protocol", "server", "status_4xx", "status_5xx", "stopped"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    Connect = 0,
    Reset = 1,
    Closed = 2,
    Protocol = 3,
    Server = 4,
    Status4xx = 5,
    Status5xx = 6,
    /// Under way when the run was stopped.
    Stopped = 7,
}

/// The one end that every scheduled request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Completed { miss: bool },
    Error(ErrorKind),
    TimedOut,
    Dropped,
    Unsent,
}

/// Counts and histograms of one op in one second. Nanoseconds, three significant digits.
pub struct OpTally {
    pub scheduled: u64,
    pub sent: u64,
    pub completed: u64,
    pub misses: u64,
    pub timed_out: u64,
    pub dropped: u64,
    pub unsent: u64,
    pub errors: [u64; ERROR_KINDS.len()],
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub slip: Histogram<u32>,
    pub service: Histogram<u32>,
    pub response: Histogram<u32>,
    /// Scheduled and not yet ended.
    open: u64,
}

/// Above this a time is recorded as this: fixed bounds, so that recording never allocates.
const LONGEST_NS: u64 = 120_000_000_000;

fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant bounds are valid")
}

impl OpTally {
    pub fn new() -> Box<Self> {
        Box::new(OpTally {
            scheduled: 0,
            sent: 0,
            completed: 0,
            misses: 0,
            timed_out: 0,
            dropped: 0,
            unsent: 0,
            errors: [0; ERROR_KINDS.len()],
            bytes_sent: 0,
            bytes_received: 0,
            slip: histogram(),
            service: histogram(),
            response: histogram(),
            open: 0,
        })
    }

    /// Back to empty, keeping the memory.
    pub fn clear(&mut self) {
        self.scheduled = 0;
        self.sent = 0;
        self.completed = 0;
        self.misses = 0;
        self.timed_out = 0;
        self.dropped = 0;
        self.unsent = 0;
        self.errors = [0; ERROR_KINDS.len()];
        self.bytes_sent = 0;
        self.bytes_received = 0;
        self.slip.clear();
        self.service.clear();
        self.response.clear();
        self.open = 0;
    }

    /// Adds another thread's figures of the same second and op: exact, since histograms add.
    pub fn absorb(&mut self, other: &OpTally) {
        self.scheduled += other.scheduled;
        self.sent += other.sent;
        self.completed += other.completed;
        self.misses += other.misses;
        self.timed_out += other.timed_out;
        self.dropped += other.dropped;
        self.unsent += other.unsent;
        for (mine, theirs) in self.errors.iter_mut().zip(other.errors) {
            *mine += theirs;
        }
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.slip.add(&other.slip).expect("equal bounds");
        self.service.add(&other.service).expect("equal bounds");
        self.response.add(&other.response).expect("equal bounds");
    }
}

/// All ops of one due second of one thread.
pub struct Second {
    pub second: i64,
    pub ops: Vec<Option<Box<OpTally>>>,
    open: u64,
}

/// The seconds of one engine thread that still have requests under way.
pub struct Book {
    seconds: VecDeque<Second>,
    /// Boxed, because tallies travel to the collector and back: a pointer moves, not a hundred kilobytes of header and tables.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<OpTally>>,
    returned: Receiver<Box<OpTally>>,
    closed: Sender<Closed>,
    thread: usize,
}

/// What an engine thread tells the collector.
pub enum Closed {
    Second { thread: usize, second: Second },
    Wall { thread: usize, wall: crate::collector::Wall },
    Ended { thread: usize },
}

/// Tallies made before the run, for the ops and seconds that are usually open together.
const SPARE_AT_START: usize = 12;

impl Book {
    pub fn new(thread: usize, closed: Sender<Closed>, returned: Receiver<Box<OpTally>>) -> Self {
        let spare = (0..SPARE_AT_START).map(|_| OpTally::new()).collect();
        Book { seconds: VecDeque::with_capacity(256), spare, returned, closed, thread }
    }

    fn at(&mut self, second: i64) -> &mut Second {
        let first = match self.seconds.front() {
            Some(s) => s.second,
            None => {
                self.seconds.push_back(Second { second, ops: Vec::new(), open: 0 });
                second
            }
        };
        // Rows are sorted by due time, so only later seconds are ever added.
        while self.seconds.back().is_some_and(|s| s.second < second) {
            let next = self.seconds.back().map_or(second, |s| s.second) + 1;
            self.seconds.push_back(Second { second: next, ops: Vec::new(), open: 0 });
        }
        let index = usize::try_from(second - first).unwrap_or(0);
        &mut self.seconds[index]
    }

    fn tally(&mut self, second: i64, op: u16) -> (&mut u64, &mut OpTally) {
        let op = usize::from(op);
        if self.spare.is_empty() {
            self.spare.extend(self.returned.try_iter());
        }
        if self.at(second).ops.get(op).is_none_or(Option::is_none) {
            let fresh = self.spare.pop().unwrap_or_else(OpTally::new);
            let here = self.at(second);
            if here.ops.len() <= op {
                here.ops.resize_with(op + 1, || None);
            }
            here.ops[op] = Some(fresh);
        }
        let here = self.at(second);
        let Second { ops, open, .. } = here;
        (open, ops[op].as_mut().expect("made above"))
    }

    pub fn scheduled(&mut self, second: i64, op: u16) {
        let (open, tally) = self.tally(second, op);
        *open += 1;
        tally.scheduled += 1;
        tally.open += 1;
    }

    pub fn sent(&mut self, second: i64, op: u16, slip_ns: i64, bytes: u64) {
        let (_, tally) = self.tally(second, op);
        tally.sent += 1;
        tally.bytes_sent += bytes;
        tally.slip.saturating_record(slip_ns.max(1) as u64);
    }

    pub fn received(&mut self, second: i64, op: u16, bytes: u64) {
        self.tally(second, op).1.bytes_received += bytes;
    }

    pub fn latency(&mut self, second: i64, op: u16, service_ns: i64, response_ns: i64) {
        let (_, tally) = self.tally(second, op);
        tally.service.saturating_record(service_ns.max(1) as u64);
        tally.response.saturating_record(response_ns.max(1) as u64);
    }

    pub fn ended(&mut self, second: i64, op: u16, end: End) {
        let (open, tally) = self.tally(second, op);
        *open -= 1;
        tally.open -= 1;
        match end {
            End::Completed { miss } => {
                tally.completed += 1;
                tally.misses += u64::from(miss);
            }
            End::Error(kind) => tally.errors[kind as usize] += 1,
            End::TimedOut => tally.timed_out += 1,
            End::Dropped => tally.dropped += 1,
            End::Unsent => tally.unsent += 1,
        }
    }

    /// Hands over the seconds before `second` in which everything has ended.
    pub fn close_before(&mut self, second: i64) {
        while self.seconds.front().is_some_and(|s| s.second < second && s.open == 0) {
            if let Some(done) = self.seconds.pop_front() {
                if done.ops.iter().any(Option::is_some) {
                    // The collector lives until every thread has ended, so this cannot fail.
                    let _ = self.closed.send(Closed::Second { thread: self.thread, second: done });
                }
            }
        }
    }

    pub fn wall(&self, wall: crate::collector::Wall) {
        let _ = self.closed.send(Closed::Wall { thread: self.thread, wall });
    }

    pub fn finish(mut self) {
        self.close_before(i64::MAX);
        debug_assert!(self.seconds.is_empty(), "a request has no end");
        let _ = self.closed.send(Closed::Ended { thread: self.thread });
    }
}
