//! Lanes: the ways by which requests leave and answers come. A lane is a TCP connection, a UDP socket, a ring of disk reads, a worker
//! thread; the pacer deals requests to lanes and knows no more of them than this.

mod datagram;
mod disk;
mod kernel_stamps;
mod line;
mod null;
mod ring;
mod stream;
mod tls;
mod way;
pub mod worker;

use std::os::fd::RawFd;

pub use disk::Disk;
pub use line::Request;
pub use tls::{Security, Trust};
pub use way::Way;

use crate::driver::{Moved, Verb};
use crate::tally::Book;

/// What the pacer must do with the poll after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    Same,
    ReadOnly,
    ReadWrite,
    Gone,
}

/// A request that its lane has given up to another.
pub struct Orphan {
    pub request: Request,
    /// Where the server says that it belongs.
    pub moved: Option<Moved>,
}

/// What a lane counts from the start of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// Requests taken of which nothing has left, now.
    pub unwritten: u64,
    pub partial_writes: u64,
    pub reconnects: u64,
}

pub trait Lane: Send {
    /// The descriptor to watch, if there is one now.
    fn fd(&self) -> Option<RawFd>;
    fn is_up(&self) -> bool;
    /// Whether one more request may be given.
    fn takes(&self) -> bool;
    /// When it last became able to take a request that it had to refuse before.
    fn freed_ns(&self) -> i64;
    /// Takes a request. `ready_ns`: when it was both due and allowed to go.
    fn take(&mut self, request: Request, ready_ns: i64, verb: Verb);
    /// Offers the kernel what has been taken; one system call for all that was due together.
    fn flush(&mut self, book: &mut Book, orphans: &mut Vec<Orphan>) -> Watch;
    fn readable(&mut self, buffer: &mut [u8], book: &mut Book, orphans: &mut Vec<Orphan>) -> Watch;
    fn writable(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Orphan>) -> Watch;
    /// Ends what is overdue.
    fn expire(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Orphan>) -> Watch;
    /// It cannot go on: what is under way ends as an error.
    fn fail(&mut self, now: i64, book: &mut Book, orphans: &mut Vec<Orphan>);
    /// The run was stopped: what has left ends as stopped, what has not as unsent.
    fn abandon(&mut self, now: i64, book: &mut Book);
    fn gauges(&self) -> Gauges;
    /// Opens it if it is down and the time has come; true when there is a new descriptor, to be watched for writing.
    fn dial_if_due(&mut self, _now: i64) -> bool {
        false
    }
    /// An attempt to open it has lasted too long, or its descriptor cannot be watched.
    fn refused(&mut self, _errno: Option<i32>, _now: i64) {}
    fn is_dialing(&self) -> bool {
        false
    }
    fn give_up_dialing(&mut self, _now: i64) {}
    /// Why the last attempt to open it failed.
    fn refusal(&self) -> Option<Refusal> {
        None
    }
    /// A request sent here for this once is to be announced (Redis Cluster).
    fn asking(&mut self) {}
}

/// Why a lane could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub errno: i32,
    /// In the peer's words, or those of TLS.
    pub words: Option<String>,
}
