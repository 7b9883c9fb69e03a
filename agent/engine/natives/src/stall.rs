//! Scripted stalls: times in which a target serves nothing, counted from its first request.

pub struct Stalls {
    /// (begins, ends), nanoseconds after the first request.
    spans: Vec<(i64, i64)>,
}

impl Stalls {
    /// From pairs (after, for) in nanoseconds, in any order; they may overlap.
    pub fn new(script: &[(u64, u64)]) -> Self {
        let ns = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Stalls { spans: script.iter().map(|&(after, lasts)| (ns(after), ns(after).saturating_add(ns(lasts)))).collect() }
    }

    /// When the stall ends that covers this moment; None where nothing stalls.
    pub fn ends(&self, since_first_ns: i64) -> Option<i64> {
        self.spans.iter().filter(|(begins, ends)| (*begins..*ends).contains(&since_first_ns)).map(|(_, ends)| *ends).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_covers_its_span_and_no_more() {
        let stalls = Stalls::new(&[(100, 50), (10, 5), (140, 20)]);
        let at = [9, 10, 14, 15, 100, 145, 155, 160].map(|t| stalls.ends(t));
        assert_eq!(at, [None, Some(15), Some(15), None, Some(150), Some(160), Some(160), None]);
    }
}
