//! The spinner: full demand for one core. Its dose is made by the cgroup around it.

use std::hint::black_box;
use std::io;
use std::time::Instant;

use super::LOOK_EVERY;
use crate::asked_to_stop;
use crate::sched::pin;

/// Spins with integer work until asked to stop.
pub fn cpu(core: Option<usize>, stop_fd: i32) -> io::Result<()> {
    if let Some(core) = core {
        pin(core)?;
    }
    let mut state = 1u64;
    let mut looked = Instant::now();
    loop {
        for _ in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state ^= state >> 29;
        }
        black_box(state);
        if looked.elapsed() > LOOK_EVERY {
            looked = Instant::now();
            if asked_to_stop(stop_fd) {
                return Ok(());
            }
        }
    }
}
