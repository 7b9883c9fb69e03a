//! Time: CLOCK_MONOTONIC stamps, absolute sleeps, and what the kernel says of this thread's CPU.

use std::fs;

pub use offspec_natives::clock::now_ns;
use offspec_natives::clock::read;
use offspec_natives::sched;
pub use offspec_natives::sched::pin;

const SLICE_NS: u64 = 100_000;

/// What is to be said of the clock if it is not a good one: its readings cost a system call each, or come in coarse steps.
pub fn coarseness() -> Option<String> {
    const READINGS: i64 = 64;
    const MOST_NS: i64 = 500;
    let cost = (0..3)
        .map(|_| {
            let began = now_ns();
            for _ in 1..READINGS {
                std::hint::black_box(now_ns());
            }
            (now_ns() - began) / READINGS
        })
        .min()?;
    (cost > MOST_NS).then(|| format!("a coarse clock: a reading costs {cost} ns (no vDSO); see the kernel's clocksource"))
}

/// CPU time of the calling thread in nanoseconds.
pub fn thread_cpu_ns() -> i64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Kernel id of the calling thread.
pub fn thread_id() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// Asks for 1 ns timer slack: the default of 50 us would make every sleep late.
pub fn finest_timer_slack() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer and touches only this thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1usize, 0usize, 0usize, 0usize) };
}

/// Puts the calling thread before others on its core: the least nice value and the shortest slice, so that it gets the core as soon
/// as it wakes. What else runs there (our own Python, say) has the time in which it sleeps. Needs CAP_SYS_NICE.
pub fn prioritise() -> std::io::Result<()> {
    sched::ask(-20, SLICE_NS)
}

/// Nanoseconds that a thread of this process was runnable and waited: /proc/PID/task/TID/schedstat, second field.
pub fn run_delay_ns(tid: i32) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Steal of one core (or of all, for None) in nanoseconds, from /proc/stat at USER_HZ resolution.
pub fn steal_ns(core: Option<usize>) -> Option<i64> {
    let name = core.map_or_else(|| "cpu".to_string(), |c| format!("cpu{c}"));
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find(|l| l.split_ascii_whitespace().next() == Some(&name))?;
    let ticks: i64 = line.split_ascii_whitespace().nth(8)?.parse().ok()?;
    // SAFETY: sysconf has no preconditions.
    let hz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1);
    Some(ticks * (1_000_000_000 / hz))
}
