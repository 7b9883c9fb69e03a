//! Built-in targets and antagonists: the parts of a node that must run at machine speed beside the replay engine.
//!
//! Pure Rust, no Python. Everything ends when its stop descriptor is closed by whoever started it.

pub mod antagonist;
pub mod resp;
pub mod server;
mod store;

/// True once the descriptor is readable or its other end is closed: whoever holds the other end wants us to stop.
pub fn asked_to_stop(stop_fd: i32) -> bool {
    let mut poll = libc::pollfd { fd: stop_fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd; a timeout of 0 only looks.
    unsafe { libc::poll(&mut poll, 1, 0) > 0 }
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
