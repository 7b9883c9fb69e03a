//! A slow disk: a folder as it is, by FUSE, where each request that reaches the disk is held before it is done.
//!
//! Held are reads that the cache of the mount does not answer, direct writes, and fsync of files and folders. What is written to the
//! cache is not: it is handed down without delay (FUSE_WRITEBACK_CACHE), and fsync is what makes it reach the disk. Names and attributes
//! are not, either. Locks are kept by the kernel, on the mount. Extended attributes are refused: the kernel would ask for one at every
//! write. Whoever has the mount keeps it; when it is gone, or we are, the other end is told so by the kernel.

mod calls;
mod folder;
mod hold;
mod nodes;
mod open;
mod page;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::consts::{FOPEN_KEEP_CACHE, FUSE_ASYNC_DIO, FUSE_PARALLEL_DIROPS, FUSE_WRITEBACK_CACHE, FUSE_WRITE_CACHE};
use fuser::{
    Filesystem, KernelConfig, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, Session, SessionACL, TimeOrNow,
};

use crate::clock::now_ns;
use crate::sched;
use calls::Aligned;
use folder::{words, Change, Folder, Owner};
use hold::Hold;
pub use page::{Page, PAGE_BYTES};

/// How long the kernel may believe names and attributes: nobody else changes them while the mount is there, but for what lies below.
const BELIEVED: Duration = Duration::from_secs(1);
/// Requests that nobody waits for (read ahead, direct ones in parts) on their way at once: their delays overlap, too.
const ON_THEIR_WAY: u16 = 1024;
/// Before the load generator and the system, as the relay is: it would otherwise starve who must be in time.
const NICE: i32 = -20;
const SLICE_NS: u64 = 100_000;
const LOOK_MS: i32 = 200;

/// Serves the mount that `fuse` is of, until it is gone or the other end of stop_fd is closed.
pub fn serve(folder: OwnedFd, fuse: OwnedFd, page: &'static Page, stop_fd: i32) -> io::Result<()> {
    // Without the right to it, it is only later when the cores are busy, which the dose's own measurement shows.
    let _ = sched::ask(NICE, SLICE_NS);
    // SAFETY: sets a number of this process: modes come as they are to be.
    unsafe { libc::umask(0) };
    let folder = Arc::new(Folder::new(folder).map_err(io::Error::from_raw_os_error)?);
    let disk = SlowDisk { folder, hold: Hold::start()?, page };
    let session = Session::from_fd(disk, fuse, SessionACL::All).spawn()?;
    while !session.guard.is_finished() {
        let mut stop = libc::pollfd { fd: stop_fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd.
        if unsafe { libc::poll(&mut stop, 1, LOOK_MS) } > 0 {
            return Ok(());
        }
    }
    session.guard.join().unwrap_or_else(|_| Err(io::Error::other("the slow disk panicked")))
}

struct SlowDisk {
    folder: Arc<Folder>,
    hold: Arc<Hold>,
    page: &'static Page,
}

impl SlowDisk {
    fn now(&self, job: impl FnOnce(&Folder) + Send + 'static) {
        let folder = self.folder.clone();
        self.hold.now(move || job(&folder));
    }

    fn held(&self, job: impl FnOnce(&Folder) + Send + 'static) {
        let (folder, page) = (self.folder.clone(), self.page);
        page.held.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (now, delay_ns) = (now_ns(), page.delay_ns());
        let due = now + delay_ns;
        let job = move || {
            page.late(now_ns() - due);
            job(&folder);
        };
        if delay_ns > 0 {
            self.hold.at(due, job);
        } else {
            self.hold.now(job);
        }
    }
}

/// Answers with what was found, or with the error's number.
macro_rules! answer {
    ($reply:ident, $found:expr, $name:pat => $said:expr) => {
        match $found {
            Ok($name) => $said,
            Err(error) => $reply.error(error),
        }
    };
}

fn owner(request: &Request<'_>) -> Owner {
    Owner { uid: request.uid(), gid: request.gid() }
}

impl Filesystem for SlowDisk {
    fn init(&mut self, _: &Request<'_>, config: &mut KernelConfig) -> Result<(), i32> {
        // One that the kernel lacks is named by the error; without the cache every buffered write would be a request.
        config.add_capabilities(FUSE_WRITEBACK_CACHE).map_err(|_| libc::EPROTO)?;
        for wanted in [FUSE_ASYNC_DIO, FUSE_PARALLEL_DIROPS] {
            let _ = config.add_capabilities(wanted); // only faster with them
        }
        config.set_max_background(ON_THEIR_WAY).map(|_| ()).map_err(|_| libc::EPROTO)
    }

    fn lookup(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.now(move |folder| answer!(reply, folder.nodes.find(parent, &name), found => reply.entry(&BELIEVED, &found, 0)));
    }

    fn forget(&mut self, _: &Request<'_>, number: u64, times: u64) {
        self.folder.nodes.forget(number, times);
    }

    fn getattr(&mut self, _: &Request<'_>, number: u64, _: Option<u64>, reply: ReplyAttr) {
        self.now(move |folder| answer!(reply, folder.nodes.attributes(number), found => reply.attr(&BELIEVED, &found)));
    }

    fn setattr(
        &mut self,
        _: &Request<'_>,
        number: u64,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        file: Option<u64>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<u32>,
        reply: ReplyAttr,
    ) {
        let change = Change { mode, uid, gid, size, atime, mtime, file };
        self.now(move |folder| answer!(reply, folder.change(number, change), found => reply.attr(&BELIEVED, &found)));
    }

    fn readlink(&mut self, _: &Request<'_>, number: u64, reply: ReplyData) {
        self.now(move |folder| answer!(reply, folder.target_of(number), target => reply.data(&target)));
    }

    fn mknod(&mut self, request: &Request<'_>, parent: u64, name: &OsStr, mode: u32, umask: u32, device: u32, reply: ReplyEntry) {
        let (name, owner) = (name.to_owned(), owner(request));
        self.now(move |folder| {
            // SAFETY: a live descriptor and a name that ends.
            let made = folder.make(parent, &name, owner, |fd, at| unsafe { libc::mknodat(fd, at, mode & !umask, device.into()) });
            answer!(reply, made, found => reply.entry(&BELIEVED, &found, 0));
        });
    }

    fn mkdir(&mut self, request: &Request<'_>, parent: u64, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (name, owner) = (name.to_owned(), owner(request));
        self.now(move |folder| {
            // SAFETY: a live descriptor and a name that ends.
            let made = folder.make(parent, &name, owner, |fd, at| unsafe { libc::mkdirat(fd, at, mode & !umask) });
            answer!(reply, made, found => reply.entry(&BELIEVED, &found, 0));
        });
    }

    fn symlink(&mut self, request: &Request<'_>, parent: u64, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (name, owner, target) = (name.to_owned(), owner(request), words(target));
        self.now(move |folder| {
            // SAFETY: a live descriptor and names that end.
            let link = |words: std::ffi::CString| {
                folder.make(parent, &name, owner, |fd, at| unsafe { libc::symlinkat(words.as_ptr(), fd, at) })
            };
            answer!(reply, target.and_then(link), found => reply.entry(&BELIEVED, &found, 0));
        });
    }

    fn link(&mut self, _: &Request<'_>, of: u64, parent: u64, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.now(move |folder| answer!(reply, folder.link(of, parent, &name), found => reply.entry(&BELIEVED, &found, 0)));
    }

    fn unlink(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.now(move |folder| answer!(reply, folder.remove(parent, &name, 0), () => reply.ok()));
    }

    fn rmdir(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.now(move |folder| answer!(reply, folder.remove(parent, &name, libc::AT_REMOVEDIR), () => reply.ok()));
    }

    fn rename(&mut self, _: &Request<'_>, old: u64, name: &OsStr, new: u64, new_name: &OsStr, flags: u32, reply: ReplyEmpty) {
        let (from, to) = ((old, name.to_owned()), (new, new_name.to_owned()));
        self.now(move |folder| answer!(reply, folder.rename(from, to, flags), () => reply.ok()));
    }

    fn create(
        &mut self,
        request: &Request<'_>,
        parent: u64,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (name, owner) = (name.to_owned(), owner(request));
        self.now(move |folder| {
            let made = folder.create(parent, &name, mode & !umask, flags, owner);
            answer!(reply, made, (found, file) => reply.created(&BELIEVED, &found, 0, file, FOPEN_KEEP_CACHE));
        });
    }

    fn open(&mut self, _: &Request<'_>, number: u64, flags: i32, reply: ReplyOpen) {
        self.now(move |folder| answer!(reply, folder.open(number, flags), file => reply.opened(file, FOPEN_KEEP_CACHE)));
    }

    fn read(
        &mut self,
        _: &Request<'_>,
        _: u64,
        file: u64,
        offset: i64,
        bytes: u32,
        flags: i32,
        _: Option<u64>,
        reply: ReplyData,
    ) {
        self.held(move |folder| answer!(reply, folder.read(file, offset, bytes, flags), read => reply.data(read.bytes())));
    }

    fn write(
        &mut self,
        _: &Request<'_>,
        _: u64,
        file: u64,
        offset: i64,
        data: &[u8],
        write_flags: u32,
        flags: i32,
        _: Option<u64>,
        reply: ReplyWrite,
    ) {
        let data = Aligned::of(data);
        if write_flags & FUSE_WRITE_CACHE != 0 {
            self.now(move |folder| answer!(reply, folder.write(file, offset, &data, 0), bytes => reply.written(bytes)));
        } else {
            self.held(move |folder| answer!(reply, folder.write(file, offset, &data, flags), bytes => reply.written(bytes)));
        }
    }

    fn fsync(&mut self, _: &Request<'_>, _: u64, file: u64, data_only: bool, reply: ReplyEmpty) {
        self.held(move |folder| answer!(reply, folder.sync(file, data_only), () => reply.ok()));
    }

    fn fallocate(&mut self, _: &Request<'_>, _: u64, file: u64, offset: i64, bytes: i64, mode: i32, reply: ReplyEmpty) {
        self.now(move |folder| answer!(reply, folder.allocate(file, offset, bytes, mode), () => reply.ok()));
    }

    fn lseek(&mut self, _: &Request<'_>, _: u64, file: u64, offset: i64, whence: i32, reply: ReplyLseek) {
        self.now(move |folder| answer!(reply, folder.seek(file, offset, whence), at => reply.offset(at)));
    }

    fn copy_file_range(
        &mut self,
        _: &Request<'_>,
        _: u64,
        from: u64,
        from_at: i64,
        _: u64,
        to: u64,
        to_at: i64,
        bytes: u64,
        flags: u32,
        reply: ReplyWrite,
    ) {
        self.now(move |folder| answer!(reply, folder.copy((from, from_at), (to, to_at), bytes, flags), copied => reply.written(copied)));
    }

    fn release(&mut self, _: &Request<'_>, _: u64, file: u64, _: i32, _: Option<u64>, _: bool, reply: ReplyEmpty) {
        self.now(move |folder| {
            folder.files.close(file);
            reply.ok();
        });
    }

    fn opendir(&mut self, _: &Request<'_>, _: u64, _: i32, reply: ReplyOpen) {
        // Its names are read when they are first asked for, and again from the beginning on.
        reply.opened(self.folder.folders.add(Mutex::default()), 0);
    }

    fn readdir(&mut self, _: &Request<'_>, number: u64, opened: u64, offset: i64, mut reply: ReplyDirectory) {
        self.now(move |folder| {
            let listed = || {
                let opened = folder.folders.get(opened)?;
                let mut names = opened.lock().unwrap_or_else(PoisonError::into_inner);
                if offset == 0 {
                    *names = open::entries(&*folder.nodes.get(number)?)?;
                }
                for (at, entry) in names.iter().enumerate().skip(offset as usize) {
                    if reply.add(entry.number, at as i64 + 1, entry.kind, &entry.name) {
                        break;
                    }
                }
                Ok(())
            };
            let done = { listed }();
            answer!(reply, done, () => reply.ok());
        });
    }

    fn releasedir(&mut self, _: &Request<'_>, _: u64, opened: u64, _: i32, reply: ReplyEmpty) {
        self.folder.folders.close(opened);
        reply.ok();
    }

    fn fsyncdir(&mut self, _: &Request<'_>, number: u64, _: u64, _: bool, reply: ReplyEmpty) {
        self.held(move |folder| answer!(reply, folder.sync_folder(number), () => reply.ok()));
    }

    fn statfs(&mut self, _: &Request<'_>, number: u64, reply: ReplyStatfs) {
        self.now(move |folder| {
            answer!(reply, folder.room(number), room => reply.statfs(
                room.f_blocks, room.f_bfree, room.f_bavail, room.f_files, room.f_ffree, room.f_bsize as u32, room.f_namemax as u32,
                room.f_frsize as u32,
            ));
        });
    }
}
