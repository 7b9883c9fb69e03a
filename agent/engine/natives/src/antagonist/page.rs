//! The page through which an antagonist is told its rate and says what it did: eight numbers of 8 bytes in a file that both sides map, so
//! that neither waits for the other. Read and written by agent/antagonist_page.py.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

pub const PAGE_BYTES: usize = 64;

/// In file order, native byte order.
#[repr(C)]
pub struct Page {
    /// f64: units per second asked for; 0: none, infinite: as fast as it goes. Written from outside, at any time.
    rate: AtomicU64,
    /// Units done since the start; of `hold`: bytes held now.
    done: AtomicU64,
    /// Units that fell due while we could not run, and were let go.
    forgiven: AtomicU64,
    /// Steps that failed, and the error of the last.
    failed: AtomicU64,
    errno: AtomicU64,
    /// 1 once everything is prepared.
    ready: AtomicU64,
    _spare: [AtomicU64; 2],
}

impl Page {
    /// A page of its own, for tests.
    pub fn new(rate: f64) -> Self {
        // SAFETY: all zero is a valid page: it is made of atomics.
        let page: Page = unsafe { std::mem::zeroed() };
        page.rate.store(rate.to_bits(), Ordering::Relaxed);
        page
    }

    pub fn rate(&self) -> f64 {
        let rate = f64::from_bits(self.rate.load(Ordering::Relaxed));
        if rate.is_nan() {
            0.0
        } else {
            rate
        }
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(crate) fn did(&self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }

    pub(crate) fn holds(&self, bytes: u64) {
        self.done.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn forgave(&self, units: u64) {
        if units > 0 {
            self.forgiven.fetch_add(units, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self, error: &io::Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.errno.store(error.raw_os_error().unwrap_or(0) as u64, Ordering::Relaxed);
    }

    pub(crate) fn say_ready(&self) {
        self.ready.store(1, Ordering::Release);
    }
}
