//! Neighbours with a known demand. A spinner, whose dose the cgroup around it holds, and paced work of many kinds, whose dose is a rate:
//! absolute deadlines, a bounded catch-up, a count that is read from outside while it runs.

mod contend;
mod cpu;
mod memory;
mod pace;
mod packets;
mod page;
mod storage;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Barrier;
use std::time::{Duration, Instant};

pub use contend::{Calls, Locks, Switches};
pub use cpu::cpu;
pub(crate) use memory::Region;
pub use memory::{hold, Faults, Streams, Touches};
pub use packets::Packets;
pub use page::{Page, PAGE_BYTES};
pub use storage::{Churn, Direct, Synced};

use crate::asked_to_stop;
use pace::{Due, Pace};

pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// One kind of paced work. Each thread has its own.
pub trait Work {
    /// The fewest units that can be done at once: 1 for calls, a chunk of bytes for a stream.
    fn quantum(&self) -> u64 {
        1
    }
    /// The most units to do before looking up again; a few milliseconds of work.
    fn most(&self) -> u64;
    /// Does about `units` of them, no fewer than a quantum and no more than `most`; returns how many were done.
    fn step(&mut self, units: u64) -> io::Result<u64>;
}

/// Runs `threads` workers until asked to stop; `make` prepares each one's work (buffers touched, files filled) in its own thread. The page
/// says `ready` once all are prepared, and only then is anything paced. A step that fails is counted and tried again in its time; work that
/// cannot be prepared ends the run with that error.
pub fn run<W: Work>(threads: usize, page: &Page, stop_fd: i32, make: impl Fn(usize) -> io::Result<W> + Sync) -> io::Result<()> {
    let threads = threads.max(1);
    let stop = AtomicBool::new(false);
    let prepared = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                let (stop, prepared, make) = (&stop, &prepared, &make);
                scope.spawn(move || {
                    sharp_timers();
                    let made = make(number);
                    if made.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    prepared.wait();
                    made.map(|mut work| paced(&mut work, threads, page, stop))
                })
            })
            .collect();
        prepared.wait();
        if !stop.load(Ordering::Relaxed) {
            page.say_ready();
        }
        while !stop.load(Ordering::Relaxed) && !asked_to_stop(stop_fd) {
            std::thread::sleep(LOOK_EVERY);
        }
        stop.store(true, Ordering::Relaxed);
        // A thread that panicked has said so on stderr; the others' errors come first.
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked"))))
    })
}

fn paced(work: &mut impl Work, threads: usize, page: &Page, stop: &AtomicBool) {
    let begun = Instant::now();
    let now_ns = || begun.elapsed().as_nanos() as u64;
    let mut pace = Pace::new(work.quantum());
    while !stop.load(Ordering::Relaxed) {
        page.forgave(pace.ask(page.rate() / threads as f64, now_ns()));
        match pace.due(now_ns()) {
            Due::Now(units) => match work.step(units.min(work.most())) {
                Ok(done) => {
                    pace.gave(done);
                    page.did(done);
                }
                Err(error) => {
                    page.failed(&error);
                    pace.gave(work.quantum());
                }
            },
            Due::In(ns) => std::thread::sleep(Duration::from_nanos(ns).min(LOOK_EVERY)),
        }
    }
}

/// Sleeps of the calling thread end when they should, not up to 50 us later (PR_SET_TIMERSLACK).
fn sharp_timers() {
    // SAFETY: sets a number of the calling thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
}

pub(crate) fn checked(result: i64) -> io::Result<i64> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Which of a sequence are of the kind that makes up `share` of it: exactly that share, evenly spread.
pub(crate) struct Mix {
    share: f64,
    owed: f64,
}

impl Mix {
    pub(crate) fn new(share: f64) -> Self {
        Mix { share, owed: 0.0 }
    }

    pub(crate) fn next(&mut self) -> bool {
        self.owed += self.share;
        let hit = self.owed >= 1.0 - 1e-9;
        if hit {
            self.owed -= 1.0;
        }
        hit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_has_exactly_its_share_and_spreads_it() {
        for (share, of_100) in [(0.0, 0), (0.3, 30), (0.5, 50), (1.0, 100)] {
            let mut mix = Mix::new(share);
            let hits: Vec<bool> = (0..100).map(|_| mix.next()).collect();
            assert_eq!(hits.iter().filter(|h| **h).count(), of_100);
            let first_half = hits[..50].iter().filter(|h| **h).count();
            assert!(first_half.abs_diff(of_100 / 2) <= 1);
        }
    }
}
