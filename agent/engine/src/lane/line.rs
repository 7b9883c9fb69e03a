//! The requests that wait on one lane, in the order in which they left, and what becomes of one when its answer comes.
//!
//! Each has a number, counted from the lane's opening. Answers of some protocols come in order, those of others by number: a place
//! that is answered early stays empty until those before it are gone.

use std::collections::VecDeque;

use crate::driver::{Answer, Expect};
use crate::feed::Row;
use crate::tally::{Book, End, ErrorKind, LogRow, Stamps};

/// A scheduled request without an end.
pub struct Request {
    pub row: Row,
    pub due_ns: i64,
    pub second: i64,
    /// Has left before, on a connection that said it would not answer: counted as sent already.
    pub resent: bool,
}

impl Request {
    pub fn end(&self, sent_ns: i64, done_ns: i64, end: End, book: &mut Book) {
        book.ended(self.second, self.row.slot, end);
        if book.logs() {
            let stamps = Stamps { sent_ns, done_ns };
            book.log(LogRow { row: self.row.number, due_ns: self.due_ns, stamps, slot: self.row.slot, end });
        }
    }
}

/// A request on its way. Dead ones (timed out) stay in line where answers come in order.
pub struct Pending {
    pub request: Request,
    /// From when on nothing but ourselves kept it from leaving.
    pub ready_ns: i64,
    /// Our own lateness, once it has been offered to the kernel.
    pub slip_ns: Option<i64>,
    /// 0: no byte has left.
    pub sent_ns: i64,
    /// Place of its first byte among all that the lane was ever given, and their number.
    pub first_byte: u64,
    pub bytes: u64,
    pub alive: bool,
    pub expect: Expect,
    /// Tokens of a streamed answer: when the first came, how many so far.
    pub first_token_ns: i64,
    pub tokens: u32,
}

impl Pending {
    pub fn new(request: Request, ready_ns: i64, first_byte: u64, bytes: u64, expect: Expect) -> Self {
        let first_token_ns = 0;
        Pending {
            request,
            ready_ns,
            slip_ns: None,
            sent_ns: 0,
            first_byte,
            bytes,
            alive: true,
            expect,
            first_token_ns,
            tokens: 0,
        }
    }

    /// It leaves now.
    pub fn leaves(&mut self, stamp: i64, book: &mut Book) {
        self.sent_ns = stamp;
        if self.alive && !self.request.resent {
            let slip = self.slip_ns.unwrap_or(stamp - self.ready_ns);
            book.sent(self.request.second, self.request.row.slot, stamp, slip, self.bytes);
            let due_ns = self.request.due_ns;
            book.gap((self.slip_ns.is_none() && self.ready_ns <= due_ns).then_some(due_ns), stamp);
        }
    }

    pub fn saw_tokens(&mut self, stamp: i64, tokens: u32) {
        if self.first_token_ns == 0 {
            self.first_token_ns = stamp;
        }
        self.tokens = self.tokens.saturating_add(tokens);
    }

    /// Its answer, of `bytes` bytes, is whole.
    pub fn settle(self, answer: Answer, stamp: i64, bytes: u64, timeout_ns: i64, book: &mut Book) {
        if !self.alive {
            return;
        }
        let Request { second, due_ns, ref row, .. } = self.request;
        let response_ns = stamp.saturating_sub(due_ns);
        let end = match answer {
            // The clock decides, not how often it is looked at.
            _ if response_ns > timeout_ns => End::TimedOut,
            Answer::Ok => End::Completed { miss: false },
            Answer::Miss => End::Completed { miss: true },
            Answer::Server => End::Error(ErrorKind::Server),
            Answer::Status4xx => End::Error(ErrorKind::Status4xx),
            Answer::Status5xx => End::Error(ErrorKind::Status5xx),
            Answer::Reset => End::Error(ErrorKind::Reset),
        };
        book.received(second, row.slot, bytes);
        if matches!(end, End::Completed { .. }) {
            book.latency(second, row.slot, stamp - self.sent_ns, response_ns);
            if self.first_token_ns > 0 {
                let rest = i64::from(self.tokens) - 1;
                let per_token_ns = if rest > 0 { (stamp - self.first_token_ns) / rest } else { 0 };
                book.tokens(second, row.slot, self.first_token_ns - due_ns, per_token_ns, self.tokens);
            }
        }
        self.request.end(self.sent_ns, stamp, end, book);
    }

    /// The lane has broken: it ends with `kind` if it had left, else it may leave elsewhere.
    pub fn breaks(self, kind: ErrorKind, now: i64, book: &mut Book) -> Option<Request> {
        if !self.alive {
            return None;
        }
        if self.sent_ns == 0 {
            return Some(self.request);
        }
        self.request.end(self.sent_ns, now, End::Error(kind), book);
        None
    }

    /// The run was stopped.
    pub fn stops(self, now: i64, book: &mut Book) {
        if self.alive {
            let left = self.sent_ns != 0 || self.request.resent;
            let end = if left { End::Error(ErrorKind::Stopped) } else { End::Unsent };
            self.request.end(self.sent_ns, now, end, book);
        }
    }

    pub fn is_overdue(&self, now: i64, timeout_ns: i64) -> bool {
        now.saturating_sub(self.request.due_ns) > timeout_ns
    }

    pub fn times_out(&mut self, now: i64, book: &mut Book) {
        if std::mem::replace(&mut self.alive, false) {
            self.request.end(self.sent_ns, now, End::TimedOut, book);
        }
    }
}

/// Waiting requests by number.
#[derive(Default)]
pub struct Line {
    /// Number of the place at the front.
    base: u64,
    places: VecDeque<Option<Pending>>,
    taken: usize,
}

impl Line {
    pub fn with_capacity(capacity: usize) -> Self {
        Line { places: VecDeque::with_capacity(capacity), ..Line::default() }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.taken
    }

    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// The number that the next one gets.
    pub fn next_number(&self) -> u64 {
        self.base + self.places.len() as u64
    }

    /// The least number that still waits.
    pub fn first_number(&self) -> u64 {
        self.base
    }

    pub fn push(&mut self, pending: Pending) -> u64 {
        let number = self.next_number();
        self.places.push_back(Some(pending));
        self.taken += 1;
        number
    }

    pub fn front(&self) -> Option<&Pending> {
        self.places.front().and_then(Option::as_ref)
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut Pending> {
        let at = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.places.get_mut(at).and_then(Option::as_mut)
    }

    /// Takes one out of line.
    pub fn take(&mut self, number: u64) -> Option<Pending> {
        let at = usize::try_from(number.checked_sub(self.base)?).ok()?;
        let taken = self.places.get_mut(at)?.take();
        self.taken -= usize::from(taken.is_some());
        while self.places.front().is_some_and(Option::is_none) {
            self.places.pop_front();
            self.base += 1;
        }
        taken
    }

    /// Those at and after `number`.
    pub fn iter_from(&self, number: u64) -> impl Iterator<Item = &Pending> {
        let skipped = number.saturating_sub(self.base) as usize;
        self.places.iter().skip(skipped).flatten()
    }

    /// Takes out those at and after `number`, oldest first.
    pub fn drain_from(&mut self, number: u64) -> impl Iterator<Item = Pending> + '_ {
        let from = (number.saturating_sub(self.base) as usize).min(self.places.len());
        let gone = self.places.range(from..).filter(|p| p.is_some()).count();
        self.taken -= gone;
        self.places.drain(from..).flatten()
    }

    /// Empties it and begins to count anew.
    pub fn restart(&mut self) {
        self.places.clear();
        self.base = 0;
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(due_ns: i64) -> Pending {
        Pending::new(Request { row: Row::default(), due_ns, second: 0, resent: false }, 0, 0, 0, Expect::default())
    }

    #[test]
    fn places_answered_early_are_kept_until_those_before_are_gone() {
        let mut line = Line::default();
        (0..4).for_each(|due| assert_eq!(line.push(pending(due)), due as u64));
        assert!(line.take(1).is_some());
        assert!(line.take(1).is_none());
        assert_eq!((line.len(), line.first_number()), (3, 0));
        assert!(line.take(0).is_some());
        assert_eq!((line.len(), line.first_number(), line.next_number()), (2, 2, 4));
        assert_eq!(line.front().map(|p| p.request.due_ns), Some(2));
        assert_eq!(line.drain_from(3).count(), 1);
        assert!(line.get_mut(7).is_none());
        assert_eq!(line.len(), 1);
    }
}
