//! Which lanes a replay takes: built once from its options, then one lane after another.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::datagram::Datagram;
use super::disk::{Disk, Way as DiskWay};
use super::null::Null;
use super::ring::Ring;
use super::stream::Stream;
use super::worker::{Bench, Names, Worker};
use super::{Lane, Security};
use crate::driver::{Protocol, Reads, Verb, Wire};

pub enum Way {
    Stream {
        protocol: Arc<dyn Protocol>,
        security: Option<Arc<Security>>,
        stamp_every: u32,
    },
    Datagram(Arc<Wire>),
    Disk(Arc<Disk>),
    Null,
    /// Threads of somebody else's: their ends are left here to be fetched.
    Workers {
        names: Arc<Names>,
        benches: Mutex<Vec<Bench>>,
    },
}

impl Way {
    pub fn workers() -> Self {
        Way::Workers { names: Arc::default(), benches: Mutex::default() }
    }

    pub fn verb(&self, op: &str) -> Verb {
        match self {
            Way::Stream { protocol, .. } => protocol.verb(op),
            Way::Disk(_) => Disk::verb(op),
            Way::Workers { names, .. } => names.verb(op),
            Way::Datagram(_) | Way::Null => 0,
        }
    }

    pub fn reads(&self) -> Reads {
        match self {
            Way::Stream { protocol, .. } => protocol.reads(),
            Way::Workers { .. } => Reads { targets: true, tokens: false },
            Way::Datagram(_) | Way::Disk(_) | Way::Null => Reads::default(),
        }
    }

    /// One lane; what it has to do without is added to `notes`, once.
    ///
    /// # Errors
    /// The kernel has no descriptor or thread for it.
    pub fn lane(
        &self,
        address: SocketAddr,
        pipeline: usize,
        timeout_ns: i64,
        notes: &mut Vec<String>,
    ) -> std::io::Result<Box<dyn Lane>> {
        Ok(match self {
            Way::Stream { protocol, security, stamp_every } => {
                Box::new(Stream::new(address, &**protocol, pipeline, timeout_ns, security.clone()).stamped(*stamp_every))
            }
            Way::Datagram(wire) => Box::new(Datagram::new(address, wire.clone(), pipeline, timeout_ns)),
            Way::Null => Box::new(Null::new(timeout_ns)),
            Way::Workers { benches, .. } => {
                let (lane, bench) = Worker::new(timeout_ns)?;
                benches.lock().unwrap_or_else(PoisonError::into_inner).push(bench);
                Box::new(lane)
            }
            Way::Disk(disk) => match disk.way {
                DiskWay::Threads => Box::new(Worker::on_disk(disk.clone(), timeout_ns)?),
                DiskWay::Ring => Box::new(Ring::new(disk.clone(), pipeline, timeout_ns)?),
                DiskWay::Auto => match Ring::new(disk.clone(), pipeline, timeout_ns) {
                    Ok(ring) => Box::new(ring),
                    Err(e) => {
                        let note = format!("no io_uring ({e}): a thread for each connection reads and writes");
                        if !notes.contains(&note) {
                            notes.push(note);
                        }
                        Box::new(Worker::on_disk(disk.clone(), timeout_ns)?)
                    }
                },
            },
        })
    }

    /// What was done otherwise than asked, in words, at the end of a run.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Way::Disk(disk) => disk.notes(),
            _ => Vec::new(),
        }
    }
}
