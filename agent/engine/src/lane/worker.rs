//! A lane to a thread that does one request at a time by blocking calls: reads and writes of a disk without a ring, and drivers that
//! are not in this crate (Python). Pacing, stamps and books stay here; the thread says when it began and when it was done.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{bounded, Receiver, Sender};

use super::disk::{Aligned, Disk};
use super::line::{Pending, Request};
use super::{Gauges, Lane, Orphan, Watch};
use crate::clock::now_ns;
use crate::driver::{Answer, Expect, Verb};
use crate::feed::Row;
use crate::tally::{Book, ErrorKind};

/// Names of ops by verb, for threads that want the words.
#[derive(Default)]
pub struct Names(Mutex<Vec<Arc<str>>>);

impl Names {
    pub fn verb(&self, op: &str) -> Verb {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = names.iter().position(|name| &**name == op).unwrap_or_else(|| {
            names.push(op.into());
            names.len() - 1
        });
        at as Verb
    }

    pub fn name(&self, verb: Verb) -> Arc<str> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(usize::from(verb)).cloned().unwrap_or_else(|| "request".into())
    }
}

pub struct Job {
    pub row: Row,
    pub verb: Verb,
    number: u64,
}

pub struct Done {
    number: u64,
    began_ns: i64,
    done_ns: i64,
    answer: Result<Answer, ErrorKind>,
    bytes: u64,
}

struct Shared {
    /// When the thread began with what it is at; 0: it has not.
    began_ns: AtomicI64,
    /// Written when something is done.
    bell: OwnedFd,
}

/// The thread's end.
pub struct Bench {
    jobs: Receiver<Job>,
    done: Sender<Done>,
    shared: Arc<Shared>,
    at: Option<(u64, i64)>,
}

impl Bench {
    /// Waits for the next job; None: there will be no more.
    pub fn wait(&self) -> Option<Job> {
        self.jobs.recv().ok()
    }

    /// The request leaves now.
    pub fn begin(&mut self, job: &Job) {
        let now = now_ns();
        self.shared.began_ns.store(now, Ordering::Release);
        self.at = Some((job.number, now));
    }

    /// It is answered.
    pub fn finish(&mut self, answer: Result<Answer, ErrorKind>, bytes: u64) {
        let Some((number, began_ns)) = self.at.take() else {
            return;
        };
        // Gone is the lane if the run was stopped; then nobody wants to know.
        drop(self.done.send(Done { number, began_ns, done_ns: now_ns(), answer, bytes }));
        let one = 1u64;
        // SAFETY: eight bytes, as eventfd(2) wants; the descriptor lives as long as `shared`.
        unsafe { libc::write(self.shared.bell.as_raw_fd(), std::ptr::from_ref(&one).cast(), 8) };
    }

    pub fn is_at_work(&self) -> bool {
        self.at.is_some()
    }
}

pub struct Worker {
    jobs: Sender<Job>,
    done: Receiver<Done>,
    shared: Arc<Shared>,
    pending: Option<Pending>,
    /// Taken, and not yet given to the thread.
    next: Option<Verb>,
    /// The thread is at a request whose end has been told already.
    busy: bool,
    number: u64,
    counted: bool,
    timeout_ns: i64,
    freed_ns: i64,
    watched: bool,
}

impl Worker {
    /// # Errors
    /// The kernel gives no eventfd.
    pub fn new(timeout_ns: i64) -> std::io::Result<(Self, Bench)> {
        // SAFETY: flags in, a descriptor or -1 out.
        let bell = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if bell < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: just made, and owned by nobody else.
        let shared = Arc::new(Shared { began_ns: AtomicI64::new(0), bell: unsafe { OwnedFd::from_raw_fd(bell) } });
        let (jobs, come) = bounded(1);
        let (tell, done) = bounded(2);
        let lane = Worker {
            jobs,
            done,
            shared: shared.clone(),
            pending: None,
            next: None,
            busy: false,
            number: 0,
            counted: false,
            timeout_ns,
            freed_ns: i64::MIN,
            watched: false,
        };
        Ok((lane, Bench { jobs: come, done: tell, shared, at: None }))
    }

    /// One with a thread of its own that reads and writes a disk.
    ///
    /// # Errors
    /// No eventfd, or no thread.
    pub fn on_disk(disk: Arc<Disk>, timeout_ns: i64) -> std::io::Result<Self> {
        let (lane, mut bench) = Worker::new(timeout_ns)?;
        std::thread::Builder::new().name("offspec-disk".into()).spawn(move || {
            let mut memory = Aligned::new();
            while let Some(job) = bench.wait() {
                let span = disk.span(&job.row, job.verb);
                memory.room(span.bytes as usize);
                bench.begin(&job);
                let answer = disk.perform(span, job.verb, &mut memory);
                bench.finish(Ok(answer), span.bytes);
            }
        })?;
        Ok(lane)
    }

    /// Counts the request as sent, once, from when the thread says that it began.
    fn count_sent(&mut self, began_ns: i64, book: &mut Book) {
        if !std::mem::replace(&mut self.counted, true) {
            if let Some(pending) = &mut self.pending {
                pending.leaves(began_ns, book);
            }
        }
    }

    fn look(&mut self, book: &mut Book) {
        let began_ns = self.shared.began_ns.load(Ordering::Acquire);
        if self.busy && began_ns != 0 && self.done.is_empty() {
            self.count_sent(began_ns, book);
        }
    }
}

impl Lane for Worker {
    fn fd(&self) -> Option<RawFd> {
        Some(self.shared.bell.as_raw_fd())
    }
    fn is_up(&self) -> bool {
        true
    }
    fn takes(&self) -> bool {
        !self.busy && self.pending.is_none()
    }
    fn freed_ns(&self) -> i64 {
        self.freed_ns
    }
    fn take(&mut self, request: Request, ready_ns: i64, verb: Verb) {
        let bytes = u64::from(request.row.req_bytes);
        self.pending = Some(Pending::new(request, ready_ns, 0, bytes, Expect::default()));
        self.next = Some(verb);
        self.counted = false;
    }

    fn flush(&mut self, _book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        if let (Some(verb), Some(pending)) = (self.next.take(), &self.pending) {
            self.number += 1;
            self.shared.began_ns.store(0, Ordering::Release);
            self.busy = self.jobs.try_send(Job { row: pending.request.row.clone(), verb, number: self.number }).is_ok();
        }
        Watch::Same
    }

    fn readable(&mut self, _buffer: &mut [u8], book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        let mut rung = 0u64;
        // SAFETY: eight bytes, as eventfd(2) wants.
        unsafe { libc::read(self.shared.bell.as_raw_fd(), std::ptr::from_mut(&mut rung).cast(), 8) };
        while let Ok(done) = self.done.try_recv() {
            if done.number != self.number {
                continue;
            }
            self.busy = false;
            self.freed_ns = done.done_ns;
            self.count_sent(done.began_ns, book);
            if let Some(pending) = self.pending.take() {
                match done.answer {
                    Ok(answer) => pending.settle(answer, done.done_ns, done.bytes, self.timeout_ns, book),
                    Err(kind) => drop(pending.breaks(kind, done.done_ns, book)),
                }
            }
        }
        Watch::Same
    }

    fn writable(&mut self, _now: i64, _book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        Watch::ReadOnly
    }

    fn expire(&mut self, now: i64, book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        self.look(book);
        if let Some(pending) = self.pending.as_mut().filter(|p| p.alive && p.is_overdue(now, self.timeout_ns)) {
            pending.times_out(now, book);
            if !self.busy {
                self.pending = None;
                self.next = None;
            }
        }
        Watch::Same
    }

    /// The thread has gone: what it was at ends here.
    fn fail(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Orphan>) {
        let left = self.pending.take().and_then(|p| p.breaks(ErrorKind::Closed, now, book));
        orphans.extend(left.map(|request| Orphan { request, moved: None }));
    }

    fn abandon(&mut self, now: i64, book: &mut Book) {
        self.look(book);
        if let Some(pending) = self.pending.take() {
            pending.stops(now, book);
        }
    }

    fn gauges(&self) -> Gauges {
        Gauges { unwritten: u64::from(self.next.is_some()), ..Gauges::default() }
    }

    fn dial_if_due(&mut self, _now: i64) -> bool {
        !std::mem::replace(&mut self.watched, true)
    }
}
