//! Datagrams to a sink of our own on one of the node's addresses. A unit is a packet.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::{checked, Work};

const BATCH: usize = 32;
static SINK_BUFFER: i32 = 8 << 20;

/// A sender and its sink, which reads whatever comes.
pub struct Packets {
    socket: UdpSocket,
    payload: Vec<u8>,
    ended: Arc<AtomicBool>,
    sink: Option<JoinHandle<()>>,
}

impl Packets {
    /// `payload_bytes` is what the datagram carries; IP and UDP add their headers.
    pub fn new(address: IpAddr, payload_bytes: usize) -> io::Result<Self> {
        let sink = UdpSocket::bind((address, 0))?;
        // SAFETY: an option of our own socket. Without the right to more, the system's own bound holds.
        unsafe {
            let size = (&raw const SINK_BUFFER).cast();
            libc::setsockopt(sink.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size, 4);
        }
        sink.set_read_timeout(Some(Duration::from_millis(100)))?;
        let socket = UdpSocket::bind((address, 0))?;
        socket.connect(sink.local_addr()?)?;
        let ended = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ended);
        let thread = std::thread::Builder::new().spawn(move || drain(&sink, &over))?;
        Ok(Packets { socket, payload: vec![0x5a; payload_bytes], ended, sink: Some(thread) })
    }
}

/// Reads and forgets, many at a time.
fn drain(sink: &UdpSocket, ended: &AtomicBool) {
    // What is longer than this is cut, and read all the same.
    let mut bytes = [[0u8; 64]; BATCH];
    let mut parts = bytes.each_mut().map(|b| libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() });
    // SAFETY: mmsghdr is plain data; each header points to its iovec, which outlives the loop.
    let mut heads: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for (head, part) in heads.iter_mut().zip(parts.iter_mut()) {
        head.msg_hdr.msg_iov = part;
        head.msg_hdr.msg_iovlen = 1;
    }
    while !ended.load(Ordering::Relaxed) {
        // SAFETY: as many valid headers as told; the timeout is the socket's own.
        unsafe {
            libc::recvmmsg(sink.as_raw_fd(), heads.as_mut_ptr(), BATCH as u32, libc::MSG_WAITFORONE as _, std::ptr::null_mut())
        };
    }
}

impl Work for Packets {
    fn most(&self) -> u64 {
        BATCH as u64
    }

    fn step(&mut self, units: u64) -> io::Result<u64> {
        let count = (units as usize).clamp(1, BATCH);
        let mut part = libc::iovec { iov_base: self.payload.as_mut_ptr().cast(), iov_len: self.payload.len() };
        // SAFETY: plain data; each header points to the one iovec, which outlives the call and is only read.
        let sent = unsafe {
            let mut heads: [libc::mmsghdr; BATCH] = std::mem::zeroed();
            for head in &mut heads[..count] {
                head.msg_hdr.msg_iov = &raw mut part;
                head.msg_hdr.msg_iovlen = 1;
            }
            libc::sendmmsg(self.socket.as_raw_fd(), heads.as_mut_ptr(), count as u32, 0)
        };
        checked(sent.into()).map(|n| n as u64)
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(sink) = self.sink.take() {
            // It only reads; if it panicked, there is nothing left to end.
            let _ = sink.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_sent_as_counted() {
        let mut packets = Packets::new("127.0.0.1".parse().unwrap(), 100).unwrap();
        assert_eq!(packets.step(7).unwrap(), 7);
        assert_eq!(packets.step(1000).unwrap(), BATCH as u64);
    }
}
