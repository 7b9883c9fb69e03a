//! The kernel's own stamps of a TCP socket, sampled: when bytes were handed to the device, and when they came in
//! (SO_TIMESTAMPING, Documentation/networking/timestamping.rst). What lies between them and ours is the cost of the way through the
//! kernel and of our being woken, which is no system's doing.
//!
//! Stamps are of CLOCK_REALTIME; they are moved to CLOCK_MONOTONIC by an offset taken anew each time, good to a microsecond.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use crate::clock::now_ns;
use crate::tally::Book;

/// Values of linux/net_tstamp.h and linux/errqueue.h.
const TX_SOFTWARE: u32 = 1 << 1;
const RX_SOFTWARE: u32 = 1 << 3;
const SOFTWARE: u32 = 1 << 4;
const OPT_ID: u32 = 1 << 7;
const OPT_TSONLY: u32 = 1 << 11;
const CONTROL_BYTES: usize = 256;
/// Sampled writes whose stamp has not come; older ones are forgotten.
const MOST_AWAITED: usize = 64;

pub struct KernelStamps {
    every: u32,
    until_write: u32,
    until_read: u32,
    /// Bytes written since it was switched on: the kernel names a write by its last one.
    written: u32,
    awaited: VecDeque<(u32, i64)>,
}

/// A control buffer, aligned as cmsghdr wants it.
#[repr(align(8))]
struct Control([u8; CONTROL_BYTES]);

fn realtime_less_monotonic_ns() -> i64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let before = now_ns();
    // SAFETY: a valid out pointer.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut ts) };
    let after = now_ns();
    ts.tv_sec * 1_000_000_000 + ts.tv_nsec - (before + after) / 2
}

fn message(iov: &mut libc::iovec, control: Option<&mut Control>) -> libc::msghdr {
    // SAFETY: msghdr is plain data, zero is an empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = iov;
    message.msg_iovlen = 1;
    if let Some(control) = control {
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_BYTES;
    }
    message
}

/// The software stamp and the id of an error-queue message, as far as the control messages have them.
fn read_control(message: &libc::msghdr) -> (Option<i64>, Option<u32>) {
    let (mut stamp, mut id) = (None, None);
    // SAFETY: the kernel has filled the control buffer; the macros keep within msg_controllen, and data are read unaligned.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let data = libc::CMSG_DATA(header);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => {
                    let ts: libc::timespec = std::ptr::read_unaligned(data.cast());
                    stamp = Some(ts.tv_sec * 1_000_000_000 + ts.tv_nsec).filter(|ns| *ns != 0);
                }
                (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                    let error: libc::sock_extended_err = std::ptr::read_unaligned(data.cast());
                    id = (error.ee_origin == libc::SO_EE_ORIGIN_TIMESTAMPING).then_some(error.ee_data);
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    (stamp, id)
}

fn checked(n: isize) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

impl KernelStamps {
    /// Switches them on for one socket, one write and one read in `every`.
    ///
    /// # Errors
    /// The kernel has none.
    pub fn enable(fd: RawFd, every: u32) -> io::Result<Self> {
        let flags = RX_SOFTWARE | SOFTWARE | OPT_ID | OPT_TSONLY;
        // SAFETY: an option of four bytes.
        let done = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, std::ptr::from_ref(&flags).cast(), 4) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(KernelStamps { every, until_write: 1, until_read: 1, written: 0, awaited: VecDeque::with_capacity(MOST_AWAITED) })
    }

    /// Writes, with a stamp asked for if it is the turn of this write. `stamp`: ours, taken just before.
    pub fn write(&mut self, fd: RawFd, bytes: &[u8], stamp: i64) -> io::Result<usize> {
        self.until_write -= 1;
        let sampled = self.until_write == 0;
        let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let mut control = Control([0; CONTROL_BYTES]);
        let mut message = message(&mut iov, sampled.then_some(&mut control));
        if sampled {
            self.until_write = self.every;
            // SAFETY: the control buffer has room for one header and four bytes.
            unsafe {
                message.msg_controllen = libc::CMSG_SPACE(4) as usize;
                let header = libc::CMSG_FIRSTHDR(&message);
                (*header).cmsg_level = libc::SOL_SOCKET;
                (*header).cmsg_type = libc::SO_TIMESTAMPING;
                (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
                std::ptr::write_unaligned(libc::CMSG_DATA(header).cast(), TX_SOFTWARE);
            }
        }
        // SAFETY: the message points to memory that outlives the call.
        let wrote = checked(unsafe { libc::sendmsg(fd, &message, libc::MSG_NOSIGNAL) })?;
        self.written = self.written.wrapping_add(wrote as u32);
        if sampled && wrote > 0 {
            if self.awaited.len() == MOST_AWAITED {
                self.awaited.pop_front();
            }
            self.awaited.push_back((self.written.wrapping_sub(1), stamp));
        }
        Ok(wrote)
    }

    /// Reads; one in `every` also tells how long ago the kernel had the bytes.
    pub fn read(&mut self, fd: RawFd, buffer: &mut [u8], book: &mut Book) -> io::Result<usize> {
        if !self.awaited.is_empty() {
            self.take_sent(fd, book);
        }
        self.until_read -= 1;
        let sampled = self.until_read == 0;
        let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut control = Control([0; CONTROL_BYTES]);
        let mut message = message(&mut iov, sampled.then_some(&mut control));
        // SAFETY: as above.
        let read = checked(unsafe { libc::recvmsg(fd, &mut message, 0) });
        let now = now_ns();
        if sampled {
            self.until_read = if read.is_ok() { self.every } else { 1 };
            if let (Ok(1..), (Some(stamp), _)) = (&read, read_control(&message)) {
                book.kernel_read(now - (stamp - realtime_less_monotonic_ns()));
            }
        }
        read
    }

    /// Stamps of sampled writes, from the socket's error queue.
    fn take_sent(&mut self, fd: RawFd, book: &mut Book) {
        loop {
            let mut nothing = [0u8; 1];
            let mut iov = libc::iovec { iov_base: nothing.as_mut_ptr().cast(), iov_len: 0 };
            let mut control = Control([0; CONTROL_BYTES]);
            let mut message = message(&mut iov, Some(&mut control));
            // SAFETY: as above.
            if unsafe { libc::recvmsg(fd, &mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) } < 0 {
                return;
            }
            if let (Some(stamp), Some(id)) = read_control(&message) {
                if let Some(at) = self.awaited.iter().position(|(awaited, _)| *awaited == id) {
                    let (_, sent_ns) = self.awaited[at];
                    self.awaited.drain(..=at);
                    book.kernel_sent(stamp - realtime_less_monotonic_ns() - sent_ns);
                }
            }
        }
    }
}
