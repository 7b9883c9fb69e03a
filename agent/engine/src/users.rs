//! The closed loop: so many users, each of whom waits for its answer, thinks, and asks again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How long a user thinks between an answer and the next request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Think {
    pub mean_ns: i64,
    /// Exponential instead of constant.
    pub exponential: bool,
    pub seed: u64,
}

pub struct Users {
    think: Think,
    /// Who may ask now, from which time on; who thinks, until when.
    thinking: BinaryHeap<Reverse<i64>>,
    /// Users who may ask at once, and those who wait for an answer.
    fresh: u64,
    asking: u64,
    state: u64,
}

impl Users {
    pub fn new(users: u64, think: Think) -> Self {
        Users { think, thinking: BinaryHeap::new(), fresh: users, asking: 0, state: think.seed | 1 }
    }

    fn think_ns(&mut self) -> i64 {
        if !self.think.exponential {
            return self.think.mean_ns;
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let uniform = (self.state >> 11) as f64 / (1u64 << 53) as f64;
        (-(1.0 - uniform).ln() * self.think.mean_ns as f64) as i64
    }

    /// From when on a user asks, if one does now; that user has then asked. `open`: requests without an end.
    pub fn ready(&mut self, now: i64, t0_ns: i64, open: u64) -> Option<i64> {
        if self.think.mean_ns == 0 {
            // Nobody thinks: an answer makes a user who may ask, and a heap of them would take longer than they do.
            self.fresh += self.asking.saturating_sub(open);
            self.asking = self.asking.min(open);
        }
        while self.asking > open {
            self.asking -= 1;
            let until = now + self.think_ns();
            self.thinking.push(Reverse(until));
        }
        let since = if self.fresh > 0 {
            self.fresh -= 1;
            // Nobody is late who begins within the loop's first pass.
            now.max(t0_ns)
        } else {
            let Reverse(until) = *self.thinking.peek().filter(|until| until.0 <= now)?;
            self.thinking.pop();
            until
        };
        self.asking += 1;
        Some(since)
    }

    /// When the next user asks: at once, if `ready` has not been told yet of one who was answered; else when the next has thought.
    pub fn next_ready_ns(&self, now: i64, open: u64) -> Option<i64> {
        if self.fresh > 0 || self.asking > open {
            return Some(now);
        }
        self.thinking.peek().map(|until| until.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_thinks_from_its_answer_on() {
        let think = Think { mean_ns: 100, exponential: false, seed: 1 };
        let mut users = Users::new(2, think);
        assert_eq!(users.ready(10, 0, 0), Some(10));
        assert_eq!(users.ready(10, 0, 1), Some(10));
        assert_eq!(users.ready(10, 0, 2), None);
        assert_eq!(users.next_ready_ns(40, 1), Some(40), "one was answered, and begins to think when asked");
        assert_eq!(users.ready(50, 0, 1), None, "one was answered, and thinks");
        assert_eq!(users.next_ready_ns(60, 1), Some(150));
        assert_eq!(users.ready(151, 0, 1), Some(150));
        assert_eq!(users.ready(151, 0, 2), None);
    }

    #[test]
    fn exponential_thinking_has_its_mean() {
        let mut users = Users::new(0, Think { mean_ns: 1_000_000, exponential: true, seed: 5 });
        let sum: i64 = (0..20_000).map(|_| users.think_ns()).sum();
        assert!((sum / 20_000 - 1_000_000).abs() < 30_000, "{}", sum / 20_000);
    }
}
