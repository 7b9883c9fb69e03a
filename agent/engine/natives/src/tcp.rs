//! The intake of connections: requests of all of them in the order in which their bytes came.
//!
//! epoll is edge-triggered because of that order: its ready list then holds each socket where its news came, whereas a
//! level-triggered one stays in its old place until it is found dry.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};

use crate::asked_to_stop;
use crate::clock::now_ns;
use crate::inbox::Inbox;
use crate::protocol::{Found, Protocol};
use crate::queue::{Intake, Job, MOST_WAITING};

const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;
const EVENTS: usize = 256;
const READ_BYTES: usize = 64 * 1024;
const LARGEST_REQUEST: usize = 128 << 20;
/// Beyond so many bytes of waiting requests nothing more is read.
const MOST_HELD: usize = 512 << 20;
/// A client that leaves so much of its answers unread is let go.
const MOST_OUT: usize = 256 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Will ask nothing more, and may still wait for answers.
    Ended,
    /// What it says cannot be read, for this reason; it is told so after the answers that it waits for.
    Broken(&'static str),
    /// Was answered for the last time; only bytes are left to write.
    Leaving,
    Gone,
}

struct Client {
    stream: TcpStream,
    inbox: Inbox,
    /// Its requests in the queue.
    waiting: usize,
    out: Vec<u8>,
    out_at: usize,
    state: State,
}

impl Client {
    fn flush(&mut self) {
        while self.out_at < self.out.len() {
            match self.stream.write(&self.out[self.out_at..]) {
                Ok(n) => self.out_at += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && self.out.len() - self.out_at <= MOST_OUT => return,
                Err(_) => {
                    self.state = State::Gone;
                    return;
                }
            }
        }
        self.out.clear();
        self.out_at = 0;
    }
}

pub struct TcpIntake<P> {
    protocol: P,
    listener: TcpListener,
    epoll: OwnedFd,
    stop_fd: i32,
    events: Box<[libc::epoll_event]>,
    clients: Vec<Option<Client>>,
    vacant: Vec<usize>,
    held: usize,
    scratch: Box<[u8]>,
    connections: u64,
}

impl<P: Protocol> TcpIntake<P> {
    pub fn new(listener: TcpListener, protocol: P, stop_fd: i32) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // SAFETY: a flag in, a descriptor or -1 out.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        let intake = TcpIntake {
            protocol,
            listener,
            // SAFETY: made above, owned by nobody else.
            epoll: unsafe { OwnedFd::from_raw_fd(epoll) },
            stop_fd,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS].into_boxed_slice(),
            clients: Vec::new(),
            vacant: Vec::new(),
            held: 0,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            connections: 0,
        };
        intake.watch(intake.listener.as_raw_fd(), libc::EPOLLIN, LISTENER)?;
        intake.watch(stop_fd, libc::EPOLLIN, STOP)?;
        Ok(intake)
    }

    fn watch(&self, fd: i32, events: i32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: event outlives the call.
        match unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn accept_all(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let at = self.vacant.pop().unwrap_or(self.clients.len());
            let ready = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).and_then(|()| {
                let news = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
                self.watch(stream.as_raw_fd(), news, at as u64)
            });
            if at == self.clients.len() {
                self.clients.push(None);
            }
            if ready.is_err() {
                self.vacant.push(at);
                continue;
            }
            self.connections += 1;
            let (inbox, out) = (Inbox::default(), Vec::new());
            self.clients[at] = Some(Client { stream, inbox, waiting: 0, out, out_at: 0, state: State::Open });
        }
    }

    /// Reads one client dry, as edge-triggered news ask for. A short read is a dry one, unless the news was that the client's
    /// end has come: of that there is no second news.
    fn read(&mut self, at: usize, ending: bool, seen_ns: i64, queue: &mut VecDeque<Job>) {
        let Some(client) = &mut self.clients[at] else { return };
        client.flush();
        while client.state == State::Open {
            match client.stream.read(&mut self.scratch) {
                Ok(0) => client.state = State::Ended,
                Ok(n) => {
                    self.held += n;
                    client.inbox.append(&self.scratch[..n]);
                    frame(&mut self.protocol, client, at, seen_ns, queue);
                    if n < self.scratch.len() && !ending {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => client.state = State::Gone,
            }
        }
        self.settle(at);
    }

    /// Parts from a client that waits for nothing any more.
    fn settle(&mut self, at: usize) {
        let Some(client) = &mut self.clients[at] else { return };
        if client.waiting > 0 {
            return;
        }
        if let State::Broken(why) = client.state {
            client.state = State::Leaving;
            self.protocol.refuse(why, &mut client.out);
            client.flush();
        }
        let over = match client.state {
            State::Gone => true,
            State::Ended | State::Leaving => client.out.is_empty(),
            State::Open | State::Broken(_) => false,
        };
        if over {
            self.held -= client.inbox.held();
            self.clients[at] = None;
            self.vacant.push(at);
        }
    }
}

/// Queues the whole requests of what a client has said.
fn frame(protocol: &mut impl Protocol, client: &mut Client, at: usize, seen_ns: i64, queue: &mut VecDeque<Job>) {
    loop {
        match protocol.read(client.inbox.rest()) {
            Found::Request { used, told_ns } => {
                client.inbox.frame(used);
                client.waiting += 1;
                queue.push_back(Job { client: at, bytes: used, told_ns, seen_ns });
            }
            Found::NeedMore if client.inbox.rest().len() > LARGEST_REQUEST => {
                client.state = State::Broken("request too large");
                return;
            }
            Found::NeedMore => return,
            Found::Broken(why) => {
                client.state = State::Broken(why);
                return;
            }
        }
    }
}

impl<P: Protocol> Intake for TcpIntake<P> {
    fn take(&mut self, wait_ms: i32, queue: &mut VecDeque<Job>) -> io::Result<bool> {
        if !queue.is_empty() && (queue.len() >= MOST_WAITING || self.held > MOST_HELD) {
            return Ok(!asked_to_stop(self.stop_fd));
        }
        // SAFETY: the buffer has as many entries as said.
        let n = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), EVENTS as i32, wait_ms) };
        if n < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(true) } else { Err(error) };
        }
        let seen_ns = now_ns();
        for i in 0..n as usize {
            match self.events[i].u64 {
                STOP => return Ok(false),
                LISTENER => self.accept_all(),
                token => {
                    let ending = self.events[i].events & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0;
                    self.read(token as usize, ending, seen_ns, queue);
                }
            }
        }
        Ok(true)
    }

    fn is_gone(&self, job: &Job) -> bool {
        self.clients[job.client].as_ref().is_none_or(|c| matches!(c.state, State::Leaving | State::Gone))
    }

    fn finish(&mut self, job: Job) {
        let gone = self.is_gone(&job);
        let Some(client) = &mut self.clients[job.client] else { return };
        if !gone {
            if !self.protocol.answer(client.inbox.front(job.bytes), &mut client.out) {
                client.state = State::Leaving;
            }
            client.flush();
        }
        client.waiting -= 1;
        client.inbox.drop_front(job.bytes);
        self.held -= job.bytes;
        self.settle(job.client);
    }

    fn connections(&self) -> u64 {
        self.connections
    }
}
