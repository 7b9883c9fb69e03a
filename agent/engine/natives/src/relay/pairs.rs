//! Connections: each that comes in is one with another that goes on, and two flows between them.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd as _;

use super::page::{Page, Shape};
use super::sockets::{dial, dropped, prepare, segments_in, will_reset};
use super::{token, Kind, Route, Work};
use crate::clock::now_ns;

const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that one flow may take in before others have their turn.
const TURN: usize = 8;
/// How far ahead the paced way may be taken before its senders have to wait.
const AHEAD_NS: i64 = 4_000_000;
/// How often it is asked what a connection lost: two questions for each end.
const COUNT_NS: i64 = 10_000_000;
const SMALLEST_CHUNK: usize = 1448;

/// Bytes on their way; none of them: the sender has ended.
struct Held {
    due_ns: i64,
    bytes: Vec<u8>,
    at: usize,
}

#[derive(Default)]
struct Flow {
    held: VecDeque<Held>,
    held_bytes: usize,
    ended: bool,
    /// The end was, after all before it.
    passed_on: bool,
    last_due_ns: i64,
    woken_at_ns: i64,
}

struct Pair {
    ends: [TcpStream; 2],
    readable: [bool; 2],
    writable: [bool; 2],
    flows: [Flow; 2],
    shaped: bool,
    most_held: usize,
    /// Of a pair that loses packets: when they were last counted, and at each end what had been taken in and lost by then.
    counted: Option<(i64, [(u64, u64); 2])>,
}

#[derive(Default)]
pub struct Pairs {
    pairs: Vec<Option<Pair>>,
    vacant: Vec<usize>,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
}

impl Pairs {
    pub fn accept(&mut self, route: &Route, page: &Page, work: &mut Work) {
        while let Ok((client, _)) = route.listener.accept() {
            let at = self.vacant.pop().unwrap_or(self.pairs.len());
            if at == self.pairs.len() {
                self.pairs.push(None);
            }
            match join(client, route, at, work) {
                Ok(pair) => {
                    Page::add(&page.connections, u64::from(route.shaped));
                    self.pairs[at] = Some(pair);
                }
                Err(_) => {
                    Page::add(&page.refused, 1);
                    self.vacant.push(at);
                }
            }
        }
    }

    /// There is news of one end, or the time of something held has come.
    pub fn go_on(&mut self, at: usize, end: usize, events: u32, page: &Page, work: &mut Work) {
        let Some(pair) = self.pairs.get_mut(at).and_then(Option::as_mut) else { return };
        if events & (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0 {
            pair.readable[end] = true;
        }
        if events & (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0 {
            pair.writable[end] = true;
        }
        let shape = page.shape(pair.shaped);
        let moved = pair.pump(0, at, &shape, page, work, &mut self.spare).and_then(|()| {
            pair.pump(1, at, &shape, page, work, &mut self.spare)?;
            Ok(pair.flows.iter().all(|flow| flow.passed_on))
        });
        match moved {
            Ok(false) => pair.count(COUNT_NS, page),
            Ok(true) => {
                pair.count(0, page);
                self.forget(at);
            }
            Err(_) => {
                pair.count(0, page);
                pair.ends.iter().for_each(will_reset);
                self.forget(at);
            }
        }
    }

    fn forget(&mut self, at: usize) {
        self.pairs[at] = None;
        self.vacant.push(at);
    }
}

fn join(client: TcpStream, route: &Route, at: usize, work: &mut Work) -> io::Result<Pair> {
    client.set_nonblocking(true)?;
    prepare(&client);
    let onward = match dial(&route.onward, route.lost) {
        Ok(onward) => onward,
        Err(error) => {
            will_reset(&client);
            return Err(error);
        }
    };
    work.poll.watch(client.as_raw_fd(), token(Kind::Pair, at, 0))?;
    work.poll.watch(onward.as_raw_fd(), token(Kind::Pair, at, 1))?;
    Ok(Pair {
        ends: [client, onward],
        readable: [false; 2],
        writable: [false; 2],
        flows: [Flow::default(), Flow::default()],
        shaped: route.shaped,
        most_held: route.most_held,
        counted: (route.lost > 0.0).then_some((0, [(0, 0); 2])),
    })
}

impl Pair {
    /// Direction 0 is to the system. Takes in what has come and passes on what is due; an error is the end of the pair.
    fn pump(
        &mut self,
        direction: usize,
        at: usize,
        shape: &Shape,
        page: &Page,
        work: &mut Work,
        spare: &mut Vec<Vec<u8>>,
    ) -> io::Result<()> {
        let now = now_ns();
        let mut wait_ns = self.take_in(direction, shape, work, spare, now)?;
        let was_full = self.flows[direction].held_bytes >= self.most_held;
        self.pass_on(direction, page, spare, now_ns())?;
        let flow = &mut self.flows[direction];
        if was_full && flow.held_bytes < self.most_held {
            wait_ns = Some(now);
        }
        let due = flow.held.front().map(|held| held.due_ns).filter(|_| self.writable[1 - direction]);
        if let Some(wake) = [due, wait_ns].into_iter().flatten().min() {
            // One wake for a time is enough, and one that comes earlier looks again.
            if flow.woken_at_ns <= now || wake < flow.woken_at_ns {
                flow.woken_at_ns = wake;
                work.wake_at(wake, token(Kind::Pair, at, direction));
            }
        }
        Ok(())
    }

    /// Adds what has arrived and was lost since, unless that was less than so long ago.
    fn count(&mut self, least_ns: i64, page: &Page) {
        let Some((at_ns, before)) = &mut self.counted else { return };
        let now = now_ns();
        if now - *at_ns < least_ns {
            return;
        }
        *at_ns = now;
        for (end, had) in self.ends.iter().zip(before) {
            let have = (segments_in(end.as_raw_fd()), dropped(end.as_raw_fd()));
            Page::add(&page.arrived, (have.0 + have.1).saturating_sub(had.0 + had.1));
            Page::add(&page.lost, have.1.saturating_sub(had.1));
            *had = have;
        }
    }

    /// Returns when to look again, where something was left on purpose.
    fn take_in(
        &mut self,
        direction: usize,
        shape: &Shape,
        work: &mut Work,
        spare: &mut Vec<Vec<u8>>,
        now: i64,
    ) -> io::Result<Option<i64>> {
        let flow = &mut self.flows[direction];
        // At a rate a chunk is what passes in a millisecond, so that one does not hold up the others for long.
        let chunk = match shape.bytes_per_s {
            0 => CHUNK_BYTES,
            rate => (rate / 1000).clamp(SMALLEST_CHUNK as u64, CHUNK_BYTES as u64) as usize,
        };
        let mut turn = 0;
        while self.readable[direction] && !flow.ended && flow.held_bytes < self.most_held {
            if shape.bytes_per_s > 0 && work.taken_until_ns[direction] > now + AHEAD_NS {
                return Ok(Some(work.taken_until_ns[direction] - AHEAD_NS / 2));
            }
            if turn == TURN {
                return Ok(Some(now));
            }
            turn += 1;
            let mut bytes = spare.pop().unwrap_or_default();
            bytes.resize(chunk, 0);
            match self.ends[direction].read(&mut bytes) {
                Ok(n) => {
                    bytes.truncate(n);
                    flow.ended = n == 0;
                    flow.held_bytes += n;
                    let due_ns = work.due(shape, direction, n, now).max(flow.last_due_ns);
                    flow.last_due_ns = due_ns;
                    flow.held.push_back(Held { due_ns, bytes, at: 0 });
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.readable[direction] = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    fn pass_on(&mut self, direction: usize, page: &Page, spare: &mut Vec<Vec<u8>>, now: i64) -> io::Result<()> {
        let (flow, onward) = (&mut self.flows[direction], 1 - direction);
        while self.writable[onward] && flow.held.front().is_some_and(|held| held.due_ns <= now) {
            let Some(held) = flow.held.front_mut() else { break };
            if held.bytes.is_empty() {
                flow.passed_on = true;
                flow.held.clear();
                return match self.ends[onward].shutdown(Shutdown::Write) {
                    Err(e) if e.kind() != io::ErrorKind::NotConnected => Err(e),
                    _ => Ok(()),
                };
            }
            match self.ends[onward].write(&held.bytes[held.at..]) {
                Ok(n) => {
                    held.at += n;
                    flow.held_bytes -= n;
                    if self.shaped {
                        Page::add(&page.bytes[direction], n as u64);
                        page.late(now - held.due_ns);
                    }
                    if held.at == held.bytes.len() {
                        spare.extend(flow.held.pop_front().map(|held| held.bytes).filter(|_| spare.len() < 64));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable[onward] = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
