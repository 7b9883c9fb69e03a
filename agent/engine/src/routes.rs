//! Which lane a request takes, and where it waits when none is free. One group of lanes for each server; a Redis Cluster has several.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::driver::append_key;
use crate::feed::Row;
use crate::lane::Request;

pub const SLOTS: usize = 16_384;

/// Where the slots of a cluster lie.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub addresses: Vec<SocketAddr>,
    /// Place among `addresses`, by slot.
    pub slots: Vec<u16>,
}

#[derive(Default)]
struct Group {
    lanes: Vec<usize>,
    turn: usize,
    /// Requests that any lane of the group may take.
    backlog: VecDeque<Request>,
}

pub struct Routes {
    groups: Vec<Group>,
    cluster: Option<Cluster>,
    /// Requests that only this lane may take, by lane: those of sessions.
    held: Vec<VecDeque<Request>>,
    waiting: usize,
    key: Vec<u8>,
}

/// CRC16 as Redis Cluster hashes keys (XMODEM: polynomial 0x1021, from 0).
fn crc16(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = {
        let mut table = [0u16; 256];
        let mut at = 0;
        while at < 256 {
            let mut crc = (at as u16) << 8;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 };
                bit += 1;
            }
            table[at] = crc;
            at += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, byte| crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

impl Routes {
    pub fn new(cluster: Option<Cluster>) -> Self {
        let groups = cluster.as_ref().map_or(1, |c| c.addresses.len());
        let groups = (0..groups).map(|_| Group::default()).collect();
        Routes { groups, cluster, held: Vec::new(), waiting: 0, key: Vec::new() }
    }

    /// Address of each group; None: the one that the replay was given.
    pub fn addresses(&self) -> Vec<Option<SocketAddr>> {
        match &self.cluster {
            None => vec![None],
            Some(cluster) => cluster.addresses.iter().copied().map(Some).collect(),
        }
    }

    /// A lane has been opened to a group's server; lanes are numbered in the order of these calls.
    pub fn add_lane(&mut self, group: usize) {
        self.groups[group].lanes.push(self.held.len());
        self.held.push(VecDeque::new());
    }

    /// The group of an address, made if there is none; true: made, and its lanes are still to be opened.
    pub fn group_at(&mut self, address: SocketAddr) -> Option<(usize, bool)> {
        let cluster = self.cluster.as_mut()?;
        if let Some(at) = cluster.addresses.iter().position(|a| *a == address) {
            return Some((at, false));
        }
        cluster.addresses.push(address);
        self.groups.push(Group::default());
        Some((self.groups.len() - 1, true))
    }

    pub fn slot_moves(&mut self, slot: u16, group: usize) {
        if let Some(place) = self.cluster.as_mut().and_then(|c| c.slots.get_mut(usize::from(slot))) {
            *place = group as u16;
        }
    }

    pub fn group_of(&mut self, row: &Row) -> usize {
        let Some(cluster) = &self.cluster else {
            return 0;
        };
        self.key.clear();
        append_key(row.key_id, row.key_bytes, &mut self.key);
        let slot = usize::from(crc16(&self.key)) % SLOTS;
        usize::from(cluster.slots[slot]).min(self.groups.len() - 1)
    }

    /// How many requests wait for a lane.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// The lane for a new request of a group, if one that may take it is free and nobody waits before it.
    pub fn choose(&mut self, group: usize, session: u32, free: impl Fn(usize) -> bool) -> Option<usize> {
        if session != 0 {
            let lane = self.own_lane(group, session);
            return (self.held[lane].is_empty() && free(lane)).then_some(lane);
        }
        let group = &mut self.groups[group];
        if !group.backlog.is_empty() {
            return None;
        }
        next_in_turn(group, free)
    }

    fn own_lane(&self, group: usize, session: u32) -> usize {
        let lanes = &self.groups[group].lanes;
        lanes[session as usize % lanes.len()]
    }

    /// A request waits, behind all that wait already.
    pub fn wait(&mut self, group: usize, request: Request) {
        self.waiting += 1;
        match request.row.session {
            0 => self.groups[group].backlog.push_back(request),
            session => {
                let lane = self.own_lane(group, session);
                self.held[lane].push_back(request);
            }
        }
    }

    /// A request that has lost its lane waits before all others.
    pub fn wait_first(&mut self, group: usize, request: Request) {
        self.waiting += 1;
        match request.row.session {
            0 => self.groups[group].backlog.push_front(request),
            session => {
                let lane = self.own_lane(group, session);
                self.held[lane].push_front(request);
            }
        }
    }

    /// The next waiting request that a free lane may take, with that lane.
    pub fn next(&mut self, free: impl Fn(usize) -> bool) -> Option<(usize, Request)> {
        if self.waiting == 0 {
            return None;
        }
        let held = (0..self.held.len()).find(|lane| !self.held[*lane].is_empty() && free(*lane));
        let found = match held {
            Some(lane) => self.held[lane].pop_front().map(|request| (lane, request)),
            None => self.groups.iter_mut().filter(|g| !g.backlog.is_empty()).find_map(|group| {
                let lane = next_in_turn(group, &free)?;
                group.backlog.pop_front().map(|request| (lane, request))
            }),
        };
        self.waiting -= usize::from(found.is_some());
        found
    }

    /// Whether any waiting request may go to a lane that is free: what waits for one lane keeps nobody awake for another.
    pub fn may_go(&self, free: impl Fn(usize) -> bool) -> bool {
        self.waiting > 0
            && (self.held.iter().enumerate().any(|(lane, held)| !held.is_empty() && free(lane))
                || self.groups.iter().any(|g| !g.backlog.is_empty() && g.lanes.iter().any(|lane| free(*lane))))
    }

    fn queues(&mut self) -> impl Iterator<Item = &mut VecDeque<Request>> {
        self.groups.iter_mut().map(|g| &mut g.backlog).chain(&mut self.held)
    }

    /// Takes out requests from the front of every queue while `gone` says so.
    pub fn drop_while(&mut self, gone: impl Fn(&Request) -> bool, mut end: impl FnMut(Request)) {
        if self.waiting == 0 {
            return;
        }
        let mut ended = 0;
        for queue in self.queues() {
            while queue.front().is_some_and(&gone) {
                if let Some(request) = queue.pop_front() {
                    ended += 1;
                    end(request);
                }
            }
        }
        self.waiting -= ended;
    }

    /// Lanes of a group, for whoever wants to know whether any is up.
    pub fn lanes_of(&self, group: usize) -> &[usize] {
        &self.groups[group].lanes
    }

    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Takes out all that waits for a group.
    pub fn drain_group(&mut self, group: usize, mut end: impl FnMut(Request)) {
        let lanes = std::mem::take(&mut self.groups[group].lanes);
        let before = self.waiting;
        let mut ended = 0;
        let queues = std::iter::once(&mut self.groups[group].backlog);
        queues.flat_map(|q| q.drain(..)).for_each(|request| {
            ended += 1;
            end(request);
        });
        for lane in &lanes {
            self.held[*lane].drain(..).for_each(|request| {
                ended += 1;
                end(request);
            });
        }
        self.waiting = before - ended;
        self.groups[group].lanes = lanes;
    }
}

fn next_in_turn(group: &mut Group, free: impl Fn(usize) -> bool) -> Option<usize> {
    let n = group.lanes.len();
    let at = (group.turn..n).chain(0..group.turn.min(n)).find(|at| free(group.lanes[*at]))?;
    group.turn = (at + 1) % n;
    Some(group.lanes[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_redis_hashes_them() {
        // The check value that the cluster specification gives.
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    fn request(session: u32, due_ns: i64) -> Request {
        Request { row: Row { session, ..Row::default() }, due_ns, second: 0, resent: false }
    }

    #[test]
    fn lanes_take_turns_and_sessions_keep_to_theirs() {
        let mut routes = Routes::new(None);
        (0..3).for_each(|_| routes.add_lane(0));
        let turns: Vec<_> = (0..4).filter_map(|_| routes.choose(0, 0, |lane| lane != 1)).collect();
        assert_eq!(turns, [0, 2, 0, 2]);
        assert_eq!(routes.choose(0, 7, |_| true), Some(1));
        assert_eq!(routes.choose(0, 7, |lane| lane != 1), None);
        routes.wait(0, request(7, 1));
        routes.wait(0, request(7, 2));
        assert_eq!(routes.choose(0, 7, |_| true), None, "others of the session wait before it");
        assert!(routes.next(|lane| lane != 1).is_none());
        assert!(!routes.may_go(|lane| lane != 1), "a free lane is none of theirs");
        assert!(routes.may_go(|lane| lane == 1));
        assert_eq!(routes.next(|_| true).map(|(lane, r)| (lane, r.due_ns)), Some((1, 1)));
        routes.wait(0, request(0, 3));
        assert_eq!(routes.choose(0, 0, |_| true), None);
        assert!(routes.may_go(|lane| lane == 2), "any lane of the group");
        let mut ended = 0;
        routes.drain_group(0, |_| ended += 1);
        assert_eq!((ended, routes.waiting()), (2, 0));
    }
}
