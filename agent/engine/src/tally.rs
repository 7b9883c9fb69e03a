//! Accounting: what became of every request, by the second in which it was due and by op.

use std::collections::VecDeque;

use crossbeam_channel::{Receiver, Sender};
use hdrhistogram::Histogram;

use crate::walls::Wall;

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

/// Counts of one op in one second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
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
    /// Tokens of streamed answers.
    pub output_tokens: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
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
        self.output_tokens += other.output_tokens;
    }
}

/// One hour: above it a time is recorded as this. The bounds are fixed, so that recording never allocates.
pub const LONGEST_NS: u64 = 3_600_000_000_000;

/// Times of one op in one second, in nanoseconds at three significant digits.
pub struct Times {
    pub slip: Histogram<u32>,
    pub service: Histogram<u32>,
    pub response: Histogram<u32>,
}

/// An empty histogram of times.
pub fn empty() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant bounds are valid")
}

/// Times of streamed answers: from due to the first token, and per token after it.
pub struct TokenTimes {
    pub ttft: Histogram<u32>,
    pub tpot: Histogram<u32>,
}

/// Gaps between requests that left one thread one after the other, as its schedule has them and as they left; two digits, so that they
/// are small enough to be made every second. Only of those that nothing but ourselves kept: after a stall of the server the rest leave
/// when it lets them, which says nothing of us.
pub struct Gaps {
    pub due: Histogram<u32>,
    pub sent: Histogram<u32>,
}

impl Gaps {
    fn new() -> Box<Self> {
        let empty = || Histogram::new_with_bounds(1, LONGEST_NS, 2).expect("constant bounds are valid");
        Box::new(Gaps { due: empty(), sent: empty() })
    }
}

/// What the kernel's own stamps say, in nanoseconds: from ours before a write to its, and from its of bytes come in to ours after a read.
pub struct KernelTimes {
    pub sent: Histogram<u32>,
    pub read: Histogram<u32>,
}

impl KernelTimes {
    fn new() -> Box<Self> {
        let Gaps { due, sent } = *Gaps::new();
        Box::new(KernelTimes { sent: due, read: sent })
    }
}

/// When a request left and was answered; 0: it was not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamps {
    pub sent_ns: i64,
    pub done_ns: i64,
}

/// One request in the log.
#[derive(Clone, Copy, Debug)]
pub struct LogRow {
    /// Place in the stream that was replayed.
    pub row: u64,
    pub due_ns: i64,
    pub stamps: Stamps,
    pub slot: u16,
    pub end: End,
}

impl Times {
    pub fn new() -> Box<Self> {
        Box::new(Times { slip: empty(), service: empty(), response: empty() })
    }

    /// Back to empty, keeping the memory.
    pub fn clear(&mut self) {
        self.slip.clear();
        self.service.clear();
        self.response.clear();
    }

    /// Adds another thread's times: exact, since the bounds are the same.
    fn absorb(&mut self, other: &Times) {
        self.slip.add(&other.slip).expect("equal bounds");
        self.service.add(&other.service).expect("equal bounds");
        self.response.add(&other.response).expect("equal bounds");
    }
}

/// One op in one second. A second in which nothing was sent has no histograms: they are large.
#[derive(Default)]
pub struct OpTally {
    pub counts: Counts,
    pub times: Option<Box<Times>>,
    pub tokens: Option<Box<TokenTimes>>,
}

impl OpTally {
    /// Adds another thread's figures of the same second and op; gives back the memory that is now free.
    pub fn absorb(&mut self, other: OpTally) -> Option<Box<Times>> {
        self.counts.add(&other.counts);
        match (&mut self.tokens, other.tokens) {
            (Some(mine), Some(theirs)) => {
                mine.ttft.add(&theirs.ttft).expect("equal bounds");
                mine.tpot.add(&theirs.tpot).expect("equal bounds");
            }
            (mine, theirs) => *mine = mine.take().or(theirs),
        }
        match (&mut self.times, other.times) {
            (Some(mine), Some(theirs)) => {
                mine.absorb(&theirs);
                Some(theirs)
            }
            (None, theirs) => {
                self.times = theirs;
                None
            }
            (Some(_), None) => None,
        }
    }
}

/// All ops of one due second of one thread.
pub struct Second {
    pub second: i64,
    pub ops: Vec<OpTally>,
    /// Scheduled and not yet ended.
    open: u64,
}

impl Second {
    fn op(&mut self, op: u16) -> &mut OpTally {
        let op = usize::from(op);
        if self.ops.len() <= op {
            self.ops.resize_with(op + 1, OpTally::default);
        }
        &mut self.ops[op]
    }
}

/// Seconds by their number; most look-ups are of the last.
struct Seconds(VecDeque<Second>);

impl Seconds {
    fn at(&mut self, second: i64) -> &mut Second {
        let fresh = || Second { second, ops: Vec::with_capacity(8), open: 0 };
        let at = match self.0.back() {
            Some(last) if last.second == second => self.0.len() - 1,
            Some(last) if last.second > second => match self.0.binary_search_by_key(&second, |s| s.second) {
                Ok(at) => at,
                Err(at) => {
                    self.0.insert(at, fresh());
                    at
                }
            },
            _ => {
                self.0.push_back(fresh());
                self.0.len() - 1
            }
        };
        &mut self.0[at]
    }
}

/// Histograms to use again: making one takes longer than filling it does.
struct Spare {
    /// Boxed, because they go into tallies and through channels as they are.
    #[allow(clippy::vec_box)]
    times: Vec<Box<Times>>,
    returned: Receiver<Box<Times>>,
}

impl Spare {
    fn take(&mut self) -> Box<Times> {
        if self.times.is_empty() {
            self.times.extend(self.returned.try_iter());
        }
        self.times.pop().unwrap_or_else(Times::new)
    }
}

/// What an engine thread tells the collector.
pub enum News {
    /// The thread runs now: the base of what the kernel counts for it.
    Began {
        tid: i32,
        core: Option<usize>,
    },
    Second {
        thread: usize,
        second: Second,
    },
    /// A wall second has passed; nothing more will come for due seconds up to `passed`.
    Wall {
        thread: usize,
        wall: Wall,
        passed: i64,
    },
    /// Requests that have ended, for whoever wants each of them.
    Log(Vec<LogRow>),
    Ended {
        thread: usize,
    },
}

/// The seconds of one engine thread that still have requests under way.
pub struct Book {
    seconds: Seconds,
    /// Requests scheduled and not yet ended, over all seconds.
    open: u64,
    first_send_ns: i64,
    /// Due seconds up to this one are closed for good.
    passed: i64,
    spare: Spare,
    news: Sender<News>,
    thread: usize,
    gaps: Option<Box<Gaps>>,
    kernel: Option<Box<KernelTimes>>,
    /// When the request that left last was due and left, if nothing but ourselves kept it.
    last_free: Option<(i64, i64)>,
    /// None: nobody wants each request.
    log: Option<Vec<LogRow>>,
}

/// Requests logged together.
const LOG_ROWS: usize = 8192;

/// Histograms made before the run, for the ops and seconds that are usually open together.
const SPARE_AT_START: usize = 8;

impl Book {
    pub fn new(thread: usize, news: Sender<News>, returned: Receiver<Box<Times>>) -> Self {
        Book {
            seconds: Seconds(VecDeque::with_capacity(256)),
            open: 0,
            first_send_ns: 0,
            passed: i64::MIN,
            spare: Spare { times: (0..SPARE_AT_START).map(|_| Times::new()).collect(), returned },
            news,
            thread,
            gaps: None,
            kernel: None,
            last_free: None,
            log: None,
        }
    }

    /// From now on each request is told, not only counted.
    pub fn log_requests(&mut self) {
        self.log = Some(Vec::with_capacity(LOG_ROWS));
    }

    /// From now on gaps are recorded, which only a schedule has.
    pub fn record_gaps(&mut self) {
        self.gaps = Some(Gaps::new());
    }

    pub fn kernel_sent(&mut self, ns: i64) {
        self.kernel.get_or_insert_with(KernelTimes::new).sent.saturating_record(ns.max(1) as u64);
    }

    pub fn kernel_read(&mut self, ns: i64) {
        self.kernel.get_or_insert_with(KernelTimes::new).read.saturating_record(ns.max(1) as u64);
    }

    /// The kernel's stamps since the last call, if there were any.
    pub fn take_kernel(&mut self) -> Option<Box<KernelTimes>> {
        self.kernel.take()
    }

    /// The gaps since the last call.
    pub fn take_gaps(&mut self) -> Option<Box<Gaps>> {
        let fresh = self.gaps.as_ref().map(|_| Gaps::new());
        std::mem::replace(&mut self.gaps, fresh)
    }

    /// Requests that have been scheduled and have no end yet.
    pub fn open(&self) -> u64 {
        self.open
    }

    pub fn first_send_ns(&self) -> i64 {
        self.first_send_ns
    }

    /// An op's figures in a second, with histograms.
    fn times(&mut self, second: i64, op: u16) -> (&mut Counts, &mut Times) {
        let OpTally { counts, times, .. } = self.seconds.at(second).op(op);
        (counts, times.get_or_insert_with(|| self.spare.take()))
    }

    pub fn scheduled(&mut self, second: i64, op: u16) {
        self.open += 1;
        let second = self.seconds.at(second);
        second.open += 1;
        second.op(op).counts.scheduled += 1;
    }

    pub fn sent(&mut self, second: i64, op: u16, stamp_ns: i64, slip_ns: i64, bytes: u64) {
        if self.first_send_ns == 0 {
            self.first_send_ns = stamp_ns;
        }
        let (counts, times) = self.times(second, op);
        counts.sent += 1;
        counts.bytes_sent += bytes;
        times.slip.saturating_record(slip_ns.max(1) as u64);
    }

    /// A request has left. `free_since_ns`: its due time if only we could keep it from then on; None: the peer did.
    pub fn gap(&mut self, free_since_ns: Option<i64>, stamp_ns: i64) {
        if let Some(gaps) = &mut self.gaps {
            if let (Some((last_due_ns, last_sent_ns)), Some(due_ns)) = (self.last_free, free_since_ns) {
                gaps.due.saturating_record((due_ns - last_due_ns).max(1) as u64);
                gaps.sent.saturating_record((stamp_ns - last_sent_ns).max(1) as u64);
            }
            self.last_free = free_since_ns.map(|due_ns| (due_ns, stamp_ns));
        }
    }

    pub fn received(&mut self, second: i64, op: u16, bytes: u64) {
        self.seconds.at(second).op(op).counts.bytes_received += bytes;
    }

    pub fn latency(&mut self, second: i64, op: u16, service_ns: i64, response_ns: i64) {
        let (_, times) = self.times(second, op);
        times.service.saturating_record(service_ns.max(1) as u64);
        times.response.saturating_record(response_ns.max(1) as u64);
    }

    /// A streamed answer: time to its first token, time per token after it, tokens in all.
    pub fn tokens(&mut self, second: i64, op: u16, ttft_ns: i64, tpot_ns: i64, tokens: u32) {
        let tally = self.seconds.at(second).op(op);
        tally.counts.output_tokens += u64::from(tokens);
        let times = tally.tokens.get_or_insert_with(|| Box::new(TokenTimes { ttft: empty(), tpot: empty() }));
        times.ttft.saturating_record(ttft_ns.max(1) as u64);
        if tokens > 1 {
            times.tpot.saturating_record(tpot_ns.max(1) as u64);
        }
    }

    pub fn logs(&self) -> bool {
        self.log.is_some()
    }

    pub fn log(&mut self, row: LogRow) {
        if let Some(log) = &mut self.log {
            log.push(row);
            if log.len() >= LOG_ROWS {
                let full = std::mem::replace(log, Vec::with_capacity(LOG_ROWS));
                self.tell(News::Log(full));
            }
        }
    }

    pub fn ended(&mut self, second: i64, op: u16, end: End) {
        self.open -= 1;
        let second = self.seconds.at(second);
        second.open -= 1;
        let counts = &mut second.op(op).counts;
        match end {
            End::Completed { miss } => {
                counts.completed += 1;
                counts.misses += u64::from(miss);
            }
            End::Error(kind) => counts.errors[kind as usize] += 1,
            End::TimedOut => counts.timed_out += 1,
            End::Dropped => counts.dropped += 1,
            End::Unsent => counts.unsent += 1,
        }
    }

    /// Hands over the seconds before `second` in which everything has ended; nothing new may come for those.
    pub fn close_before(&mut self, second: i64) {
        while self.seconds.0.front().is_some_and(|s| s.second < second && s.open == 0) {
            if let Some(second) = self.seconds.0.pop_front() {
                self.tell(News::Second { thread: self.thread, second });
            }
        }
        let still_open = self.seconds.0.front().map_or(i64::MAX, |s| s.second);
        self.passed = self.passed.max(second.min(still_open).saturating_sub(1));
    }

    fn tell(&self, news: News) {
        // Fails only if the collector has gone, which it does after every thread has ended or when it has panicked itself;
        // run() reports a panic.
        drop(self.news.send(news));
    }

    pub fn began(&self, tid: i32, core: Option<usize>) {
        self.tell(News::Began { tid, core });
    }

    pub fn wall(&self, wall: Wall) {
        self.tell(News::Wall { thread: self.thread, wall, passed: self.passed });
    }

    pub fn finish(mut self) {
        self.close_before(i64::MAX);
        if let Some(rest) = self.log.take().filter(|rest| !rest.is_empty()) {
            self.tell(News::Log(rest));
        }
        debug_assert!(self.seconds.0.is_empty() && self.open == 0, "a request has no end");
        self.tell(News::Ended { thread: self.thread });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;

    #[test]
    fn far_apart_seconds_cost_no_memory_and_close_in_order() {
        let (news, told) = unbounded();
        let mut book = Book::new(0, news, unbounded().1);
        for second in [0, 5, i64::MAX / 2] {
            book.scheduled(second, 3);
        }
        assert_eq!(book.seconds.0.len(), 3);
        book.ended(5, 3, End::Unsent);
        book.close_before(10);
        assert!(told.is_empty(), "second 0 is open, so 5 must wait for it");
        book.ended(0, 3, End::TimedOut);
        book.ended(i64::MAX / 2, 3, End::Completed { miss: true });
        book.finish();
        let seconds: Vec<i64> =
            told.iter().filter_map(|n| if let News::Second { second, .. } = n { Some(second.second) } else { None }).collect();
        assert_eq!(seconds, [0, 5, i64::MAX / 2]);
    }

    #[test]
    fn absorbing_keeps_every_count() {
        let mut one = OpTally { counts: Counts { completed: 2, ..Counts::default() }, times: None, tokens: None };
        let mut times = Times::new();
        times.response.saturating_record(1000);
        let other = OpTally { counts: Counts { completed: 3, ..Counts::default() }, times: Some(times), tokens: None };
        assert!(one.absorb(other).is_none());
        assert_eq!(one.counts.completed, 5);
        assert_eq!(one.times.map(|t| t.response.len()), Some(1));
    }
}
