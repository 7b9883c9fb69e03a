//! What a thread asks of the scheduler: a core, a nice value, a slice.

use std::io;

/// struct sched_attr of sched_setattr(2), its first version.
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

const SIZE: u32 = std::mem::size_of::<SchedAttr>() as u32;

fn succeeded(result: i64) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Pins the calling thread to one core.
pub fn pin(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: cpu_set_t is plain data, zero is its empty set, and the core is within it.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &set)
    };
    succeeded(result.into())
}

/// The calling thread becomes SCHED_OTHER with this nice value (a negative one needs CAP_SYS_NICE) and a slice of its own,
/// which is honoured since Linux 6.12 (EEVDF) and ignored before.
pub fn ask(nice: i32, slice_ns: u64) -> io::Result<()> {
    let asked = SchedAttr { size: SIZE, nice, runtime: slice_ns, ..SchedAttr::default() };
    // SAFETY: the struct is valid for its size; pid 0 is the calling thread.
    succeeded(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &asked, 0) })
}

/// The slice that the calling thread was granted, in nanoseconds; 0 where the kernel keeps none.
pub fn granted_slice_ns() -> io::Result<u64> {
    let mut got = SchedAttr::default();
    // SAFETY: the struct is valid for the size told; pid 0 is the calling thread.
    succeeded(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &mut got, SIZE, 0) })?;
    Ok(got.runtime)
}
