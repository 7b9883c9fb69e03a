//! Protocols: how a row becomes bytes, and bytes become outcomes. Pure: no sockets, no clocks.

pub mod http;
pub mod redis;
pub mod tcp;

use crate::feed::Row;

/// How a request ended, as far as the peer's bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Ok,
    Miss,
    /// The server answered with an error of its own.
    Server,
    Status4xx,
    Status5xx,
}

/// What a parser found next in the bytes of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// One whole answer. `close`: the server will close the connection after it.
    Answer { answer: Answer, close: bool },
    /// More bytes are needed.
    NeedMore,
    /// The stream cannot be understood; nothing after it can be trusted.
    Garbage,
}

/// Reads one connection's answers. Bytes are pushed in; `next` takes answers out in order.
pub trait Parser: Send {
    fn push(&mut self, bytes: &[u8]);
    /// `expect` is the oldest request still waiting on this connection.
    fn next(&mut self, expect: &Expect) -> Parsed;
    fn reset(&mut self);
    /// Bytes pushed that `next` has not used yet.
    fn unread(&self) -> usize;
    /// Whether it stands between two answers.
    fn is_between(&self) -> bool;
    /// The peer has closed: the answer that ends by that, if this is one.
    fn closed(&mut self) -> Option<Answer> {
        None
    }
}

/// What a parser must know of the request whose answer comes next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expect {
    pub resp_bytes: u64,
    /// HTTP: HEAD has no body whatever its Content-Length says.
    pub head: bool,
}

/// What every encoder needs beside the row.
pub struct Wire {
    pub host: String,
    pub path: String,
    pub expect_bytes: bool,
    pub values: Values,
}

/// Writes requests.
pub trait Encoder: Send + Sync {
    /// Appends one whole request and says what to expect back.
    fn encode(&self, row: &Row, op: &str, out: &mut Vec<u8>) -> Expect;
    fn parser(&self) -> Box<dyn Parser>;
    /// Whether rows need their targets.
    fn reads_targets(&self) -> bool {
        false
    }
}

/// Builds a driver by name.
pub fn make(name: &str, wire: Wire) -> Option<Box<dyn Encoder>> {
    match name {
        "redis" => Some(Box::new(redis::Redis::new(wire))),
        "http" => Some(Box::new(http::Http::new(wire))),
        "tcp" => Some(Box::new(tcp::Tcp::new(wire))),
        _ => None,
    }
}

/// Payload bytes: one pseudo-random block, sliced, so that values neither compress to nothing nor cost anything to make.
pub struct Values {
    block: Vec<u8>,
}

const BLOCK_BYTES: usize = 1 << 20;

impl Values {
    pub fn new() -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let block = (0..BLOCK_BYTES)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                b'!' + (state >> 33) as u8 % 94
            })
            .collect();
        Values { block }
    }

    /// Appends `bytes` bytes; which ones depends on `seed` alone.
    pub fn append(&self, seed: u64, bytes: u64, out: &mut Vec<u8>) {
        let mut at = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44) as usize % BLOCK_BYTES;
        let mut left = bytes as usize;
        while left > 0 {
            let take = left.min(BLOCK_BYTES - at);
            out.extend_from_slice(&self.block[at..at + take]);
            left -= take;
            at = 0;
        }
    }
}

impl Default for Values {
    fn default() -> Self {
        Self::new()
    }
}

/// Hex of `key_id`, zero-padded on the left to `key_bytes`, never shorter than the hex itself.
pub fn append_key(key_id: u64, key_bytes: u32, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = (64 - key_id.leading_zeros()).div_ceil(4).max(1);
    for _ in digits..key_bytes {
        out.push(b'0');
    }
    for i in (0..digits).rev() {
        out.push(HEX[(key_id >> (4 * i)) as usize & 15]);
    }
}

/// Appends a decimal without allocating.
pub fn append_decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A byte queue that a parser reads from the front; keeps its memory.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    at: usize,
}

impl Inbox {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 && (self.at == self.bytes.len() || self.at > 64 * 1024) {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }
    pub fn take(&mut self, n: usize) {
        self.at = (self.at + n).min(self.bytes.len());
    }
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }
}

#[cfg(test)]
pub(crate) mod fuzz {
    use super::*;

    /// Every answer that a parser finds in `bytes` when they come in pieces cut at `cuts`.
    pub fn answers(parser: &mut dyn Parser, bytes: &[u8], cuts: &[usize], expect: &Expect) -> Vec<Parsed> {
        let mut found = Vec::new();
        let mut from = 0;
        let mut ends: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        for end in ends {
            parser.push(&bytes[from..end]);
            from = end;
            loop {
                match parser.next(expect) {
                    Parsed::NeedMore => break,
                    Parsed::Garbage => {
                        found.push(Parsed::Garbage);
                        return found;
                    }
                    answer => found.push(answer),
                }
            }
        }
        found
    }

    /// A small deterministic generator, so that a failure can be run again.
    pub struct Dice(pub u64);
    impl Dice {
        pub fn roll(&mut self, below: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.0 >> 33) as usize % below.max(1)
        }
    }

    /// Random bytes and random splits: never a panic, and the same answers however the bytes were cut.
    pub fn split_invariant(make: &dyn Fn() -> Box<dyn Parser>, alphabet: &[&[u8]], expect: &Expect) {
        let mut dice = Dice(7);
        for _ in 0..3000 {
            let mut bytes = Vec::new();
            for _ in 0..dice.roll(12) {
                if dice.roll(6) == 0 {
                    bytes.push(dice.roll(256) as u8);
                } else {
                    bytes.extend_from_slice(alphabet[dice.roll(alphabet.len())]);
                }
            }
            let cuts: Vec<usize> = (0..dice.roll(5)).map(|_| dice.roll(4096)).collect();
            let whole = answers(&mut *make(), &bytes, &[], expect);
            let split = answers(&mut *make(), &bytes, &cuts, expect);
            assert_eq!(whole, split, "bytes {:?} cut at {:?}", String::from_utf8_lossy(&bytes), cuts);
        }
    }
}
