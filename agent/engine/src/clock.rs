//! Time: CLOCK_MONOTONIC stamps, absolute sleeps, and what the kernel says of this thread's CPU.

use std::fs;

fn read(clock: libc::clockid_t) -> i64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: ts is a valid out pointer; these clocks exist on every Linux that we build for.
    unsafe { libc::clock_gettime(clock, &mut ts) };
    ts.tv_sec * 1_000_000_000 + ts.tv_nsec
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn now_ns() -> i64 {
    read(libc::CLOCK_MONOTONIC)
}

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

/// Pins the calling thread to one core.
pub fn pin(core: usize) -> std::io::Result<()> {
    // SAFETY: cpu_set_t is plain data, zero is its empty set, and CPU_SET checks its bound.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &set)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Puts the calling thread before others on its core: the least nice value and the shortest slice, so that it gets the core as soon
/// as it wakes. What else runs there (our own Python, say) has the time in which it sleeps. Needs CAP_SYS_NICE.
pub fn prioritise() -> std::io::Result<()> {
    #[repr(C)]
    #[derive(Default)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
        util_min: u32,
        util_max: u32,
    }
    let size = std::mem::size_of::<SchedAttr>() as u32;
    let asked = SchedAttr { size, nice: -20, runtime: 100_000, ..SchedAttr::default() };
    // SAFETY: the struct is valid for `size` bytes; pid 0 is the calling thread.
    if unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &asked, 0) } == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error())
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
