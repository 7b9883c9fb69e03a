//! Built-in targets and antagonists: the parts of a node that must run at machine speed beside the replay engine.
//!
//! Pure Rust, no Python. Everything ends when its stop descriptor is closed by whoever started it.

pub mod antagonist;
pub mod chase;
pub mod clock;
pub mod http;
mod inbox;
pub mod protocol;
pub mod queue;
pub mod relay;
pub mod resp;
pub mod round_trips;
pub mod sched;
pub mod server;
pub mod service;
pub mod slow_disk;
pub mod stall;
mod store;
pub mod tcp;
pub mod udp;

/// True once the descriptor is readable or its other end is closed: whoever holds the other end wants us to stop.
pub fn asked_to_stop(stop_fd: i32) -> bool {
    let mut poll = libc::pollfd { fd: stop_fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd; a timeout of 0 only looks.
    unsafe { libc::poll(&mut poll, 1, 0) > 0 }
}
