//! The page of memory through which the relay is told its shape and tells its counts. Python sees it as 16 numbers of 64 bits.

use std::sync::atomic::{AtomicU64, Ordering};

pub const PAGE_BYTES: usize = 16 * 8;

#[repr(C)]
pub struct Page {
    /// Each way.
    delay_ns: AtomicU64,
    /// On the way to the system: evenly from 0 to this, on top of the delay.
    jitter_ns: AtomicU64,
    /// Each way, over all connections; 0: no limit.
    bytes_per_s: AtomicU64,
    _callers: [AtomicU64; 2],
    /// Packets that arrived at sockets which lose some, by the kernel's count, and those that it lost.
    pub arrived: AtomicU64,
    pub lost: AtomicU64,
    _spare: AtomicU64,
    /// To the system and back, on shaped routes, once they have gone on.
    pub bytes: [AtomicU64; 2],
    pub datagrams: [AtomicU64; 2],
    /// Datagrams that found no room, and what could not be dialled.
    pub dropped: AtomicU64,
    pub refused: AtomicU64,
    pub connections: AtomicU64,
    /// The latest that anything ever went on after it was due.
    pub late_ns: AtomicU64,
}

#[derive(Clone, Copy)]
pub struct Shape {
    pub delay_ns: i64,
    pub jitter_ns: i64,
    pub bytes_per_s: u64,
}

impl Page {
    pub fn shape(&self, shaped: bool) -> Shape {
        if !shaped {
            return Shape { delay_ns: 0, jitter_ns: 0, bytes_per_s: 0 };
        }
        Shape {
            delay_ns: self.delay_ns.load(Ordering::Relaxed) as i64,
            jitter_ns: self.jitter_ns.load(Ordering::Relaxed) as i64,
            bytes_per_s: self.bytes_per_s.load(Ordering::Relaxed),
        }
    }

    /// The relay is the only writer of counts.
    pub fn add(count: &AtomicU64, more: u64) {
        count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    pub fn late(&self, by_ns: i64) {
        if by_ns > self.late_ns.load(Ordering::Relaxed) as i64 {
            self.late_ns.store(by_ns as u64, Ordering::Relaxed);
        }
    }
}
