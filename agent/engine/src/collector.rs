//! Takes finished seconds from the engine threads, merges them exactly, serialises their histograms, and returns the memory.
//! Runs on the thread that called run(), so that nothing of this costs the loops time.

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use hdrhistogram::serialization::{Serializer, V2Serializer};
use hdrhistogram::{Counter, Histogram};

use crate::clock;
use crate::tally::{Counts, LogRow, News, OpTally, Times};
use crate::walls::Wall;

/// A wall second with what the kernel says of the thread and its core.
pub struct WallReport {
    pub wall: Wall,
    pub run_delay_ns: i64,
    pub steal_ns: i64,
}

/// One finished second of one op, over all threads.
pub struct IntervalReport {
    pub second: i64,
    pub op: usize,
    pub counts: Counts,
    pub slip: Vec<u8>,
    pub service: Vec<u8>,
    pub response: Vec<u8>,
    /// Empty where no answer was streamed.
    pub ttft: Vec<u8>,
    pub tpot: Vec<u8>,
}

/// HdrHistogram V2, uncompressed.
pub fn encode<T: Counter>(histogram: &Histogram<T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(histogram, &mut bytes).expect("a Vec takes all, and no count passes 2^63");
    bytes
}

/// Whoever wants to hear of a run while it goes on.
pub trait Listener {
    fn intervals(&mut self, intervals: Vec<IntervalReport>);
    fn wall(&mut self, report: &WallReport);
    fn requests(&mut self, rows: Vec<LogRow>);
    /// Called now and then while there is no news.
    fn idle(&mut self);
}

/// What the kernel has counted for each thread when last asked: run-queue delay, steal of its core.
#[derive(Default)]
struct Kernel(BTreeMap<i32, (Option<i64>, Option<i64>)>);

impl Kernel {
    /// Growth since the last look at this thread; the first look is the base.
    fn growth(&mut self, tid: i32, core: Option<usize>) -> (i64, i64) {
        let now = (clock::run_delay_ns(tid), clock::steal_ns(core));
        let before = self.0.insert(tid, now).unwrap_or(now);
        let grown = |before: Option<i64>, now: Option<i64>| match (before, now) {
            (Some(b), Some(n)) => (n - b).max(0),
            _ => 0,
        };
        (grown(before.0, now.0), grown(before.1, now.1))
    }
}

/// Returns emptied histograms to a thread; with enough there already they are freed.
fn give_back(mut times: Box<Times>, to: &Sender<Box<Times>>) {
    times.clear();
    drop(to.try_send(times));
}

fn report(second: i64, op: usize, tally: OpTally, none: &[u8], to: &Sender<Box<Times>>) -> IntervalReport {
    let (slip, service, response) = match &tally.times {
        Some(times) => (encode(&times.slip), encode(&times.service), encode(&times.response)),
        None => (none.to_vec(), none.to_vec(), none.to_vec()),
    };
    if let Some(times) = tally.times {
        give_back(times, to);
    }
    let (ttft, tpot) = tally.tokens.map(|t| (encode(&t.ttft), encode(&t.tpot))).unwrap_or_default();
    IntervalReport { second, op, counts: tally.counts, slip, service, response, ttft, tpot }
}

/// How often the listener hears that there is nothing to hear.
const IDLE: Duration = Duration::from_millis(100);

/// Runs until every one of the threads has ended; `returned` has one sender for each.
pub fn collect(news: &Receiver<News>, returned: &[Sender<Box<Times>>], listener: &mut dyn Listener) {
    let threads = returned.len();
    let none = encode(&Times::new().slip);
    let mut kernel = Kernel::default();
    let mut open: BTreeMap<i64, BTreeMap<usize, OpTally>> = BTreeMap::new();
    // A second is whole when every thread has passed it: threads close their seconds in order.
    let mut passed = vec![i64::MIN; threads];
    let mut running = threads;
    let mut next = 0;
    while running > 0 {
        match news.recv_timeout(IDLE) {
            Err(RecvTimeoutError::Timeout) => listener.idle(),
            // Every thread has gone without saying so: they have panicked, which run() reports.
            Err(RecvTimeoutError::Disconnected) => break,
            Ok(News::Began { tid, core }) => {
                kernel.growth(tid, core);
            }
            Ok(News::Wall { thread, wall, passed: up_to }) => {
                passed[thread] = passed[thread].max(up_to);
                let (run_delay_ns, steal_ns) = kernel.growth(wall.tid, wall.core);
                listener.wall(&WallReport { wall, run_delay_ns, steal_ns });
            }
            Ok(News::Log(rows)) => listener.requests(rows),
            Ok(News::Ended { thread }) => {
                passed[thread] = i64::MAX;
                running -= 1;
            }
            Ok(News::Second { thread, second }) => {
                passed[thread] = passed[thread].max(second.second);
                let here = open.entry(second.second).or_default();
                for (op, tally) in second.ops.into_iter().enumerate().filter(|(_, t)| t.counts.scheduled > 0) {
                    if let Some(times) = here.entry(op).or_default().absorb(tally) {
                        give_back(times, &returned[thread]);
                    }
                }
            }
        }
        let whole = passed.iter().copied().min().unwrap_or(i64::MAX);
        while let Some(entry) = open.first_entry().filter(|e| *e.key() <= whole) {
            let (second, ops) = entry.remove_entry();
            let reports = ops.into_iter().map(|(op, tally)| {
                next = (next + 1) % threads;
                report(second, op, tally, &none, &returned[next])
            });
            listener.intervals(reports.collect());
        }
    }
}
