//! Storage: direct reads and writes, synced writes, and reads and writes through the page cache. Files lie where we are told and nowhere
//! else; whoever told us removes them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::memory::Region;
use super::{checked, Mix, Work};

const FILL_BYTES: usize = 4 << 20;
const CHURN_CHUNK: usize = 256 * 1024;
const FLUSH_EVERY: u64 = 8 << 20;
const SYNC_BLOCK: usize = 4096;

fn opened(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(flags).open(path)
}

/// Bytes that neither compression nor deduplication below us makes less of.
fn noise(into: &mut [u8], seed: u64) {
    let mut state = seed | 1;
    for word in into.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
}

/// Writes a file of this size, whole blocks of data: unwritten extents would be read without any I/O.
fn fill(file: &File, bytes: u64, seed: u64) -> io::Result<()> {
    let mut region = Region::new(FILL_BYTES, false)?;
    let block = region.as_mut_slice();
    let mut at = 0;
    while at < bytes {
        noise(block, seed.wrapping_add(at + 1));
        let length = (bytes - at).min(FILL_BYTES as u64) as usize;
        file.write_all_at(&block[..length], at)?;
        at += length as u64;
    }
    checked(fdatasync(file)).map(drop)
}

fn fdatasync(file: &File) -> i64 {
    // SAFETY: a valid descriptor.
    unsafe { libc::fdatasync(file.as_raw_fd()) }.into()
}

/// Direct reads and writes of one block each at random places of a file. A unit is an operation; a thread has one in flight.
pub struct Direct {
    file: File,
    block: Region,
    blocks: u64,
    block_bytes: usize,
    writes: Mix,
    state: u64,
}

impl Direct {
    /// Raises what open says where the file system has no O_DIRECT.
    pub fn new(path: &Path, file_bytes: u64, block_bytes: usize, write_share: f64) -> io::Result<Self> {
        let file = opened(path, libc::O_DIRECT)?;
        let seed = path.as_os_str().len() as u64 ^ u64::from(std::process::id());
        fill(&file, file_bytes, seed)?;
        let mut block = Region::new(block_bytes, false)?;
        noise(block.as_mut_slice(), seed);
        let blocks = (file_bytes / block_bytes as u64).max(1);
        Ok(Direct { file, block, blocks, block_bytes, writes: Mix::new(write_share), state: seed | 1 })
    }
}

impl Work for Direct {
    fn most(&self) -> u64 {
        1
    }

    fn step(&mut self, _: u64) -> io::Result<u64> {
        self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let at = ((self.state >> 33) % self.blocks) * self.block_bytes as u64;
        let bytes = &mut self.block.as_mut_slice()[..self.block_bytes];
        if self.writes.next() {
            self.file.write_all_at(bytes, at)?;
        } else {
            self.file.read_exact_at(bytes, at)?;
        }
        Ok(1)
    }
}

/// A small write and fdatasync(2). A unit is the two together.
pub struct Synced {
    file: File,
    block: Vec<u8>,
}

impl Synced {
    pub fn new(path: &Path) -> io::Result<Self> {
        let file = opened(path, 0)?;
        // Filled beforehand, so that a sync has data and no growing file to write. One page, so that the kernel counts one page: in a
        // larger file it dirties whole folios.
        fill(&file, SYNC_BLOCK as u64, 7)?;
        let mut block = vec![0; SYNC_BLOCK];
        noise(&mut block, 11);
        Ok(Synced { file, block })
    }
}

impl Work for Synced {
    fn most(&self) -> u64 {
        1
    }

    fn step(&mut self, _: u64) -> io::Result<u64> {
        self.file.write_all_at(&self.block, 0)?;
        checked(fdatasync(&self.file))?;
        Ok(1)
    }
}

/// Reads and writes through the page cache, around a file: each chunk's old pages are dropped first, so that it is new pages that come
/// in and the file's size is what we hold at most. A unit is a byte.
pub struct Churn {
    file: File,
    bytes: u64,
    at: u64,
    unflushed: u64,
    chunk: Vec<u8>,
    writes: Mix,
}

impl Churn {
    pub fn new(path: &Path, file_bytes: u64, write_share: f64) -> io::Result<Self> {
        let file = opened(path, 0)?;
        let bytes = file_bytes.next_multiple_of(CHURN_CHUNK as u64).max(CHURN_CHUNK as u64);
        fill(&file, bytes, 13)?;
        // Without read-ahead what is read is what we count; and what the filling left lies in folios larger than our chunks, which could
        // not be dropped by the chunk.
        for advice in [libc::POSIX_FADV_RANDOM, libc::POSIX_FADV_DONTNEED] {
            // SAFETY: a valid descriptor; no more than advice.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) };
        }
        let mut chunk = vec![0; CHURN_CHUNK];
        noise(&mut chunk, 17);
        Ok(Churn { file, bytes, at: 0, unflushed: 0, chunk, writes: Mix::new(write_share) })
    }
}

impl Work for Churn {
    fn quantum(&self) -> u64 {
        CHURN_CHUNK as u64
    }

    fn most(&self) -> u64 {
        CHURN_CHUNK as u64
    }

    fn step(&mut self, _: u64) -> io::Result<u64> {
        let (fd, at, length) = (self.file.as_raw_fd(), self.at as i64, CHURN_CHUNK as i64);
        // SAFETY: advice on our own file.
        unsafe { libc::posix_fadvise(fd, at, length, libc::POSIX_FADV_DONTNEED) };
        if self.writes.next() {
            self.file.write_all_at(&self.chunk, self.at)?;
            self.unflushed += CHURN_CHUNK as u64;
            if self.unflushed >= FLUSH_EVERY {
                // Dirty pages cannot be dropped: they are on their way out by the time we come round.
                // SAFETY: as above; it does not wait.
                checked(unsafe { libc::sync_file_range(fd, 0, 0, libc::SYNC_FILE_RANGE_WRITE) }.into())?;
                self.unflushed = 0;
            }
        } else {
            self.file.read_exact_at(&mut self.chunk, self.at)?;
        }
        self.at = (self.at + CHURN_CHUNK as u64) % self.bytes;
        Ok(CHURN_CHUNK as u64)
    }
}
