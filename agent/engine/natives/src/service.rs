//! How long each request is served: a law with known moments, drawn from a seed by our own small generator.

/// What a request may ask for at most, so that a wrong number does not wedge the target.
pub const LONGEST_TOLD_NS: u64 = 60_000_000_000;

/// The law of the service time S, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Law {
    Constant(f64),
    /// With this mean.
    Exponential(f64),
    /// `low` with probability `p`, else `high`.
    Bimodal {
        p: f64,
        low: f64,
        high: f64,
    },
    /// Each request tells its own.
    Told,
}

/// Service times in the order in which requests are served.
pub struct Service {
    law: Law,
    random: SplitMix,
}

impl Service {
    pub fn new(law: Law, seed: u64) -> Self {
        Service { law, random: SplitMix(seed) }
    }

    /// The next service time in nanoseconds; `told` is what the request asks for.
    pub fn next_ns(&mut self, told: u64) -> u64 {
        match self.law {
            Law::Constant(ns) => ns as u64,
            // By inversion; 1 - u is in (0, 1], so the logarithm is finite.
            Law::Exponential(mean) => (-mean * (1.0 - self.random.unit()).ln()) as u64,
            Law::Bimodal { p, low, high } => (if self.random.unit() < p { low } else { high }) as u64,
            Law::Told => told.min(LONGEST_TOLD_NS),
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): one word of state, passes BigCrush, the same on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1), all 53 bits of a double.
    fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 200_000;

    /// First and second moment of many draws.
    fn moments(law: Law) -> (f64, f64) {
        let mut service = Service::new(law, 7);
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..DRAWS {
            let s = service.next_ns(0) as f64;
            sum += s;
            squares += s * s;
        }
        (sum / DRAWS as f64, squares / DRAWS as f64)
    }

    #[test]
    fn the_laws_have_the_moments_of_their_names() {
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.02;
        let (mean, square) = moments(Law::Exponential(200e3));
        assert!(near(mean, 200e3) && near(square, 2.0 * 200e3 * 200e3), "{mean} {square}");
        let (mean, square) = moments(Law::Bimodal { p: 0.9, low: 50e3, high: 1e6 });
        assert!(near(mean, 145e3) && near(square, 0.9 * 2.5e9 + 0.1 * 1e12), "{mean} {square}");
        assert_eq!(moments(Law::Constant(3.0)), (3.0, 9.0));
    }

    #[test]
    fn a_seed_gives_its_own_and_only_its_own_times() {
        let draws = |seed| {
            let mut service = Service::new(Law::Exponential(1e6), seed);
            [0; 8].map(|_| service.next_ns(0))
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn what_is_told_is_served_up_to_a_limit() {
        let mut service = Service::new(Law::Told, 0);
        assert_eq!(service.next_ns(42), 42);
        assert_eq!(service.next_ns(u64::MAX), LONGEST_TOLD_NS);
    }

    /// The reference sequence of the generator for seed 0.
    #[test]
    fn the_generator_is_the_published_one() {
        assert_eq!(SplitMix(0).word(), 0xe220_a839_7b1d_cdaf);
    }
}
