//! epoll with nanosecond timeouts: the only place that waits.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

pub struct Poll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
    fine: bool,
}

/// What a wait brought for one registered token.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub token: usize,
    pub readable: bool,
    pub writable: bool,
}

impl Poll {
    pub fn new(capacity: usize) -> io::Result<Self> {
        // SAFETY: epoll_create1 takes a flag and returns a new descriptor or -1.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: fd was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Poll { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; capacity.max(16)], fine: true })
    }

    fn control(&self, op: libc::c_int, fd: RawFd, token: usize, write: bool) -> io::Result<()> {
        let interest = libc::EPOLLIN | libc::EPOLLRDHUP | if write { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event { events: interest as u32, u64: token as u64 };
        // SAFETY: event outlives the call.
        if unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), op, fd, &mut event) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    pub fn add(&self, fd: RawFd, token: usize, write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, write)
    }

    pub fn modify(&self, fd: RawFd, token: usize, write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, write)
    }

    /// Waits at most `timeout_ns` (0: only looks) and appends what is ready.
    pub fn wait(&mut self, timeout_ns: i64, ready: &mut Vec<Ready>) {
        let most = self.events.len() as libc::c_int;
        let events = self.events.as_mut_ptr();
        let n = if timeout_ns > 0 && self.fine {
            let ts = libc::timespec { tv_sec: timeout_ns / 1_000_000_000, tv_nsec: timeout_ns % 1_000_000_000 };
            // SAFETY: events has `most` entries; the signal mask is null, so its size is not read.
            let n = unsafe {
                libc::syscall(libc::SYS_epoll_pwait2, self.fd.as_raw_fd(), events, most, &ts, std::ptr::null::<u8>(), 0usize)
            };
            if n < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                // Before Linux 5.11, or behind a filter of system calls, there are only milliseconds: the caller spins the rest.
                self.fine = false;
            }
            n as libc::c_int
        } else {
            // SAFETY: as above.
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events, most, (timeout_ns / 1_000_000) as libc::c_int) }
        };
        for event in &self.events[..usize::try_from(n).unwrap_or(0)] {
            let bits = event.events as libc::c_int;
            let broken = bits & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
            ready.push(Ready {
                token: event.u64 as usize,
                readable: broken || bits & (libc::EPOLLIN | libc::EPOLLRDHUP) != 0,
                writable: broken || bits & libc::EPOLLOUT != 0,
            });
        }
    }
}
