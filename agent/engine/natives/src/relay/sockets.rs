//! The system calls: epoll, the timer, sockets and their options.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd};

const EVENTS: usize = 256;
/// Bytes that a socket may hold unsent before it counts as full: what waits is to wait at the sender, not in the relay.
const UNSENT_BYTES: libc::c_int = 128 * 1024;

fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just given, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub struct Poll(OwnedFd);

impl Poll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: a flag in, a descriptor or -1 out.
        owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Poll)
    }

    /// News of both directions, each once (edge-triggered).
    pub fn watch(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: event outlives the call.
        match unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// (token, events) of what has news; waits until there is some.
    pub fn wait(&self, news: &mut Vec<(u64, u32)>) -> io::Result<()> {
        self.ask(news, -1)
    }

    pub fn look(&self, news: &mut Vec<(u64, u32)>) -> io::Result<()> {
        self.ask(news, 0)
    }

    fn ask(&self, news: &mut Vec<(u64, u32)>, timeout_ms: i32) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // SAFETY: as many events as said.
        let n = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), EVENTS as i32, timeout_ms) };
        if n < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        news.extend(events[..n as usize].iter().map(|e| (e.u64, e.events)));
        Ok(())
    }
}

/// A timerfd: its expiry is not put off by the thread's timer slack.
pub struct Timer(OwnedFd);

impl Timer {
    pub fn new() -> io::Result<Self> {
        // SAFETY: flags in, a descriptor or -1 out.
        owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) }).map(Timer)
    }

    pub fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// At this time; None: never.
    pub fn set(&self, at_ns: Option<i64>) -> io::Result<()> {
        // 0 would mean never, and what lies behind us fires at once.
        let at = at_ns.map_or(0, |ns| ns.max(1));
        let value = libc::timespec { tv_sec: at / 1_000_000_000, tv_nsec: at % 1_000_000_000 };
        let spec = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // SAFETY: spec outlives the call; the old value is not asked for.
        match unsafe { libc::timerfd_settime(self.0.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &spec, std::ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub fn clear(&self) {
        let mut times = 0u64;
        // SAFETY: 8 bytes into 8 bytes. That it had not expired is no error.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut times).cast(), 8) };
    }
}

fn made(onward: &SocketAddr, kind: i32) -> io::Result<OwnedFd> {
    let family = if onward.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: numbers in, a descriptor or -1 out.
    owned(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) })
}

/// A connection under way: it becomes writable, or broken, later.
pub fn dial(onward: &SocketAddr, lost: f64) -> io::Result<TcpStream> {
    let fd = made(onward, libc::SOCK_STREAM)?;
    lose(fd.as_raw_fd(), lost)?;
    connect(&fd, onward)?;
    prepare(&fd);
    Ok(TcpStream::from(fd))
}

pub fn datagrams_to(onward: &SocketAddr, lost: f64) -> io::Result<UdpSocket> {
    let fd = made(onward, libc::SOCK_DGRAM)?;
    lose(fd.as_raw_fd(), lost)?;
    connect(&fd, onward)?;
    Ok(UdpSocket::from(fd))
}

fn connect(fd: &OwnedFd, to: &SocketAddr) -> io::Result<()> {
    let result = match to {
        SocketAddr::V4(to) => {
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: to.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(to.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: an address of its own length.
            unsafe { libc::connect(fd.as_raw_fd(), (&raw const address).cast(), std::mem::size_of_val(&address) as u32) }
        }
        SocketAddr::V6(to) => {
            let address = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: to.port().to_be(),
                sin6_flowinfo: to.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: to.ip().octets() },
                sin6_scope_id: to.scope_id(),
            };
            // SAFETY: an address of its own length.
            unsafe { libc::connect(fd.as_raw_fd(), (&raw const address).cast(), std::mem::size_of_val(&address) as u32) }
        }
    };
    match result {
        0 => Ok(()),
        _ => {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::EINPROGRESS) {
                Ok(())
            } else {
                Err(error)
            }
        }
    }
}

fn set(fd: RawFd, level: i32, name: i32, value: libc::c_int) {
    let size = std::mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: the option's value is one c_int. A refusal leaves the default, which only costs time.
    unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) };
}

pub fn prepare(stream: &impl AsRawFd) {
    set(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
    set(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, UNSENT_BYTES);
}

/// From now on this share of the packets that arrive for the socket is dropped before the protocol sees them, so that a TCP peer has to
/// send them again: a classic filter that draws a number for each (Documentation/networking/filter.rst, `ld rand`).
pub fn lose(fd: RawFd, share: f64) -> io::Result<()> {
    const LOAD_RANDOM: u32 = 0xffff_f000 + 56; // SKF_AD_OFF + SKF_AD_RANDOM
    if share <= 0.0 {
        return Ok(());
    }
    let below = (share * 2f64.powi(32)).min(f64::from(u32::MAX)) as u32;
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [line(0x20, 0, 0, LOAD_RANDOM), line(0x35, 0, 1, below), line(0x06, 0, 0, u32::MAX), line(0x06, 0, 0, 0)];
    let whole = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let size = std::mem::size_of_val(&whole) as libc::socklen_t;
    // SAFETY: the kernel copies the program, which outlives the call.
    match unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const whole).cast(), size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn asked(fd: RawFd, level: i32, name: i32, words: &mut [u32]) -> Option<()> {
    let mut size = std::mem::size_of_val(words) as libc::socklen_t;
    // SAFETY: the kernel writes no more than `size` bytes.
    (unsafe { libc::getsockopt(fd, level, name, words.as_mut_ptr().cast(), &mut size) } == 0).then_some(())
}

/// Packets that the kernel dropped before this socket so far (SK_MEMINFO_DROPS of linux/sock_diag.h).
pub fn dropped(fd: RawFd) -> u64 {
    const SO_MEMINFO: i32 = 55;
    let mut words = [0u32; 9];
    asked(fd, libc::SOL_SOCKET, SO_MEMINFO, &mut words).map_or(0, |()| u64::from(words[8]))
}

/// Segments that TCP has taken in on this socket so far (tcpi_segs_in of linux/tcp.h).
pub fn segments_in(fd: RawFd) -> u64 {
    let mut words = [0u32; 36];
    asked(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut words).map_or(0, |()| u64::from(words[35]))
}

/// Closing it will be a reset: the other side's connection broke, it did not end.
pub fn will_reset(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = std::mem::size_of_val(&linger) as libc::socklen_t;
    // SAFETY: the option's value is one linger. Refused, the other side sees an end instead.
    unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size) };
}
