//! The built-in pair of systems under test: one store and protocol, two ways to wait for work.
//!
//! `spin` is the specialised one: it pins itself to a core that it assumes to own and looks at its sockets without ever sleeping.
//! `block` is the general one: it sleeps in epoll, pins nothing unless told a core, and asks the scheduler for a short
//! slice, so that waking it preempts whoever shares the core.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::resp::{error, execute, read_command, Read};
use crate::store::Store;
use crate::{asked_to_stop, sched};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Spin,
    Block,
}

pub struct Served {
    pub connections: u64,
    pub commands: u64,
    /// Slice that the scheduler granted, in nanoseconds; 0: not asked, or refused.
    pub slice_ns: u64,
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    out: Vec<u8>,
    out_at: usize,
    closing: bool,
}

const READ_BYTES: usize = 64 * 1024;
/// A client that does not read its answers is not read from until it does.
const MOST_OUT_BYTES: usize = 16 << 20;
const LISTEN_EVERY: u32 = 1024;
const SLICE_NS: u64 = 100_000;
const LOOK_AT_STOP_EVERY: Duration = Duration::from_millis(10);

enum Life {
    Idle,
    Worked,
    Gone,
}

impl Client {
    fn serve(&mut self, store: &mut Store, about: &str, served: &mut Served, words: &mut Vec<(usize, usize)>) -> Life {
        if self.pending() > 0 && !self.flush() {
            return Life::Gone;
        }
        if self.pending() > MOST_OUT_BYTES {
            return Life::Idle;
        }
        let before = self.input.len();
        self.input.resize(before + READ_BYTES, 0);
        let read = self.stream.read(&mut self.input[before..]);
        self.input.truncate(before + read.as_ref().map_or(0, |n| *n));
        match read {
            Ok(0) => return Life::Gone,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return Life::Idle,
            Err(_) => return Life::Gone,
        }
        let mut at = 0;
        while !self.closing {
            match read_command(&self.input[at..], words) {
                Read::NeedMore => break,
                Read::Broken(why) => {
                    error(&format!("Protocol error: {why}"), &mut self.out);
                    self.closing = true;
                }
                Read::Command { used } => {
                    let input = &self.input[at..];
                    let mut slices: [&[u8]; 8] = [&[]; 8];
                    if words.len() <= slices.len() {
                        for (slot, (from, to)) in slices.iter_mut().zip(words.iter()) {
                            *slot = &input[*from..*to];
                        }
                        self.closing = !execute(&slices[..words.len()], store, about, &mut self.out);
                    } else {
                        let slices: Vec<&[u8]> = words.iter().map(|(from, to)| &input[*from..*to]).collect();
                        self.closing = !execute(&slices, store, about, &mut self.out);
                    }
                    served.commands += 1;
                    at += used;
                }
            }
        }
        self.input.drain(..at);
        if !self.flush() || self.closing && self.pending() == 0 {
            return Life::Gone;
        }
        Life::Worked
    }

    fn pending(&self) -> usize {
        self.out.len() - self.out_at
    }

    fn flush(&mut self) -> bool {
        while self.out_at < self.out.len() {
            match self.stream.write(&self.out[self.out_at..]) {
                Ok(n) => self.out_at += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.out.clear();
        self.out_at = 0;
        true
    }
}

/// The slice that we were granted; 0: refused.
pub(crate) fn ask_for_short_slice() -> u64 {
    sched::ask(0, SLICE_NS).and_then(|()| sched::granted_slice_ns()).unwrap_or(0)
}

fn accept(listener: &TcpListener) -> Option<Client> {
    let (stream, _) = listener.accept().ok()?;
    stream.set_nonblocking(true).ok()?;
    stream.set_nodelay(true).ok()?;
    let input = Vec::with_capacity(2 * READ_BYTES);
    Some(Client { stream, input, out: Vec::with_capacity(READ_BYTES), out_at: 0, closing: false })
}

/// Serves until `stop_fd` is closed at its other end. The listener must be bound already.
pub fn serve(listener: TcpListener, mode: Mode, core: Option<usize>, stop_fd: i32) -> io::Result<Served> {
    listener.set_nonblocking(true)?;
    let mut served = Served { connections: 0, commands: 0, slice_ns: 0 };
    if let Some(core) = core {
        sched::pin(core)?;
    }
    match mode {
        Mode::Spin => spin(&listener, stop_fd, &mut served),
        Mode::Block => {
            served.slice_ns = ask_for_short_slice();
            block(&listener, stop_fd, &mut served)?;
        }
    }
    Ok(served)
}

fn spin(listener: &TcpListener, stop_fd: i32, served: &mut Served) {
    let mut clients: Vec<Client> = Vec::new();
    let mut store = Store::default();
    let mut words = Vec::new();
    let about = "# Server\r\nmode:spin\r\n";
    let mut rounds = 0u32;
    let mut looked = Instant::now();
    loop {
        if rounds % LISTEN_EVERY == 0 {
            while let Some(client) = accept(listener) {
                clients.push(client);
                served.connections += 1;
            }
            if looked.elapsed() > LOOK_AT_STOP_EVERY {
                looked = Instant::now();
                if asked_to_stop(stop_fd) {
                    return;
                }
            }
        }
        rounds = rounds.wrapping_add(1);
        clients.retain_mut(|c| !matches!(c.serve(&mut store, about, served, &mut words), Life::Gone));
    }
}

fn block(listener: &TcpListener, stop_fd: i32, served: &mut Served) -> io::Result<()> {
    const LISTENER: u64 = u64::MAX;
    const STOP: u64 = u64::MAX - 1;
    // SAFETY: a flag in, a descriptor or -1 out.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if epoll < 0 {
        return Err(io::Error::last_os_error());
    }
    let control = |op, fd, token: u64, write: bool| {
        let events = libc::EPOLLIN | if write { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: event outlives the call.
        unsafe { libc::epoll_ctl(epoll, op, fd, &mut event) }
    };
    control(libc::EPOLL_CTL_ADD, listener.as_raw_fd(), LISTENER, false);
    control(libc::EPOLL_CTL_ADD, stop_fd, STOP, false);
    let about = format!("# Server\r\nmode:block\r\nslice_ns:{}\r\n", served.slice_ns);
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut store = Store::default();
    let mut words = Vec::new();
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 256];
    'serving: loop {
        // SAFETY: the buffer has as many entries as said.
        let n = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as i32, -1) };
        for event in &events[..usize::try_from(n).unwrap_or(0)] {
            match event.u64 {
                STOP => break 'serving,
                LISTENER => {
                    while let Some(client) = accept(listener) {
                        let token = clients.iter().position(Option::is_none).unwrap_or(clients.len());
                        control(libc::EPOLL_CTL_ADD, client.stream.as_raw_fd(), token as u64, false);
                        if token == clients.len() {
                            clients.push(Some(client));
                        } else {
                            clients[token] = Some(client);
                        }
                        served.connections += 1;
                    }
                }
                token => {
                    let slot = &mut clients[token as usize];
                    let Some(client) = slot else { continue };
                    let waited = client.pending() > 0;
                    if let Life::Gone = client.serve(&mut store, &about, served, &mut words) {
                        *slot = None;
                        continue;
                    }
                    if waited != (client.pending() > 0) {
                        control(libc::EPOLL_CTL_MOD, client.stream.as_raw_fd(), token, client.pending() > 0);
                    }
                }
            }
        }
    }
    // SAFETY: made above, used nowhere else.
    unsafe { libc::close(epoll) };
    Ok(())
}
