//! What is done below for each request: a folder as it is, without its extended attributes.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use fuser::{FileAttr, TimeOrNow};

use super::calls::{by_proc, done, last, name, number, open_at, timespec, Aligned, Answer};
use super::nodes::Nodes;
use super::open::{Entry, Handles, Opened};

pub struct Folder {
    pub nodes: Nodes,
    pub files: Handles<Opened>,
    pub folders: Handles<Mutex<Vec<Entry>>>,
}

/// Whose a new file is to be.
#[derive(Clone, Copy)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// What chmod(2), chown(2), truncate(2) and utimensat(2) change.
pub struct Change {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<TimeOrNow>,
    pub mtime: Option<TimeOrNow>,
    pub file: Option<u64>,
}

impl Folder {
    pub fn new(folder: OwnedFd) -> Answer<Self> {
        Ok(Folder { nodes: Nodes::new(folder)?, files: Handles::default(), folders: Handles::default() })
    }

    /// A name that `make` makes in a folder, by its descriptor.
    pub fn make(
        &self,
        parent: u64,
        named: &OsStr,
        owner: Owner,
        make: impl FnOnce(i32, *const libc::c_char) -> i32,
    ) -> Answer<FileAttr> {
        let (folder, named_c) = (self.nodes.get(parent)?, name(named)?);
        done(make(folder.as_raw_fd(), named_c.as_ptr()))?;
        give(&folder, &named_c, owner)?;
        self.nodes.find(parent, named)
    }

    pub fn create(&self, parent: u64, named: &OsStr, mode: u32, flags: i32, owner: Owner) -> Answer<(FileAttr, u64)> {
        let (folder, named_c) = (self.nodes.get(parent)?, name(named)?);
        let asked = flags & (libc::O_EXCL | libc::O_TRUNC) | libc::O_CREAT | libc::O_NOFOLLOW | libc::O_RDWR;
        let made = open_at(&folder, &named_c, asked, mode)?;
        give(&folder, &named_c, owner)?;
        let found = self.nodes.find(parent, named)?;
        match Opened::new(&made, flags & !libc::O_TRUNC) {
            Ok(opened) => Ok((found, self.files.add(opened))),
            Err(error) => {
                self.nodes.forget(found.ino, 1);
                Err(error)
            }
        }
    }

    pub fn link(&self, of: u64, parent: u64, named: &OsStr) -> Answer<FileAttr> {
        let (file, folder, named_c) = (self.nodes.get(of)?, self.nodes.get(parent)?, name(named)?);
        // SAFETY: live descriptors and names that end.
        done(unsafe { libc::linkat(file.as_raw_fd(), c"".as_ptr(), folder.as_raw_fd(), named_c.as_ptr(), libc::AT_EMPTY_PATH) })?;
        self.nodes.find(parent, named)
    }

    pub fn rename(&self, from: (u64, OsString), to: (u64, OsString), flags: u32) -> Answer<()> {
        let (old, new) = (self.nodes.get(from.0)?, self.nodes.get(to.0)?);
        let (old_name, new_name) = (name(&from.1)?, name(&to.1)?);
        // SAFETY: live descriptors and names that end.
        done(unsafe { libc::renameat2(old.as_raw_fd(), old_name.as_ptr(), new.as_raw_fd(), new_name.as_ptr(), flags) })
    }

    pub fn remove(&self, parent: u64, named: &OsStr, flags: i32) -> Answer<()> {
        let (folder, named) = (self.nodes.get(parent)?, name(named)?);
        // SAFETY: a live descriptor and a name that ends.
        done(unsafe { libc::unlinkat(folder.as_raw_fd(), named.as_ptr(), flags) })
    }

    pub fn target_of(&self, link: u64) -> Answer<Vec<u8>> {
        let fd = self.nodes.get(link)?;
        let mut target = vec![0u8; libc::PATH_MAX as usize];
        // SAFETY: an empty name means the link that the descriptor names; the buffer is as long as told.
        let bytes = unsafe { libc::readlinkat(fd.as_raw_fd(), c"".as_ptr(), target.as_mut_ptr().cast(), target.len()) };
        if bytes < 0 {
            return Err(last());
        }
        target.truncate(bytes as usize);
        Ok(target)
    }

    pub fn change(&self, of: u64, change: Change) -> Answer<FileAttr> {
        let fd = self.nodes.get(of)?;
        let by_path = by_proc(&fd);
        // SAFETY: live descriptors and names that end; the times are valid for the call.
        unsafe {
            if let Some(mode) = change.mode {
                done(libc::chmod(by_path.as_ptr(), mode & 0o7777))?;
            }
            if change.uid.is_some() || change.gid.is_some() {
                let (uid, gid) = (change.uid.unwrap_or(u32::MAX), change.gid.unwrap_or(u32::MAX));
                done(libc::fchownat(fd.as_raw_fd(), c"".as_ptr(), uid, gid, libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW))?;
            }
            if let Some(size) = change.size {
                match change.file {
                    Some(file) => done(libc::ftruncate(self.files.get(file)?.cached.as_raw_fd(), size as i64))?,
                    None => done(libc::truncate(by_path.as_ptr(), size as i64))?,
                }
            }
            if change.atime.is_some() || change.mtime.is_some() {
                let times = [timespec(change.atime), timespec(change.mtime)];
                done(libc::utimensat(fd.as_raw_fd(), c"".as_ptr(), times.as_ptr(), libc::AT_EMPTY_PATH))?;
            }
        }
        self.nodes.attributes(of)
    }

    pub fn open(&self, of: u64, flags: i32) -> Answer<u64> {
        Ok(self.files.add(Opened::new(&*self.nodes.get(of)?, flags)?))
    }

    pub fn read(&self, file: u64, offset: i64, bytes: u32, flags: i32) -> Answer<Aligned> {
        let opened = self.files.get(file)?;
        let mut read = Aligned::new(bytes as usize);
        read.read(opened.by(flags), offset as u64)?;
        Ok(read)
    }

    pub fn write(&self, file: u64, offset: i64, data: &Aligned, flags: i32) -> Answer<u32> {
        let opened = self.files.get(file)?;
        opened.by(flags).write_all_at(data.bytes(), offset as u64).map_err(|error| number(&error))?;
        Ok(data.bytes().len() as u32)
    }

    pub fn sync(&self, file: u64, data_only: bool) -> Answer<()> {
        let opened = self.files.get(file)?;
        let synced = if data_only { opened.cached.sync_data() } else { opened.cached.sync_all() };
        synced.map_err(|error| number(&error))
    }

    pub fn sync_folder(&self, of: u64) -> Answer<()> {
        let opened = super::calls::reopen(&*self.nodes.get(of)?, libc::O_RDONLY | libc::O_DIRECTORY)?;
        // SAFETY: a live descriptor.
        done(unsafe { libc::fsync(opened.as_raw_fd()) })
    }

    pub fn allocate(&self, file: u64, offset: i64, bytes: i64, mode: i32) -> Answer<()> {
        let opened = self.files.get(file)?;
        // SAFETY: a live descriptor.
        done(unsafe { libc::fallocate(opened.cached.as_raw_fd(), mode, offset, bytes) })
    }

    pub fn seek(&self, file: u64, offset: i64, whence: i32) -> Answer<i64> {
        let opened = self.files.get(file)?;
        // SAFETY: a live descriptor, whose place nobody else uses.
        let at = unsafe { libc::lseek(opened.cached.as_raw_fd(), offset, whence) };
        if at < 0 {
            return Err(last());
        }
        Ok(at)
    }

    pub fn copy(&self, from: (u64, i64), to: (u64, i64), bytes: u64, flags: u32) -> Answer<u32> {
        let (source, target) = (self.files.get(from.0)?, self.files.get(to.0)?);
        let (mut read_at, mut write_at) = (from.1, to.1);
        let most = bytes.min(1 << 30) as usize;
        // SAFETY: live descriptors; the places are valid for the call.
        let copied = unsafe {
            let (source, target) = (source.cached.as_raw_fd(), target.cached.as_raw_fd());
            libc::copy_file_range(source, &mut read_at, target, &mut write_at, most, flags)
        };
        if copied < 0 {
            return Err(last());
        }
        Ok(copied as u32)
    }

    pub fn room(&self, of: u64) -> Answer<libc::statvfs> {
        let fd = self.nodes.get(of)?;
        // SAFETY: statvfs is plain data and a valid out pointer.
        let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
        done(unsafe { libc::fstatvfs(fd.as_raw_fd(), &mut room) })?;
        Ok(room)
    }
}

fn give(folder: &OwnedFd, named: &CString, owner: Owner) -> Answer<()> {
    // SAFETY: no pointers, cannot fail; a live descriptor and a name that ends.
    unsafe {
        if (owner.uid, owner.gid) == (libc::geteuid(), libc::getegid()) {
            return Ok(());
        }
        done(libc::fchownat(folder.as_raw_fd(), named.as_ptr(), owner.uid, owner.gid, libc::AT_SYMLINK_NOFOLLOW))
    }
}

/// A symbolic link's words.
pub fn words(of: &std::path::Path) -> Answer<CString> {
    CString::new(of.as_os_str().as_bytes()).map_err(|_| libc::EINVAL)
}
