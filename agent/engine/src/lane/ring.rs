//! Block I/O through an io_uring (io_uring(7)): requests that are due together are submitted by one system call.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use io_uring::{opcode, types, IoUring};

use super::disk::{Aligned, Disk, Span, READ, TRIM, WRITE};
use super::line::{Line, Pending, Request};
use super::{Gauges, Lane, Orphan, Watch};
use crate::clock::now_ns;
use crate::driver::{Answer, Expect, Verb};
use crate::tally::Book;

/// Requests under way in one ring.
const MOST_DEEP: usize = 256;
/// How long the memory of requests under way is kept for the kernel at the end; after that it is leaked instead.
const DRAIN_ROUNDS: u32 = 10_000;

/// One request's memory while the kernel has it.
struct Slot {
    memory: Aligned,
    number: u64,
    bytes: u64,
}

pub struct Ring {
    ring: IoUring,
    disk: Arc<Disk>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    line: Line,
    verbs: std::collections::VecDeque<Verb>,
    unsent: u64,
    unexpired: u64,
    timeout_ns: i64,
    freed_ns: i64,
    watched: bool,
}

impl Ring {
    /// # Errors
    /// The kernel has no io_uring, or forbids it.
    pub fn new(disk: Arc<Disk>, pipeline: usize, timeout_ns: i64) -> std::io::Result<Self> {
        let depth = pipeline.clamp(1, MOST_DEEP);
        let ring = IoUring::new(depth.next_power_of_two() as u32)?;
        let slot = |_| Slot { memory: Aligned::new(), number: 0, bytes: 0 };
        Ok(Ring {
            ring,
            disk,
            slots: (0..depth).map(slot).collect(),
            free: (0..depth).rev().collect(),
            line: Line::with_capacity(depth),
            verbs: std::collections::VecDeque::with_capacity(depth),
            unsent: 0,
            unexpired: 0,
            timeout_ns,
            freed_ns: i64::MIN,
            watched: false,
        })
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Hands one request to the ring.
    fn submit(&mut self, at: usize, verb: Verb, span: Span, number: u64) {
        let fd = types::Fd(self.disk.file.as_raw_fd());
        let slot = &mut self.slots[at];
        (slot.number, slot.bytes) = (number, span.bytes);
        let len = span.bytes as u32;
        let entry = match verb {
            READ => opcode::Read::new(fd, slot.memory.room(span.bytes as usize), len).offset(span.offset).build(),
            WRITE => opcode::Write::new(fd, slot.memory.room(span.bytes as usize), len).offset(span.offset).build(),
            TRIM => {
                slot.bytes = 0;
                let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                opcode::Fallocate::new(fd, span.bytes).offset(span.offset).mode(punch).build()
            }
            _ => {
                slot.bytes = 0;
                opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build()
            }
        };
        // SAFETY: the slot's memory stays where it is until its completion has come (see drop), and the ring has a place for each slot.
        let pushed = unsafe { self.ring.submission().push(&entry.user_data(at as u64)) };
        debug_assert!(pushed.is_ok());
    }

    fn reap(&mut self, mut settle: impl FnMut(&mut Line, u64, Answer, u64)) -> bool {
        let before = self.free.len();
        for done in self.ring.completion() {
            let at = done.user_data() as usize;
            let slot = &self.slots[at];
            let answer = match u64::try_from(done.result()) {
                Ok(bytes) if bytes == slot.bytes => Answer::Ok,
                Ok(_) => Answer::Reset,
                Err(_) => Answer::Server,
            };
            settle(&mut self.line, slot.number, answer, slot.bytes);
            self.free.push(at);
        }
        self.free.len() > before
    }
}

impl Lane for Ring {
    fn fd(&self) -> Option<RawFd> {
        Some(self.ring.as_raw_fd())
    }
    fn is_up(&self) -> bool {
        true
    }
    fn takes(&self) -> bool {
        self.verbs.len() < self.free.len()
    }
    fn freed_ns(&self) -> i64 {
        self.freed_ns
    }
    fn take(&mut self, request: Request, ready_ns: i64, verb: Verb) {
        let bytes = u64::from(request.row.req_bytes);
        self.line.push(Pending::new(request, ready_ns, 0, bytes, Expect::default()));
        self.verbs.push_back(verb);
    }

    fn flush(&mut self, book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        let stamp = now_ns();
        while let Some(verb) = self.verbs.pop_front() {
            let number = self.unsent;
            self.unsent += 1;
            let Some(pending) = self.line.get_mut(number) else {
                continue;
            };
            let span = self.disk.span(&pending.request.row, verb);
            pending.bytes = if verb == WRITE { span.bytes } else { 0 };
            pending.leaves(stamp, book);
            if let Some(at) = self.free.pop() {
                self.submit(at, verb, span, number);
            }
        }
        // Interrupted or busy: what lies in the ring goes with the next call.
        drop(self.ring.submit());
        Watch::Same
    }

    fn readable(&mut self, _buffer: &mut [u8], book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        let stamp = now_ns();
        let timeout_ns = self.timeout_ns;
        let was_full = !self.takes();
        self.reap(|line, number, answer, bytes| {
            if let Some(pending) = line.take(number) {
                pending.settle(answer, stamp, bytes, timeout_ns, book);
            }
        });
        if was_full && self.takes() {
            self.freed_ns = stamp;
        }
        Watch::Same
    }

    fn writable(&mut self, _now: i64, _book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        Watch::ReadOnly
    }

    /// A disk cannot be told to forget a request: its place and memory stay until it answers.
    fn expire(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Orphan>) -> Watch {
        self.unexpired = self.unexpired.max(self.line.first_number());
        while self.unexpired < self.line.next_number() {
            if let Some(pending) = self.line.get_mut(self.unexpired) {
                if !pending.is_overdue(now, self.timeout_ns) {
                    break;
                }
                pending.times_out(now, book);
            }
            self.unexpired += 1;
        }
        self.readable(&mut [], book, orphans);
        drop(self.ring.submit());
        Watch::Same
    }

    fn fail(&mut self, _now: i64, _book: &mut Book, _orphans: &mut Vec<Orphan>) {}

    fn abandon(&mut self, now: i64, book: &mut Book) {
        self.line.drain_from(0).for_each(|pending| pending.stops(now, book));
    }

    fn gauges(&self) -> Gauges {
        Gauges { unwritten: self.verbs.len() as u64, ..Gauges::default() }
    }

    fn dial_if_due(&mut self, _now: i64) -> bool {
        !std::mem::replace(&mut self.watched, true)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for _ in 0..DRAIN_ROUNDS {
            self.reap(|_, _, _, _| {});
            if self.in_flight() == 0 {
                return;
            }
            drop(self.ring.submit());
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        // The kernel may still write there.
        std::mem::forget(std::mem::take(&mut self.slots));
    }
}
