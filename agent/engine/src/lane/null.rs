//! A lane to nowhere: every request is answered as it leaves. What is left is the cost of the feed, the clock and the books.

use std::os::fd::RawFd;

use super::line::{Pending, Request};
use super::{Gauges, Lane, Orphan, Watch};
use crate::clock::now_ns;
use crate::driver::{Answer, Expect, Verb};
use crate::tally::Book;

/// Requests taken between two flushes.
const MOST_TAKEN: usize = 4096;

pub struct Null {
    taken: Vec<Pending>,
    timeout_ns: i64,
}

impl Null {
    pub fn new(timeout_ns: i64) -> Self {
        Null { taken: Vec::with_capacity(MOST_TAKEN), timeout_ns }
    }
}

impl Lane for Null {
    fn fd(&self) -> Option<RawFd> {
        None
    }
    fn is_up(&self) -> bool {
        true
    }
    fn takes(&self) -> bool {
        self.taken.len() < MOST_TAKEN
    }
    fn freed_ns(&self) -> i64 {
        i64::MIN
    }
    fn take(&mut self, request: Request, ready_ns: i64, _verb: Verb) {
        let bytes = u64::from(request.row.req_bytes);
        self.taken.push(Pending::new(request, ready_ns, 0, bytes, Expect::default()));
    }
    fn flush(&mut self, book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        let stamp = now_ns();
        for mut pending in self.taken.drain(..) {
            pending.leaves(stamp, book);
            pending.settle(Answer::Ok, stamp, 0, self.timeout_ns, book);
        }
        Watch::Same
    }
    fn readable(&mut self, _buffer: &mut [u8], _book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        Watch::Same
    }
    fn writable(&mut self, _now: i64, _book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        Watch::Same
    }
    fn expire(&mut self, _now: i64, _book: &mut Book, _orphans: &mut Vec<Orphan>) -> Watch {
        Watch::Same
    }
    fn fail(&mut self, _now: i64, _book: &mut Book, _orphans: &mut Vec<Orphan>) {}
    fn abandon(&mut self, now: i64, book: &mut Book) {
        self.taken.drain(..).for_each(|pending| pending.stops(now, book));
    }
    fn gauges(&self) -> Gauges {
        Gauges { unwritten: self.taken.len() as u64, ..Gauges::default() }
    }
}
