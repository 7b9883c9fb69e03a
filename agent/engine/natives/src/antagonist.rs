//! Neighbours with a known dose: a spinner (its dose is made by the cgroup around it) and paced memory streams.

use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::asked_to_stop;
use crate::sched::pin;

const CHUNK_BYTES: usize = 64 * 1024;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How far a stream may run ahead of its pace before it sleeps: long enough that it sleeps at all, so that its CPU does not become the
/// dose, and short enough that the bus sees a steady load.
const RUN_AHEAD: Duration = Duration::from_micros(400);
/// A stream that fell this far behind (it was not given the core) starts its schedule anew instead of bursting to catch up.
const FORGIVE_BEHIND: Duration = Duration::from_millis(50);

/// Spins with integer work until asked to stop.
pub fn cpu(core: Option<usize>, stop_fd: i32) -> io::Result<()> {
    if let Some(core) = core {
        pin(core)?;
    }
    let mut state = 1u64;
    let mut looked = Instant::now();
    loop {
        for _ in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state ^= state >> 29;
        }
        black_box(state);
        if looked.elapsed() > LOOK_EVERY {
            looked = Instant::now();
            if asked_to_stop(stop_fd) {
                return Ok(());
            }
        }
    }
}

/// What the streams are to do.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Bytes per second over all threads; 0: as fast as it goes.
    pub bytes_per_s: f64,
    pub threads: usize,
    /// Over all threads; must exceed the last-level cache to reach memory.
    pub buffer_bytes: usize,
}

/// Streams through memory, reads and writes in turn, until asked to stop. `moved` counts every byte read or written.
pub fn membw(order: Stream, moved: &AtomicU64, stop_fd: i32) {
    let stop = AtomicBool::new(false);
    let threads = order.threads.max(1);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| stream(order, threads, moved, &stop));
        }
        while !asked_to_stop(stop_fd) {
            std::thread::sleep(LOOK_EVERY);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn stream(order: Stream, threads: usize, moved: &AtomicU64, stop: &AtomicBool) {
    let words = (order.buffer_bytes / threads).max(4 * CHUNK_BYTES) / 8;
    let mut buffer = vec![1u64; words];
    let chunk_words = CHUNK_BYTES / 8;
    let chunks = words / chunk_words;
    let per_chunk = match order.bytes_per_s {
        rate if rate > 0.0 => Duration::from_secs_f64(CHUNK_BYTES as f64 / (rate / threads as f64)),
        _ => Duration::ZERO,
    };
    let mut next = Instant::now();
    let mut at = 0usize;
    let mut value = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let from = (at % chunks) * chunk_words;
        let part = &mut buffer[from..from + chunk_words];
        if at % 2 == 0 {
            value = value.wrapping_add(part.iter().fold(0u64, |sum, w| sum.wrapping_add(*w)));
            black_box(value);
        } else {
            write_past_cache(part, value);
        }
        at += 1;
        moved.fetch_add(CHUNK_BYTES as u64, Ordering::Relaxed);
        if per_chunk.is_zero() {
            continue;
        }
        next += per_chunk;
        let now = Instant::now();
        if now > next + FORGIVE_BEHIND {
            next = now;
        }
        if let Some(ahead) = next.checked_duration_since(now) {
            if ahead > RUN_AHEAD {
                std::thread::sleep(ahead);
            }
        }
    }
}

/// Stores that go to memory without filling the cache first, where the machine has them.
#[cfg(target_arch = "x86_64")]
fn write_past_cache(part: &mut [u64], value: u64) {
    use std::arch::x86_64::{_mm_sfence, _mm_stream_si64};
    for word in part.iter_mut() {
        // SAFETY: SSE2 is part of x86_64; the reference is valid and aligned for 8 bytes.
        unsafe { _mm_stream_si64((word as *mut u64).cast(), value as i64) };
    }
    // SAFETY: as above; orders the streamed stores before anything that follows.
    unsafe { _mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
fn write_past_cache(part: &mut [u64], value: u64) {
    part.fill(value);
}
