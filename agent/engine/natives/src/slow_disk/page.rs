//! The page of memory through which the slow disk is told its delay and tells its counts. Python sees it as 8 numbers of 64 bits.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

pub const PAGE_BYTES: usize = 8 * 8;

#[repr(C)]
pub struct Page {
    /// Before each request that reaches the disk.
    delay_ns: AtomicI64,
    /// Requests that reach the disk: begun to be held, delay or not.
    pub held: AtomicU64,
    /// The longest that any of them waited beyond its delay, for a thread or a core.
    late_ns: AtomicI64,
    _callers: [AtomicU64; 5],
}

impl Page {
    pub fn delay_ns(&self) -> i64 {
        self.delay_ns.load(Ordering::Relaxed)
    }

    pub fn late(&self, by_ns: i64) {
        self.late_ns.fetch_max(by_ns, Ordering::Relaxed);
    }
}
