//! When the next unit is due: absolute deadlines, so that what one sleep overshoots the next one does not.

/// The shortest sleep. What falls due meanwhile is done together: the load is steady at this grain, and sleeping does not become the work.
const GRAIN_NS: u64 = 400_000;
/// Who fell this far behind (the core went to others, the disk stood still) catches up no further back than this.
const FORGIVE_NS: f64 = 100e6;

#[derive(Debug, PartialEq)]
pub enum Due {
    Now(u64),
    In(u64),
}

/// Unit i is due at `begin + i / rate`. Pure: times come from the caller, in nanoseconds of one clock.
pub struct Pace {
    quantum: u64,
    per_ns: f64,
    begin_ns: f64,
    given: f64,
}

impl Pace {
    pub fn new(quantum: u64) -> Self {
        Pace { quantum: quantum.max(1), per_ns: 0.0, begin_ns: 0.0, given: 0.0 }
    }

    /// Takes the rate that is asked now, in units per second (0: none, infinite: as fast as it goes), and lets go of what is owed for longer
    /// than can be caught up. Returns how many units were let go.
    pub fn ask(&mut self, per_s: f64, now_ns: u64) -> u64 {
        let (per_ns, now) = (per_s.max(0.0) / 1e9, now_ns as f64);
        if per_ns != self.per_ns {
            (self.per_ns, self.begin_ns, self.given) = (per_ns, now, 0.0);
            return 0;
        }
        if !per_ns.is_normal() {
            return 0;
        }
        let behind = now - (self.begin_ns + self.given / per_ns);
        // A quantum larger than the bound is no falling behind.
        let bound = FORGIVE_NS.max(2.0 * self.quantum as f64 / per_ns);
        if behind <= bound {
            return 0;
        }
        self.begin_ns += behind - bound;
        ((behind - bound) * per_ns) as u64
    }

    pub fn due(&self, now_ns: u64) -> Due {
        if self.per_ns.is_infinite() {
            return Due::Now(u64::MAX);
        }
        if self.per_ns <= 0.0 {
            return Due::In(u64::MAX);
        }
        let owed = (now_ns as f64 - self.begin_ns) * self.per_ns - self.given;
        if owed >= 0.0 {
            return Due::Now((owed as u64).max(self.quantum));
        }
        Due::In(((-owed / self.per_ns) as u64).max(GRAIN_NS))
    }

    pub fn gave(&mut self, units: u64) {
        if self.per_ns.is_finite() {
            self.given += units as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a pace for some simulated seconds; `late_ns` is what each sleep overshoots. Returns (done, forgiven).
    fn simulated(per_s: f64, quantum: u64, seconds: u64, late_ns: u64) -> (u64, u64) {
        let (mut pace, mut now, mut done, mut forgiven) = (Pace::new(quantum), 0u64, 0u64, 0u64);
        while now < seconds * 1_000_000_000 {
            forgiven += pace.ask(per_s, now);
            match pace.due(now) {
                Due::Now(units) => {
                    pace.gave(units);
                    done += units;
                    now += 1000;
                }
                Due::In(ns) => now += ns.min(10_000_000) + late_ns,
            }
        }
        (done, forgiven)
    }

    #[test]
    fn what_sleeps_overshoot_is_made_good() {
        for (per_s, quantum) in [(1.0, 1), (37.0, 1), (1000.0, 1), (250_000.0, 1), (2e9, 65536)] {
            let (done, forgiven) = simulated(per_s, quantum, 10, 300_000);
            let asked = per_s * 10.0;
            assert!((done as f64 - asked).abs() <= asked * 0.001 + quantum as f64 + per_s * 0.011, "{per_s}: {done}");
            assert_eq!(forgiven, 0);
        }
    }

    #[test]
    fn who_was_kept_away_catches_up_a_tenth_of_a_second_and_no_more() {
        let mut pace = Pace::new(1);
        pace.ask(1000.0, 0);
        pace.due(0);
        let forgiven = pace.ask(1000.0, 5_000_000_000);
        assert_eq!(forgiven, 4900);
        assert_eq!(pace.due(5_000_000_000), Due::Now(100));
    }

    #[test]
    fn a_new_rate_starts_anew_and_none_is_none() {
        let mut pace = Pace::new(1);
        pace.ask(1000.0, 0);
        pace.gave(500);
        pace.ask(10.0, 1_000_000_000);
        assert_eq!(pace.due(1_000_000_000), Due::Now(1));
        pace.gave(1);
        assert_eq!(pace.due(1_000_000_000), Due::In(100_000_000));
        pace.ask(0.0, 2_000_000_000);
        assert_eq!(pace.due(9_000_000_000), Due::In(u64::MAX));
        pace.ask(f64::INFINITY, 9_000_000_000);
        assert_eq!(pace.due(9_000_000_000), Due::Now(u64::MAX));
    }
}
