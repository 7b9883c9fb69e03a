//! How long a load takes that waits for the one before it, over a working set: where that rises, a cache ends.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use crate::antagonist::Region;

const LINE_WORDS: usize = 8;

/// Nanoseconds per load over `set_bytes`, in one random cycle through all its lines; the best of three rounds of about `each` long, as what
/// others do can only make it slower.
pub fn load_ns(set_bytes: usize, each: Duration) -> io::Result<f64> {
    let lines = (set_bytes / 64).max(2);
    let mut order: Vec<u32> = (0..lines as u32).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for i in (1..lines).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(i, (state % i as u64) as usize);
    }
    // Huge pages where there are any: it is the caches that are looked for, not the TLB.
    let mut region = Region::new(lines * 64, true)?;
    let cells = region.as_mut_words();
    for i in 0..lines {
        cells[order[i] as usize * LINE_WORDS] = order[(i + 1) % lines] as usize * LINE_WORDS;
    }
    drop(order);
    let mut at = 0;
    for _ in 0..lines {
        at = cells[at];
    }
    let best = (0..3)
        .map(|_| {
            let begun = Instant::now();
            let mut loads = 0u64;
            while begun.elapsed() < each {
                for _ in 0..2000 {
                    at = cells[at];
                }
                loads += 2000;
            }
            black_box(at);
            begun.elapsed().as_nanos() as f64 / loads as f64
        })
        .fold(f64::INFINITY, f64::min);
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_on_the_way() {
        assert!(load_ns(64 * 1024, Duration::from_millis(2)).unwrap() > 0.0);
    }
}
