//! CLOCK_MONOTONIC and its like, as nanoseconds.

/// Nanoseconds of one clock of clock_gettime(2).
pub fn read(clock: libc::clockid_t) -> i64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: ts is a valid out pointer; the clocks asked for exist on every Linux that we build for.
    unsafe { libc::clock_gettime(clock, &mut ts) };
    ts.tv_sec * 1_000_000_000 + ts.tv_nsec
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn now_ns() -> i64 {
    read(libc::CLOCK_MONOTONIC)
}
