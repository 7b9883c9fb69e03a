//! Datagrams: each sender has a socket of its own onward, by which the answers find back.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use super::page::Page;
use super::sockets::{datagrams_to, dropped};
use super::{token, Kind, Route, Work};
use crate::clock::now_ns;

const LARGEST: usize = 65_535;
/// Datagrams taken in before others have their turn.
const TURN: usize = 64;
/// At a rate more than this ahead is dropped, as the queue of a link would.
const QUEUE_NS: i64 = 50_000_000;
/// Senders known at a time; the oldest is forgotten for a new one.
const MOST_SENDERS: usize = 4096;

/// Of a socket that loses what arrives: how much so far.
#[derive(Default)]
struct Losses(u64);

impl Losses {
    /// After so many more datagrams that were taken in.
    fn count(&mut self, socket: &UdpSocket, taken_in: u64, page: &Page) {
        let now = dropped(socket.as_raw_fd());
        let more = now.saturating_sub(self.0);
        self.0 = now;
        Page::add(&page.arrived, taken_in + more);
        Page::add(&page.lost, more);
    }
}

struct Peer {
    losses: Losses,
    route: usize,
    sender: SocketAddr,
    socket: UdpSocket,
}

struct Held {
    due_ns: i64,
    peer: usize,
    direction: usize,
    bytes: Vec<u8>,
}

pub struct Datagrams {
    peers: Vec<Peer>,
    known: HashMap<(usize, SocketAddr), usize>,
    oldest: usize,
    /// One queue each way, shaped or not: kept in the order of arrival.
    held: [VecDeque<Held>; 2],
    last_due_ns: [i64; 2],
    scratch: Box<[u8]>,
    /// By route.
    losses: HashMap<usize, Losses>,
}

impl Datagrams {
    pub fn new() -> Self {
        Datagrams {
            peers: Vec::new(),
            known: HashMap::new(),
            oldest: 0,
            held: [VecDeque::new(), VecDeque::new()],
            last_due_ns: [0; 2],
            scratch: vec![0; LARGEST].into_boxed_slice(),
            losses: HashMap::new(),
        }
    }

    pub fn come_in(&mut self, at: usize, route: &Route, page: &Page, work: &mut Work) {
        let Some(socket) = &route.datagrams else { return };
        for turn in 0..=TURN {
            let got = if turn < TURN { socket.recv_from(&mut self.scratch).ok() } else { None };
            let Some((bytes, sender)) = got else {
                if route.lost > 0.0 {
                    self.losses.entry(at).or_default().count(socket, turn as u64, page);
                }
                if turn == TURN {
                    break;
                }
                return;
            };
            match self.peer_of(at, sender, route, work) {
                Some(peer) => self.hold(peer, 0, bytes, route, page, work),
                None => Page::add(&page.refused, 1),
            }
        }
        work.wake_at(now_ns(), token(Kind::Datagrams, at, 0));
    }

    pub fn come_back(&mut self, at: usize, routes: &[Route], page: &Page, work: &mut Work) {
        for turn in 0..=TURN {
            // An error is an answer too (nobody listens there), which a datagram's sender does not get to know.
            let got = if turn < TURN { self.peers[at].socket.recv(&mut self.scratch).ok() } else { None };
            let Some(bytes) = got else {
                let peer = &mut self.peers[at];
                if routes[peer.route].lost > 0.0 {
                    peer.losses.count(&peer.socket, turn as u64, page);
                }
                if turn == TURN {
                    break;
                }
                return;
            };
            self.hold(at, 1, bytes, &routes[self.peers[at].route], page, work);
        }
        work.wake_at(now_ns(), token(Kind::Peer, at, 0));
    }

    fn peer_of(&mut self, at: usize, sender: SocketAddr, route: &Route, work: &mut Work) -> Option<usize> {
        if let Some(&known) = self.known.get(&(at, sender)) {
            return Some(known);
        }
        let peer = Peer { losses: Losses::default(), route: at, sender, socket: datagrams_to(&route.onward, route.lost).ok()? };
        let place = if self.peers.len() < MOST_SENDERS { self.peers.len() } else { self.oldest };
        work.poll.watch(peer.socket.as_raw_fd(), token(Kind::Peer, place, 0)).ok()?;
        if place == self.peers.len() {
            self.peers.push(peer);
        } else {
            self.oldest = (self.oldest + 1) % MOST_SENDERS;
            let gone = std::mem::replace(&mut self.peers[place], peer);
            self.known.remove(&(gone.route, gone.sender));
            // What is held for it must not go to whoever has its place now.
            self.held.iter_mut().for_each(|held| held.retain(|each| each.peer != place));
        }
        self.known.insert((at, sender), place);
        Some(place)
    }

    fn hold(&mut self, peer: usize, direction: usize, bytes: usize, route: &Route, page: &Page, work: &mut Work) {
        let (now, shape) = (now_ns(), page.shape(route.shaped));
        if shape.bytes_per_s > 0 && work.taken_until_ns[direction] > now + QUEUE_NS {
            Page::add(&page.dropped, 1);
            return;
        }
        let due = work.due(&shape, direction, bytes, now).max(self.last_due_ns[direction]);
        if due <= now && self.held[direction].is_empty() {
            return self.send(peer, direction, bytes, route, page);
        }
        self.last_due_ns[direction] = due;
        if self.held[direction].is_empty() {
            work.wake_at(due, token(Kind::Held, direction, 0));
        }
        self.held[direction].push_back(Held { due_ns: due, peer, direction, bytes: self.scratch[..bytes].to_vec() });
    }

    fn send(&self, peer: usize, direction: usize, bytes: usize, route: &Route, page: &Page) {
        pass_on(&self.peers[peer], direction, &self.scratch[..bytes], route, page);
    }

    pub fn let_go(&mut self, direction: usize, routes: &[Route], page: &Page, work: &mut Work) {
        let now = now_ns();
        while let Some(held) = self.held[direction].front().filter(|held| held.due_ns <= now) {
            let peer = &self.peers[held.peer];
            page.late(now - held.due_ns);
            pass_on(peer, held.direction, &held.bytes, &routes[peer.route], page);
            self.held[direction].pop_front();
        }
        if let Some(held) = self.held[direction].front() {
            work.wake_at(held.due_ns, token(Kind::Held, direction, 0));
        }
    }
}

/// A datagram that cannot be sent is lost, as datagrams may be, and counted.
fn pass_on(peer: &Peer, direction: usize, bytes: &[u8], route: &Route, page: &Page) {
    let sent = match (direction, &route.datagrams) {
        (0, _) => peer.socket.send(bytes),
        (_, Some(socket)) => socket.send_to(bytes, peer.sender),
        (_, None) => return,
    };
    if sent.is_err() {
        Page::add(&page.dropped, 1);
    } else if route.shaped {
        Page::add(&page.datagrams[direction], 1);
        Page::add(&page.bytes[direction], bytes.len() as u64);
    }
}
