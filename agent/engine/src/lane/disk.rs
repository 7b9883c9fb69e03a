//! A file or block device as the target of a block trace: where a row's bytes lie on it, and how it wants to be accessed. Both ways to
//! reach it, the ring and the threads, use this.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::driver::{Answer, Options, Values, Verb};
use crate::feed::Row;

pub const READ: Verb = 0;
pub const WRITE: Verb = 1;
pub const TRIM: Verb = 2;
pub const FLUSH: Verb = 3;

/// Larger requests are cut: what one call to the kernel takes.
const LARGEST: u64 = 64 << 20;
const SECTOR: u64 = 512;
const PAGE: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Auto,
    Ring,
    Threads,
}

pub struct Disk {
    pub file: File,
    pub way: Way,
    /// Of offsets, lengths and memory.
    pub align: u64,
    size: u64,
    notes: Vec<String>,
    wrapped: AtomicU64,
    rounded: AtomicU64,
}

/// Where one request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub offset: u64,
    pub bytes: u64,
}

impl Disk {
    /// # Errors
    /// One line: the path and what is wrong with it, or an option.
    pub fn open(path: &str, options: &mut Options) -> Result<Self, String> {
        let way = match options.word("engine", &["auto", "io_uring", "threads"])? {
            "auto" => Way::Auto,
            "io_uring" => Way::Ring,
            _ => Way::Threads,
        };
        let direct = options.word("direct", &["auto", "yes", "no"])?;
        let wanted = options.number("size", 0, u64::MAX, 0)?;
        let read_only = options.word("access", &["rw", "ro"])? == "ro";
        let open = |flags: i32| {
            let mut how = OpenOptions::new();
            how.read(true).write(!read_only).create(wanted > 0 && !read_only).custom_flags(flags);
            how.open(path)
        };
        let mut notes = Vec::new();
        let (file, direct) = match direct {
            "no" => (open(0), false),
            _ => match open(libc::O_DIRECT) {
                Err(e) if direct == "auto" && e.raw_os_error() == Some(libc::EINVAL) => {
                    notes.push("no direct I/O on this file system: through the page cache".to_string());
                    (open(0), false)
                }
                opened => (opened, true),
            },
        };
        let file = file.map_err(|e| format!("{path}: {e}; give an existing file or device, or the option size to make one"))?;
        let meta = file.metadata().map_err(|e| format!("{path}: {e}"))?;
        let device = meta.file_type().is_block_device();
        if !device && wanted > meta.len() {
            fill(path, meta.len(), wanted).map_err(|e| format!("{path}: {e}; {wanted} bytes are needed"))?;
        }
        let size = if device { device_bytes(&file) } else { file.metadata().map(|m| m.len()) };
        let size = size.map_err(|e| format!("{path}: {e}"))?;
        let align = if direct { direct_alignment(&file, device) } else { 1 };
        if size < align.max(SECTOR) {
            return Err(format!("{path}: {size} bytes; give a larger file, or the option size to make one"));
        }
        Ok(Disk { file, way, align, size: size / align * align, notes, wrapped: AtomicU64::new(0), rounded: AtomicU64::new(0) })
    }

    pub fn verb(op: &str) -> Verb {
        match op {
            "write" | "set" => WRITE,
            "trim" | "delete" => TRIM,
            "flush" => FLUSH,
            _ => READ,
        }
    }

    /// The place of a row, within the file and aligned as direct I/O needs it.
    pub fn span(&self, row: &Row, verb: Verb) -> Span {
        let asked = if verb == READ { row.resp_bytes.max(u64::from(row.req_bytes)) } else { u64::from(row.req_bytes) };
        let asked = asked.clamp(1, LARGEST).min(self.size);
        let start = row.offset / self.align * self.align;
        let end = row.offset.saturating_add(asked).div_ceil(self.align).saturating_mul(self.align);
        let bytes = (end - start).clamp(self.align, self.size);
        if start != row.offset || bytes != asked {
            self.rounded.fetch_add(1, Ordering::Relaxed);
        }
        let offset = match start.checked_add(bytes).filter(|end| *end <= self.size) {
            Some(_) => start,
            None => {
                self.wrapped.fetch_add(1, Ordering::Relaxed);
                let room = (self.size - bytes) / self.align + 1;
                start / self.align % room * self.align
            }
        };
        Span { offset, bytes }
    }

    /// What was done otherwise than the trace says, in words.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        let (wrapped, rounded) = (self.wrapped.load(Ordering::Relaxed), self.rounded.load(Ordering::Relaxed));
        if wrapped > 0 {
            notes.push(format!("{wrapped} requests lay beyond the {} bytes of the target: wrapped around", self.size));
        }
        if rounded > 0 {
            notes.push(format!("{rounded} requests were rounded outwards to {} bytes", self.align));
        }
        notes
    }

    /// One request by the calling thread: the way without a ring.
    pub fn perform(&self, span: Span, verb: Verb, memory: &mut Aligned) -> Answer {
        let fd = self.file.as_raw_fd();
        let (at, len) = (span.offset as i64, span.bytes as usize);
        // SAFETY: the file is open as long as self; the memory holds at least `len` bytes after `room`.
        let done = unsafe {
            match verb {
                READ => libc::pread(fd, memory.room(len).cast(), len, at) as i64,
                WRITE => libc::pwrite(fd, memory.room(len).cast(), len, at) as i64,
                TRIM => zero_is(libc::fallocate(fd, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, at, len as i64), len),
                _ => zero_is(libc::fdatasync(fd), len),
            }
        };
        if done == len as i64 {
            Answer::Ok
        } else {
            Answer::Server
        }
    }
}

fn zero_is(result: libc::c_int, len: usize) -> i64 {
    if result == 0 {
        len as i64
    } else {
        -1
    }
}

/// Writes `from..to` of a file with bytes that are not all the same, so that reads find blocks and not holes.
fn fill(path: &str, from: u64, to: u64) -> io::Result<()> {
    use std::io::{Seek, Write};
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.seek(io::SeekFrom::Start(from))?;
    let values = Values::new();
    let mut piece = Vec::with_capacity(1 << 20);
    values.append(from, 1 << 20, &mut piece);
    let mut at = from;
    while at < to {
        let take = (to - at).min(piece.len() as u64);
        file.write_all(&piece[..take as usize])?;
        at += take;
    }
    file.sync_all()
}

fn device_bytes(file: &File) -> io::Result<u64> {
    const BLKGETSIZE64: libc::c_ulong = 0x8008_1272;
    let mut size = 0u64;
    // SAFETY: BLKGETSIZE64 writes one u64 (linux/fs.h).
    if unsafe { libc::ioctl(file.as_raw_fd(), BLKGETSIZE64, &mut size) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(size)
}

/// What direct I/O on this file wants: from statx(2) since Linux 6.1, else a page.
fn direct_alignment(file: &File, device: bool) -> u64 {
    const STATX_DIOALIGN: u32 = 0x2000;
    // The end of struct statx (linux/stat.h); libc's own may not have these fields.
    const MEM_ALIGN_AT: usize = 0x98;
    let mut stat = [0u8; 256];
    // SAFETY: struct statx has 256 bytes; the empty path with AT_EMPTY_PATH means the descriptor itself.
    let done = unsafe {
        libc::syscall(libc::SYS_statx, file.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, STATX_DIOALIGN, stat.as_mut_ptr())
    };
    let word = |at: usize| u64::from(u32::from_ne_bytes([stat[at], stat[at + 1], stat[at + 2], stat[at + 3]]));
    let mask = word(0) as u32;
    if done == 0 && mask & STATX_DIOALIGN != 0 {
        let largest = word(MEM_ALIGN_AT).max(word(MEM_ALIGN_AT + 4));
        if largest.is_power_of_two() {
            return largest.max(SECTOR);
        }
    }
    if device {
        SECTOR.max(PAGE)
    } else {
        PAGE
    }
}

/// Memory that direct I/O takes; grows, and keeps what it holds.
pub struct Aligned {
    memory: Vec<u8>,
    at: usize,
    len: usize,
}

impl Aligned {
    pub fn new() -> Self {
        Aligned { memory: Vec::new(), at: 0, len: 0 }
    }

    /// A pointer to `len` bytes at a page's start. New memory is filled so that writes carry bytes that do not compress to nothing.
    pub fn room(&mut self, len: usize) -> *mut u8 {
        if self.len < len {
            let len = len.next_power_of_two();
            self.memory = Vec::with_capacity(len + PAGE as usize);
            self.at = self.memory.as_ptr().align_offset(PAGE as usize);
            Values::of(PAGE as usize).append(0, (len + self.at) as u64, &mut self.memory);
            self.len = len;
        }
        // SAFETY: `at + len` bytes of the vector are filled, and it is not touched while the pointer is in use.
        unsafe { self.memory.as_mut_ptr().add(self.at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(size: u64, align: u64) -> Disk {
        Disk {
            file: File::open("/dev/null").expect("exists"),
            way: Way::Auto,
            align,
            size,
            notes: Vec::new(),
            wrapped: AtomicU64::new(0),
            rounded: AtomicU64::new(0),
        }
    }

    #[test]
    fn every_request_lies_within_the_target_and_aligned() {
        for align in [1, 512, 4096] {
            let disk = disk(1 << 20, align);
            for offset in [0, 1, 511, 4096, (1 << 20) - 512, 1 << 20, 3 << 30, u64::MAX - 5] {
                for bytes in [0, 1, 512, 5000, 1 << 20, u32::MAX] {
                    let row = Row { offset, req_bytes: bytes, ..Row::default() };
                    let Span { offset: at, bytes: len } = disk.span(&row, WRITE);
                    assert!(
                        at % align == 0 && len % align == 0 && len > 0 && at + len <= 1 << 20,
                        "{offset} {bytes} {align}: {at} {len}"
                    );
                }
            }
        }
        let exact = Row { offset: 8192, resp_bytes: 4096, ..Row::default() };
        assert_eq!(disk(1 << 20, 4096).span(&exact, READ), Span { offset: 8192, bytes: 4096 });
    }
}
