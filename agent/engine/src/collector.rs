//! Takes finished seconds from the engine threads, merges them exactly, serialises their histograms, and returns the memory.
//! Runs on a thread of its own, so that nothing of this costs the loop time.

use std::collections::BTreeMap;

use crossbeam_channel::{Receiver, Sender};
use hdrhistogram::serialization::{Serializer, V2Serializer};
use hdrhistogram::{Counter, Histogram};

use crate::clock;
use crate::tally::{Closed, OpTally};

/// Figures of one wall second of one engine thread, as it knows them itself.
#[derive(Clone, Debug)]
pub struct Wall {
    pub second: i64,
    pub core: Option<usize>,
    pub tid: i32,
    pub cpu_ns: i64,
    pub inflight: u64,
    pub inflight_max: u64,
    pub backlog: u64,
    pub send_buffer_full: u64,
    pub reconnects: u64,
}

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
    pub tally: Box<OpTally>,
    pub slip: Vec<u8>,
    pub service: Vec<u8>,
    pub response: Vec<u8>,
}

pub fn encode<T: Counter>(histogram: &Histogram<T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a Vec fails only for counts beyond i64, which no run reaches.
    if V2Serializer::new().serialize(histogram, &mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}

/// Whoever wants to hear of a run while it goes on.
pub trait Listener {
    fn intervals(&mut self, intervals: &[IntervalReport]);
    fn wall(&mut self, report: &WallReport);
}

#[derive(Default)]
struct Kernel {
    run_delay_ns: BTreeMap<i32, i64>,
    steal_ns: BTreeMap<Option<usize>, i64>,
}

impl Kernel {
    /// Growth since the last look; the first look is the base.
    fn report(&mut self, wall: Wall) -> WallReport {
        let grow = |before: Option<i64>, now: Option<i64>| match (before, now) {
            (Some(b), Some(n)) => (n - b).max(0),
            _ => 0,
        };
        let delay = clock::run_delay_ns(wall.tid);
        let steal = clock::steal_ns(wall.core);
        let report = WallReport {
            run_delay_ns: grow(self.run_delay_ns.get(&wall.tid).copied(), delay),
            steal_ns: grow(self.steal_ns.get(&wall.core).copied(), steal),
            wall,
        };
        if let Some(delay) = delay {
            self.run_delay_ns.insert(report.wall.tid, delay);
        }
        if let Some(steal) = steal {
            self.steal_ns.insert(report.wall.core, steal);
        }
        report
    }
}

/// Runs until every one of `threads` threads has ended.
pub fn collect(closed: &Receiver<Closed>, threads: usize, returned: &[Sender<Box<OpTally>>], listener: &mut dyn Listener) {
    let mut kernel = Kernel::default();
    let mut open: BTreeMap<i64, BTreeMap<usize, Box<OpTally>>> = BTreeMap::new();
    // A second is whole when every thread has passed it: threads close their seconds in order.
    let mut passed = vec![i64::MIN; threads];
    let mut running = threads;
    while running > 0 {
        let Ok(message) = closed.recv() else {
            break;
        };
        match message {
            Closed::Wall { thread, wall } => {
                let _ = thread;
                let report = kernel.report(wall);
                listener.wall(&report);
            }
            Closed::Ended { thread } => {
                passed[thread] = i64::MAX;
                running -= 1;
            }
            Closed::Second { thread, second } => {
                passed[thread] = second.second;
                let here = open.entry(second.second).or_default();
                for (op, tally) in second.ops.into_iter().enumerate() {
                    let Some(mut tally) = tally else { continue };
                    if let Some(whole) = here.get_mut(&op) {
                        whole.absorb(&tally);
                        tally.clear();
                        let _ = returned[thread].try_send(tally);
                    } else {
                        here.insert(op, tally);
                    }
                }
            }
        }
        let whole_before = passed.iter().copied().min().unwrap_or(i64::MAX);
        while let Some(entry) = open.first_entry() {
            if *entry.key() > whole_before {
                break;
            }
            let second = *entry.key();
            let reports: Vec<IntervalReport> = entry
                .remove()
                .into_iter()
                .map(|(op, tally)| IntervalReport {
                    second,
                    op,
                    slip: encode(&tally.slip),
                    service: encode(&tally.service),
                    response: encode(&tally.response),
                    tally,
                })
                .collect();
            listener.intervals(&reports);
            for (i, mut report) in reports.into_iter().enumerate() {
                report.tally.clear();
                let _ = returned[i % threads].try_send(report.tally);
            }
        }
    }
}
