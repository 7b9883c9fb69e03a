//! Round trips over two ways to one echo, measured side by side: the way that a violation lengthens, and the direct one. Their difference
//! is what was added, whatever this machine's scheduler adds to both.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::asked_to_stop;
use crate::clock::now_ns;
use crate::sched;

pub const KEPT: usize = 1024;
pub const PAGE_BYTES: usize = (3 + 2 * KEPT) * 8;
const MESSAGE: usize = 16;
const NICE: i32 = -20;
const SLICE_NS: u64 = 100_000;
const LOOK_MS: i32 = 200;

/// Shared with whoever reads: Python sees it as numbers of 64 bits.
#[repr(C)]
pub struct Page {
    /// Where the echo listens, told by us.
    pub echo_port: AtomicU64,
    /// Round trips that have ended so far: by the way measured, and directly. The last KEPT of each are kept, in ns.
    ended: [AtomicU64; 2],
    kept: [[AtomicU64; KEPT]; 2],
}

impl Page {
    fn note(&self, way: usize, ns: u64) {
        let at = self.ended[way].load(Ordering::Relaxed);
        self.kept[way][at as usize % KEPT].store(ns, Ordering::Relaxed);
        self.ended[way].store(at + 1, Ordering::Release);
    }
}

/// Sends back whatever comes, on every connection, until `stop_fd` is closed.
pub fn echo(listener: TcpListener, stop_fd: i32) -> io::Result<()> {
    let _ = sched::ask(NICE, SLICE_NS);
    listener.set_nonblocking(true)?;
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut scratch = [0u8; 4096];
    loop {
        let watch = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut watched = vec![watch(stop_fd), watch(listener.as_raw_fd())];
        watched.extend(clients.iter().map(|client| watch(client.as_raw_fd())));
        // SAFETY: as many valid pollfd as said.
        unsafe { libc::poll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, -1) };
        if watched[0].revents != 0 {
            return Ok(());
        }
        let mut at = 2;
        clients.retain_mut(|client| {
            let news = watched[at].revents;
            at += 1;
            // A message is small and answered before the next: a write that is not whole is one of a broken connection.
            news == 0 || matches!(client.read(&mut scratch), Ok(n) if n > 0 && client.write_all(&scratch[..n]).is_ok())
        });
        while let Ok((client, _)) = listener.accept() {
            if client.set_nodelay(true).and_then(|()| client.set_nonblocking(false)).is_ok() {
                clients.push(client);
            }
        }
    }
}

/// Sends a message each way every so often, whether the last is back or not, and notes how long each was away.
pub fn measure(ways: [SocketAddr; 2], every: Duration, page: &Page, stop_fd: i32) -> io::Result<()> {
    let _ = sched::ask(NICE, SLICE_NS);
    // SAFETY: one number for the calling thread; a refusal leaves its waits less exact, both ways alike.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1usize, 0, 0, 0) };
    let every_ns = every.as_nanos() as i64;
    let mut links: [Option<Link>; 2] = [None, None];
    let mut turn = 0usize;
    let mut next = now_ns();
    while !asked_to_stop(stop_fd) {
        let now = now_ns();
        if now >= next {
            let way = turn % 2;
            turn += 1;
            // Half a period apart: they must not meet on a core.
            next = (next + every_ns / 2).max(now - every_ns);
            if links[way].is_none() {
                links[way] = Link::to(ways[way]).ok();
            }
            if links[way].as_mut().is_some_and(|link| !link.send()) {
                links[way] = None;
            }
        }
        let wait = (next - now_ns()).clamp(0, i64::from(LOOK_MS) * 1_000_000);
        let mut watched: Vec<libc::pollfd> =
            links.iter().map(|link| link.as_ref().map_or(-1, |l| l.stream.as_raw_fd())).map(readable).collect();
        watched.push(readable(stop_fd));
        let time = libc::timespec { tv_sec: 0, tv_nsec: wait };
        // SAFETY: as many valid pollfd as said (a negative one is passed over), a valid time, no mask.
        unsafe { libc::ppoll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, &time, std::ptr::null()) };
        let came = now_ns();
        for way in 0..2 {
            if watched[way].revents != 0 && !links[way].as_mut().is_some_and(|link| link.take(came, way, page)) {
                links[way] = None;
            }
        }
    }
    Ok(())
}

fn readable(fd: i32) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

struct Link {
    stream: TcpStream,
    /// What came of a message that is not whole yet.
    part: Vec<u8>,
}

impl Link {
    fn to(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Link { stream, part: Vec::new() })
    }

    fn send(&mut self) -> bool {
        let mut message = [0u8; MESSAGE];
        message[..8].copy_from_slice(&now_ns().to_le_bytes());
        match self.stream.write(&message) {
            Ok(n) => n == MESSAGE,
            // The way is full: that message is not sent, and its round trip not noted.
            Err(e) => e.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn take(&mut self, came_ns: i64, way: usize, page: &Page) -> bool {
        let mut scratch = [0u8; 4096];
        loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => return false,
                Ok(n) => self.part.extend_from_slice(&scratch[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let whole = self.part.len() / MESSAGE * MESSAGE;
        for message in self.part[..whole].chunks_exact(MESSAGE) {
            let mut stamp = [0u8; 8];
            stamp.copy_from_slice(&message[..8]);
            page.note(way, (came_ns - i64::from_le_bytes(stamp)).max(0) as u64);
        }
        self.part.drain(..whole);
        true
    }
}
