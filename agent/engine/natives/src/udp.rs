//! The intake of datagrams: each is a request and is sent back whole. The kernel keeps them in order.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use crate::asked_to_stop;
use crate::clock::now_ns;
use crate::inbox::Inbox;
use crate::protocol::told_in_front;
use crate::queue::{Intake, Job, MOST_WAITING};

const LARGEST_DATAGRAM: usize = 65_535;
/// At most so many at a look, so that a flood cannot make a service late.
const AT_A_LOOK: usize = 64;
const LOOK_AT_STOP_EVERY_NS: i64 = 10_000_000;
/// What the kernel is to hold for us while we do not look; it may grant less.
const RECEIVE_BUFFER: libc::c_int = 4 << 20;

pub struct UdpIntake {
    socket: UdpSocket,
    stop_fd: i32,
    looked_at_stop_ns: i64,
    inbox: Inbox,
    /// Who sent what waits, in the order of the queue.
    senders: VecDeque<SocketAddr>,
    scratch: Box<[u8]>,
}

impl UdpIntake {
    pub fn new(socket: UdpSocket, stop_fd: i32) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let wanted = RECEIVE_BUFFER;
        let size = std::mem::size_of_val(&wanted) as libc::socklen_t;
        // SAFETY: the option's value is one c_int. A refusal leaves the default.
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, (&raw const wanted).cast(), size) };
        let scratch = vec![0; LARGEST_DATAGRAM].into_boxed_slice();
        Ok(UdpIntake { socket, stop_fd, looked_at_stop_ns: 0, inbox: Inbox::default(), senders: VecDeque::new(), scratch })
    }

    fn sleep(&self, wait_ms: i32) {
        let watch = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut watched = [watch(self.socket.as_raw_fd()), watch(self.stop_fd)];
        // SAFETY: as many valid pollfd as said. An interrupted or failed wait is a short one.
        unsafe { libc::poll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, wait_ms) };
    }
}

impl Intake for UdpIntake {
    fn take(&mut self, wait_ms: i32, queue: &mut VecDeque<Job>) -> io::Result<bool> {
        if wait_ms != 0 {
            self.sleep(wait_ms);
        }
        let seen_ns = now_ns();
        if wait_ms != 0 || seen_ns - self.looked_at_stop_ns > LOOK_AT_STOP_EVERY_NS {
            self.looked_at_stop_ns = seen_ns;
            if asked_to_stop(self.stop_fd) {
                return Ok(false);
            }
        }
        for _ in 0..AT_A_LOOK {
            if queue.len() >= MOST_WAITING {
                break;
            }
            // Not for us: an error of an answer that nobody took comes back as one of the socket.
            let Ok((bytes, sender)) = self.socket.recv_from(&mut self.scratch) else { break };
            let datagram = &self.scratch[..bytes];
            self.inbox.append(datagram);
            self.inbox.frame(bytes);
            self.senders.push_back(sender);
            queue.push_back(Job { client: 0, bytes, told_ns: told_in_front(datagram), seen_ns });
        }
        Ok(true)
    }

    fn is_gone(&self, _job: &Job) -> bool {
        false
    }

    fn finish(&mut self, job: Job) {
        if let Some(sender) = self.senders.pop_front() {
            // A datagram that cannot be sent is lost, as datagrams may be.
            let _ = self.socket.send_to(self.inbox.front(job.bytes), sender);
        }
        self.inbox.drop_front(job.bytes);
    }

    fn connections(&self) -> u64 {
        0
    }
}
