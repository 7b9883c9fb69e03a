//! Who does the work of the slow disk, and when: a queue by time for what is held, so that delays overlap however many they are, and a
//! bounded number of threads for what is done below.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::clock::now_ns;

/// How many requests are worked on below at once; more wait for one of them to end.
pub const THREADS: usize = 32;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Waiting {
    ready: VecDeque<Job>,
    /// By when they are due and the order in which they came.
    held: BTreeMap<(i64, u64), Job>,
    came: u64,
}

#[derive(Default)]
pub struct Hold {
    waiting: Mutex<Waiting>,
    more_ready: Condvar,
    more_held: Condvar,
}

impl Hold {
    /// Starts the threads, which live as long as the process.
    pub fn start() -> io::Result<Arc<Hold>> {
        let hold = Arc::new(Hold::default());
        let timer = hold.clone();
        thread::Builder::new().name("held".into()).spawn(move || timer.let_go())?;
        for _ in 0..THREADS {
            let worker = hold.clone();
            thread::Builder::new().name("below".into()).spawn(move || worker.work())?;
        }
        Ok(hold)
    }

    /// A job that panicked did so outside the lock, so what the lock guards is whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self, job: impl FnOnce() + Send + 'static) {
        self.lock().ready.push_back(Box::new(job));
        self.more_ready.notify_one();
    }

    pub fn at(&self, due_ns: i64, job: impl FnOnce() + Send + 'static) {
        let mut waiting = self.lock();
        let key = (due_ns, waiting.came);
        waiting.came += 1;
        waiting.held.insert(key, Box::new(job));
        if waiting.held.first_key_value().is_some_and(|(first, _)| *first == key) {
            self.more_held.notify_one();
        }
    }

    fn let_go(&self) {
        // SAFETY: sets a number of the calling thread: it wants to be woken when it said, not up to 50 us later.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        let mut waiting = self.lock();
        loop {
            let now = now_ns();
            while let Some(first) = waiting.held.first_entry().filter(|first| first.key().0 <= now) {
                let job = first.remove();
                waiting.ready.push_back(job);
                self.more_ready.notify_one();
            }
            let next = waiting.held.first_key_value().map(|(key, _)| key.0);
            waiting = match next {
                None => self.more_held.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let wait = Duration::from_nanos((due - now).max(1) as u64);
                    self.more_held.wait_timeout(waiting, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn work(&self) {
        let mut waiting = self.lock();
        loop {
            match waiting.ready.pop_front() {
                Some(job) => {
                    drop(waiting);
                    job();
                    waiting = self.lock();
                }
                None => waiting = self.more_ready.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn what_is_held_is_done_once_and_never_before_it_is_due() {
        let hold = Hold::start().unwrap();
        let (tell, told) = channel();
        let begun = now_ns();
        for wait_ms in [60, 20, 40, 20] {
            let tell = tell.clone();
            let due = begun + wait_ms * 1_000_000;
            hold.at(due, move || tell.send((wait_ms, now_ns() >= due)).unwrap());
        }
        let first = tell.clone();
        hold.now(move || first.send((0, true)).unwrap());
        let mut done: Vec<_> = told.iter().take(5).collect();
        done.sort_unstable(); // threads may overtake each other
        assert_eq!(done, [0, 20, 20, 40, 60].map(|wait| (wait, true)));
    }

    #[test]
    fn more_can_be_held_at_once_than_there_are_threads() {
        let hold = Hold::start().unwrap();
        let (tell, told) = channel();
        let due = now_ns() + 30_000_000;
        for _ in 0..50 * THREADS {
            let tell = tell.clone();
            hold.at(due, move || tell.send(()).unwrap());
        }
        assert_eq!(told.iter().take(50 * THREADS).count(), 50 * THREADS);
        assert!(told.try_recv().is_err());
    }
}
