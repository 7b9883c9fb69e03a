//! The engine's figures of itself, once per wall second: what its verdict on the measurement is judged on.

use crate::clock;
use crate::tally::{Book, Gaps, KernelTimes};

/// Figures of one wall second of one engine thread, as it knows them itself.
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
    pub gaps: Option<Box<Gaps>>,
    pub kernel: Option<Box<KernelTimes>>,
}

/// What the loop hands over at the end of a second; the last two count from the start of the run.
#[derive(Clone, Copy, Default)]
pub struct Gauges {
    pub open: u64,
    pub backlog: u64,
    pub partial_writes: u64,
    pub reconnects: u64,
}

/// Splits a thread's figures by wall second.
pub struct Walls {
    t0_ns: i64,
    core: Option<usize>,
    tid: i32,
    second: i64,
    cpu_ns: i64,
    inflight_max: u64,
    before: Gauges,
}

const SECOND_NS: i64 = 1_000_000_000;

impl Walls {
    /// To be made on the engine's own thread. `core` is None where it could not be pinned.
    pub fn new(t0_ns: i64, core: Option<usize>, book: &Book) -> Self {
        let tid = clock::thread_id();
        book.began(tid, core);
        let second = clock::now_ns().saturating_sub(t0_ns).div_euclid(SECOND_NS);
        Walls { t0_ns, core, tid, second, cpu_ns: clock::thread_cpu_ns(), inflight_max: 0, before: Gauges::default() }
    }

    pub fn saw(&mut self, inflight: u64) {
        self.inflight_max = self.inflight_max.max(inflight);
    }

    /// Whether a new second has begun since the last `tell`.
    pub fn turned(&self, now: i64) -> bool {
        now.saturating_sub(self.t0_ns).div_euclid(SECOND_NS) > self.second
    }

    /// Ends the current second. Seconds before T0 are not told.
    pub fn tell(&mut self, now: i64, gauges: Gauges, book: &mut Book) {
        let cpu = clock::thread_cpu_ns();
        let inflight = gauges.open.saturating_sub(gauges.backlog);
        let (gaps, kernel) = (book.take_gaps(), book.take_kernel());
        if self.second >= 0 {
            book.wall(Wall {
                second: self.second,
                core: self.core,
                tid: self.tid,
                cpu_ns: cpu - self.cpu_ns,
                inflight,
                inflight_max: self.inflight_max.max(inflight),
                backlog: gauges.backlog,
                send_buffer_full: gauges.partial_writes - self.before.partial_writes,
                reconnects: gauges.reconnects - self.before.reconnects,
                gaps,
                kernel,
            });
        }
        self.cpu_ns = cpu;
        self.inflight_max = 0;
        self.before = gauges;
        self.second = now.saturating_sub(self.t0_ns).div_euclid(SECOND_NS);
    }
}
