//! Files that the kernel knows by number, each held by a descriptor that only names it, so that renames change nothing.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{FileAttr, FUSE_ROOT_ID};

use super::calls::{attributes, device, name, open_at, Answer};

/// Their numbers are those of the file system below, the folder's own apart.
pub struct Nodes {
    known: Mutex<HashMap<u64, (Arc<OwnedFd>, u64)>>,
    device: u64,
}

impl Nodes {
    pub fn new(folder: OwnedFd) -> Answer<Self> {
        let device = device(&folder)?;
        Ok(Nodes { known: Mutex::new(HashMap::from([(FUSE_ROOT_ID, (Arc::new(folder), 1))])), device })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, (Arc<OwnedFd>, u64)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, number: u64) -> Answer<Arc<OwnedFd>> {
        self.lock().get(&number).map(|(fd, _)| fd.clone()).ok_or(libc::ESTALE)
    }

    /// The kernel is told of it once more, and will forget it as often.
    pub fn find(&self, parent: u64, named: &OsStr) -> Answer<FileAttr> {
        let fd = open_at(&*self.get(parent)?, &name(named)?, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        let found = attributes(&fd)?;
        if device(&fd)? != self.device {
            return Err(libc::EXDEV); // another file system lies in the folder, whose numbers are others
        }
        if found.ino == FUSE_ROOT_ID {
            return Err(libc::EOVERFLOW); // a number that the protocol has for the folder itself
        }
        // A number is of one file as long as a descriptor of it is open, which the first one is until the kernel forgets it.
        self.lock().entry(found.ino).or_insert_with(|| (Arc::new(fd), 0)).1 += 1;
        Ok(found)
    }

    pub fn attributes(&self, number: u64) -> Answer<FileAttr> {
        Ok(FileAttr { ino: number, ..attributes(&*self.get(number)?)? })
    }

    pub fn forget(&self, number: u64, times: u64) {
        let mut known = self.lock();
        if let Some(entry) = known.get_mut(&number).filter(|_| number != FUSE_ROOT_ID) {
            entry.1 = entry.1.saturating_sub(times);
            if entry.1 == 0 {
                known.remove(&number);
            }
        }
    }
}
