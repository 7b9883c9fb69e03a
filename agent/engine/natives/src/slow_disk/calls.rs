//! System calls on descriptors and names, with errors as the numbers that go back to the caller.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, TimeOrNow};

pub type Answer<T> = Result<T, i32>;

pub fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

pub fn last() -> i32 {
    number(&io::Error::last_os_error())
}

pub fn done(result: i32) -> Answer<()> {
    if result < 0 {
        Err(last())
    } else {
        Ok(())
    }
}

pub fn name(of: &OsStr) -> Answer<CString> {
    CString::new(of.as_bytes()).map_err(|_| libc::EINVAL)
}

/// By what a descriptor that only names a file is opened, changed or read as a file.
pub fn by_proc(fd: &OwnedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).expect("digits only")
}

pub fn open_at(folder: &OwnedFd, name: &CStr, flags: i32, mode: u32) -> Answer<OwnedFd> {
    // SAFETY: a live descriptor and a name that ends; the new descriptor is ours alone.
    let fd = unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    done(fd)?;
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn reopen(fd: &OwnedFd, flags: i32) -> Answer<OwnedFd> {
    open_at(fd, &by_proc(fd), flags, 0)
}

fn stat(fd: &OwnedFd) -> Answer<libc::stat> {
    // SAFETY: stat is plain data and a valid out pointer.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    done(unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) })?;
    Ok(stat)
}

pub fn device(fd: &OwnedFd) -> Answer<u64> {
    Ok(stat(fd)?.st_dev)
}

pub fn attributes(fd: &OwnedFd) -> Answer<FileAttr> {
    let stat = stat(fd)?;
    Ok(FileAttr {
        ino: stat.st_ino,
        size: stat.st_size as u64,
        blocks: stat.st_blocks as u64,
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: kind(stat.st_mode & libc::S_IFMT),
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: stat.st_rdev as u32,
        blksize: stat.st_blksize as u32,
        flags: 0,
    })
}

pub fn kind(of_mode: u32) -> FileType {
    match of_mode {
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFLNK => FileType::Symlink,
        libc::S_IFIFO => FileType::NamedPipe,
        libc::S_IFSOCK => FileType::Socket,
        libc::S_IFCHR => FileType::CharDevice,
        libc::S_IFBLK => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    at + Duration::from_nanos(nanoseconds as u64)
}

/// As utimensat(2) takes it; None: as it is.
pub fn timespec(said: Option<TimeOrNow>) -> libc::timespec {
    match said {
        None => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
        Some(TimeOrNow::Now) => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW },
        Some(TimeOrNow::SpecificTime(at)) => match at.duration_since(UNIX_EPOCH) {
            Ok(since) => libc::timespec { tv_sec: since.as_secs() as i64, tv_nsec: i64::from(since.subsec_nanos()) },
            Err(before) => {
                let before = before.duration();
                let part = i64::from(before.subsec_nanos());
                let whole = -(before.as_secs() as i64) - i64::from(part > 0);
                libc::timespec { tv_sec: whole, tv_nsec: if part > 0 { 1_000_000_000 - part } else { 0 } }
            }
        },
    }
}

/// Bytes whose address is that of a page, as O_DIRECT wants it.
pub struct Aligned {
    held: Vec<u8>,
    from: usize,
    bytes: usize,
}

impl Aligned {
    pub fn new(bytes: usize) -> Self {
        const PAGE: usize = 4096;
        let held = vec![0; bytes + PAGE];
        let from = held.as_ptr().align_offset(PAGE);
        Aligned { held, from, bytes }
    }

    pub fn of(data: &[u8]) -> Self {
        let mut made = Aligned::new(data.len());
        made.bytes_mut().copy_from_slice(data);
        made
    }

    pub fn bytes(&self) -> &[u8] {
        &self.held[self.from..self.from + self.bytes]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.held[self.from..self.from + self.bytes]
    }

    /// Reads until it is full or the file ends, and becomes as short as what there was.
    pub fn read(&mut self, file: &File, offset: u64) -> Answer<()> {
        use std::os::unix::fs::FileExt;
        let mut got = 0;
        while got < self.bytes {
            match file.read_at(&mut self.bytes_mut()[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(more) => {
                    got += more;
                    // Past an end that is not a multiple of a sector a direct read would be one from an odd offset.
                    if more % 512 != 0 {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(number(&error)),
            }
        }
        self.bytes = got;
        Ok(())
    }
}
