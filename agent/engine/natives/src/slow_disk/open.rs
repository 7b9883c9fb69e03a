//! Files and folders that are open.

use std::collections::HashMap;
use std::ffi::{CStr, OsString};
use std::fs::File;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Mutex, PoisonError};

use fuser::FileType;

use super::calls::{kind, last, reopen, Answer};

/// One file. What the kernel keeps in its cache is written by any file that is open for writing, whatever its way, so both are here.
pub struct Opened {
    pub cached: File,
    direct: Option<File>,
}

impl Opened {
    /// By a descriptor of it, as open(2) was asked. The kernel must be able to read what it writes a part of, and appends by itself.
    pub fn new(node: &OwnedFd, flags: i32) -> Answer<Self> {
        let plain = plain(flags);
        let cached = reopen(node, plain)?;
        let direct = (flags & libc::O_DIRECT != 0).then(|| reopen(node, plain & !libc::O_TRUNC | libc::O_DIRECT)).transpose()?;
        Ok(Opened { cached: cached.into(), direct: direct.map(File::from) })
    }

    pub fn by(&self, flags: i32) -> &File {
        self.direct.as_ref().filter(|_| flags & libc::O_DIRECT != 0).unwrap_or(&self.cached)
    }
}

fn plain(flags: i32) -> i32 {
    let kept = flags & (libc::O_TRUNC | libc::O_NOATIME);
    kept | if flags & libc::O_ACCMODE == libc::O_RDONLY { libc::O_RDONLY } else { libc::O_RDWR }
}

pub struct Entry {
    pub number: u64,
    pub kind: FileType,
    pub name: OsString,
}

/// All names of a folder, as readdir(3) gives them.
pub fn entries(node: &OwnedFd) -> Answer<Vec<Entry>> {
    let fd = reopen(node, libc::O_RDONLY | libc::O_DIRECTORY)?.into_raw_fd();
    let mut found = Vec::new();
    // SAFETY: the descriptor is given to the stream, which is closed once; an entry is copied before the next is asked for.
    unsafe {
        let stream = libc::fdopendir(fd);
        if stream.is_null() {
            let error = last();
            libc::close(fd);
            return Err(error);
        }
        loop {
            *libc::__errno_location() = 0;
            let entry = libc::readdir64(stream);
            if entry.is_null() {
                let error = *libc::__errno_location();
                libc::closedir(stream);
                return if error == 0 { Ok(found) } else { Err(error) };
            }
            let name = CStr::from_ptr((*entry).d_name.as_ptr()).to_bytes().to_vec();
            let kind = kind(u32::from((*entry).d_type) << 12);
            found.push(Entry { number: (*entry).d_ino, kind, name: OsString::from_vec(name) });
        }
    }
}

/// What is open, by numbers that are given once.
pub struct Handles<T>(Mutex<(HashMap<u64, Arc<T>>, u64)>);

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Handles(Mutex::new((HashMap::new(), 0)))
    }
}

impl<T> Handles<T> {
    pub fn add(&self, opened: T) -> u64 {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.1 += 1;
        let number = held.1;
        held.0.insert(number, Arc::new(opened));
        number
    }

    pub fn get(&self, number: u64) -> Answer<Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.get(&number).cloned().ok_or(libc::EBADF)
    }

    pub fn close(&self, number: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&number);
    }
}
