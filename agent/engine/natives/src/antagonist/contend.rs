//! The kernel's own paths: system calls, context switches, a contended futex.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::{checked, Work};

static WAIT: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Reads of one byte of /dev/zero: a system call that does next to nothing, and that the kernel counts by process. A unit is a call.
pub struct Calls {
    zero: File,
}

impl Calls {
    pub fn new() -> io::Result<Self> {
        Ok(Calls { zero: File::open("/dev/zero")? })
    }
}

impl Work for Calls {
    fn most(&self) -> u64 {
        2000
    }

    fn step(&mut self, units: u64) -> io::Result<u64> {
        let mut byte = 0u8;
        for _ in 0..units {
            // SAFETY: one byte into a byte.
            checked(unsafe { libc::read(self.zero.as_raw_fd(), (&raw mut byte).cast(), 1) } as i64)?;
        }
        Ok(units)
    }
}

/// A word in memory that two threads pass to and fro by futex(2): 0 is ours, 1 the partner's.
struct Word {
    turn: AtomicU32,
    ended: AtomicBool,
}

impl Word {
    /// Gives the turn to `other` and wakes it.
    fn give(&self, other: u32) {
        self.turn.store(other, Ordering::Release);
        // Not a private futex: contention of those who share hash buckets is part of what a neighbour's lock is.
        // SAFETY: the word lives as long as both threads.
        unsafe { libc::syscall(libc::SYS_futex, self.turn.as_ptr(), libc::FUTEX_WAKE, 1) };
    }

    /// Waits for the turn; false: it is over.
    fn await_turn(&self, mine: u32) -> bool {
        while self.turn.load(Ordering::Acquire) != mine {
            if self.ended.load(Ordering::Relaxed) {
                return false;
            }
            // SAFETY: as above; the kernel looks at the value again before it sleeps.
            unsafe { libc::syscall(libc::SYS_futex, self.turn.as_ptr(), libc::FUTEX_WAIT, 1 - mine, &raw const WAIT) };
        }
        true
    }
}

struct Partner {
    word: Arc<Word>,
    thread: Option<JoinHandle<()>>,
}

impl Partner {
    fn new() -> io::Result<Self> {
        let word = Arc::new(Word { turn: AtomicU32::new(0), ended: AtomicBool::new(false) });
        let theirs = Arc::clone(&word);
        let thread = std::thread::Builder::new().spawn(move || {
            while theirs.await_turn(1) {
                theirs.give(0);
            }
        })?;
        Ok(Partner { word, thread: Some(thread) })
    }

    /// There and back: two hand-overs.
    fn round(&self) {
        self.word.give(1);
        self.word.await_turn(0);
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.word.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing that could panic; if it did, there is nothing left to end.
            let _ = thread.join();
        }
    }
}

/// A lock handed over between two threads, whoever wants it waiting in the kernel. A unit is a hand-over.
pub struct Locks {
    partner: Partner,
}

impl Locks {
    pub fn new() -> io::Result<Self> {
        Ok(Locks { partner: Partner::new()? })
    }
}

impl Work for Locks {
    fn quantum(&self) -> u64 {
        2
    }

    fn most(&self) -> u64 {
        256
    }

    fn step(&mut self, units: u64) -> io::Result<u64> {
        for _ in 0..units / 2 {
            self.partner.round();
        }
        Ok(units / 2 * 2)
    }
}

/// Voluntary context switches of the whole process, as the kernel counts them: what our sleeps add is part of it. A unit is a switch.
pub struct Switches {
    partner: Partner,
    counted: u64,
}

impl Switches {
    pub fn new() -> io::Result<Self> {
        Ok(Switches { partner: Partner::new()?, counted: switches()? })
    }
}

fn switches() -> io::Result<u64> {
    // SAFETY: rusage is plain data and a valid out pointer.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        checked(libc::getrusage(libc::RUSAGE_SELF, &mut used).into())?;
        used
    };
    Ok(used.ru_nvcsw as u64)
}

impl Work for Switches {
    fn most(&self) -> u64 {
        256
    }

    fn step(&mut self, units: u64) -> io::Result<u64> {
        let until = self.counted + units;
        let mut now = switches()?;
        while now < until {
            for _ in 0..(until - now).div_ceil(2).min(32) {
                self.partner.round();
            }
            now = switches()?;
        }
        let done = now - self.counted;
        self.counted = now;
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_does_what_it_counts() {
        assert_eq!(Calls::new().unwrap().step(1000).unwrap(), 1000);
        assert_eq!(Locks::new().unwrap().step(201).unwrap(), 200);
        assert!(Switches::new().unwrap().step(50).unwrap() >= 50);
    }
}
