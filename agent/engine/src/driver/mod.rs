//! Protocols: how a row becomes bytes, and bytes become outcomes. Pure state machines: no sockets, no clocks.
//!
//! A `Protocol` is what one replay speaks; each connection has a `Session` of it. Sessions are fuzzed: no input may make one
//! panic or keep memory without bound.

pub mod grpc;
mod h2;
pub mod http;
pub mod http2;
pub mod memcached;
pub mod openai;
mod options;
pub mod redis;
mod sse;
pub mod tcp;

use std::sync::Arc;

pub use options::Options;

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
    /// The server took it and gave it up itself: an HTTP/2 stream that was reset, a read that came back short.
    Reset,
}

/// Which request an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The oldest on this connection: answers come in order.
    Oldest,
    /// The one that was encoded with this number.
    Number(u64),
}

/// What a session found next in the bytes of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// One whole answer. `close`: the server will close the connection after it.
    Answer { of: Of, answer: Answer, close: bool },
    /// So many tokens of a streamed answer have come.
    Tokens { of: Of, tokens: u32 },
    /// So many tokens the whole answer has, in the server's own count.
    Usage { of: Of, tokens: u32 },
    /// The server takes no more, and answers only the first so many requests of this connection (HTTP/2 GOAWAY).
    Closing { answered: u64 },
    /// The oldest request belongs elsewhere: see `Session::moved`.
    Moved,
    /// More bytes are needed.
    NeedMore,
    /// The stream cannot be understood; nothing after it can be trusted.
    Garbage,
}

/// Where a request belongs, in the server's own words (Redis Cluster).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub slot: u16,
    pub address: String,
    /// This request alone; the slot has not moved yet.
    pub ask: bool,
}

/// What a session must know of the request whose answer comes next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expect {
    pub resp_bytes: u64,
    /// HTTP: HEAD has no body whatever its Content-Length says.
    pub head: bool,
    /// RESP: an answer of 0 means that there was no such key.
    pub zero_misses: bool,
    /// RESP: the answer to an ASKING comes before it.
    pub asked: bool,
}

/// A driver's own number for an op, made once for each name.
pub type Verb = u16;

/// Which columns a driver needs beside the usual ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reads {
    pub targets: bool,
    pub tokens: bool,
}

/// What a replay speaks.
pub trait Protocol: Send + Sync {
    fn session(&self) -> Box<dyn Session>;
    fn verb(&self, op: &str) -> Verb;
    fn reads(&self) -> Reads {
        Reads::default()
    }
    /// The name by which it is chosen in a TLS handshake (RFC 7301).
    fn alpn(&self) -> Option<&'static [u8]> {
        None
    }
}

/// One connection's end of a protocol: writes requests, reads answers.
pub trait Session: Send {
    /// The connection is new: forgets the last one, and writes what must go first.
    fn open(&mut self, out: &mut Vec<u8>);
    /// Whether the greeting is over, so that requests may follow.
    fn ready(&self) -> bool {
        true
    }
    /// Why the server will not have us, once it has said so.
    fn refusal(&self) -> Option<String> {
        None
    }
    /// Appends one whole request, the `number`th of this connection, and says what to expect back.
    fn encode(&mut self, row: &Row, verb: Verb, number: u64, out: &mut Vec<u8>) -> Expect;
    /// Asks first for a request that the server has sent here for this once (Redis Cluster).
    fn asking(&mut self, _out: &mut Vec<u8>) {}
    fn push(&mut self, bytes: &[u8]);
    /// `expect` is the oldest request still waiting on this connection.
    fn next(&mut self, expect: &Expect) -> Parsed;
    /// Bytes pushed that `next` has not used yet.
    fn unread(&self) -> usize;
    /// Whether it stands between two answers.
    fn is_between(&self) -> bool;
    /// The peer has closed: the answer that ends by that, if this is one.
    fn closed(&mut self) -> Option<Answer> {
        None
    }
    /// Appends what the protocol itself owes the peer: acknowledgements, windows, bodies that had to wait.
    fn owes(&mut self, _out: &mut Vec<u8>) {}
    /// Whether the peer lets one more request be under way.
    fn takes(&self) -> bool {
        true
    }
    /// A request has timed out. True: the peer is told, and its place is free at once.
    fn cancel(&mut self, _number: u64, _out: &mut Vec<u8>) -> bool {
        false
    }
    fn moved(&mut self) -> Option<Moved> {
        None
    }
}

/// What every protocol needs beside the row.
pub struct Wire {
    /// `host:port` as a Host header or an authority says it.
    pub host: String,
    pub values: Values,
}

/// Builds a driver by name. `tls`: the connection below it is encrypted.
///
/// # Errors
/// One line: what is wrong with the name or with an option.
pub fn make(name: &str, wire: Wire, mut options: Options, tls: bool) -> Result<Arc<dyn Protocol>, String> {
    let wire = Arc::new(wire);
    let made: Arc<dyn Protocol> = match name {
        "redis" => Arc::new(redis::Redis::new(wire, &mut options)?),
        "memcached" => Arc::new(memcached::Memcached::new(wire, &mut options)?),
        "http" => Arc::new(http::Http::new(wire, &mut options)?),
        "http2" => Arc::new(http2::Http2::new(wire, &mut options, tls)?),
        "grpc" => Arc::new(grpc::Grpc::new(wire, &mut options, tls)?),
        "openai" => Arc::new(openai::OpenAi::new(wire, &mut options)?),
        "tcp" => Arc::new(tcp::Tcp::new(wire, &mut options)?),
        _ => return Err(format!("driver {name:?}: expected {}", DRIVERS.join(", "))),
    };
    options.nothing_left(name)?;
    Ok(made)
}

/// Every driver of the engine by name; `udp`, `block` and `null` have no connections and so no sessions.
pub const DRIVERS: [&str; 10] = ["redis", "memcached", "http", "http2", "grpc", "openai", "tcp", "udp", "block", "null"];

/// Payload bytes: one pseudo-random block, sliced, so that values neither compress to nothing nor cost anything to make.
pub struct Values {
    block: Vec<u8>,
}

const BLOCK_BYTES: usize = 1 << 20;

impl Values {
    pub fn new() -> Self {
        Self::of(BLOCK_BYTES)
    }

    /// `size`: bytes after which values begin to repeat.
    pub fn of(size: usize) -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let block = (0..size)
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
        let mut at = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44) as usize % self.block.len();
        let mut left = bytes as usize;
        while left > 0 {
            let take = left.min(self.block.len() - at);
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

/// Hex digits of a key.
pub fn key_digits(key_id: u64) -> u32 {
    (64 - key_id.leading_zeros()).div_ceil(4).max(1)
}

/// Hex of `key_id`, zero-padded on the left to `key_bytes`, never shorter than the hex itself.
pub fn append_key(key_id: u64, key_bytes: u32, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = key_digits(key_id);
    out.resize(out.len() + key_bytes.saturating_sub(digits) as usize, b'0');
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

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz {
    use super::*;

    /// Everything that a session finds in `bytes` when they come in pieces cut at `cuts`.
    pub fn answers(session: &mut dyn Session, bytes: &[u8], cuts: &[usize], expect: &Expect) -> Vec<Parsed> {
        let mut found = Vec::new();
        let mut owed = Vec::new();
        let mut from = 0;
        let mut ends: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        for end in ends {
            session.push(&bytes[from..end]);
            from = end;
            loop {
                match session.next(expect) {
                    Parsed::NeedMore => break,
                    Parsed::Garbage => {
                        found.push(Parsed::Garbage);
                        return found;
                    }
                    answer => {
                        session.moved();
                        found.push(answer);
                    }
                }
            }
            session.owes(&mut owed);
            owed.clear();
        }
        found
    }

    /// The same with tokens added up, and without the last word on their number: how many come at once depends on the cuts.
    fn without_tokens(found: Vec<Parsed>) -> (Vec<Parsed>, u64) {
        let tokens = |p: &Parsed| if let Parsed::Tokens { tokens, .. } = p { u64::from(*tokens) } else { 0 };
        let sum = found.iter().map(tokens).sum();
        let ends = |p: &Parsed| !matches!(p, Parsed::Tokens { .. } | Parsed::Usage { .. });
        (found.into_iter().filter(ends).collect(), sum)
    }

    /// A small deterministic generator, so that a failure can be run again.
    pub struct Dice(pub u64);
    impl Dice {
        pub fn roll(&mut self, below: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.0 >> 33) as usize % below.max(1)
        }
    }

    /// Panics unless `bytes` give the same answers whole and cut at `cuts`.
    pub fn same_however_cut(make: &dyn Fn() -> Box<dyn Session>, bytes: &[u8], cuts: &[usize], expect: &Expect) {
        let whole = without_tokens(answers(&mut *make(), bytes, &[], expect));
        let split = without_tokens(answers(&mut *make(), bytes, cuts, expect));
        assert_eq!(whole, split, "bytes {:?} cut at {:?}", String::from_utf8_lossy(bytes), cuts);
    }

    /// Random bytes and random splits: never a panic, and the same answers however the bytes were cut.
    pub fn split_invariant(make: &dyn Fn() -> Box<dyn Session>, alphabet: &[&[u8]], expect: &Expect) {
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
            same_however_cut(make, &bytes, &cuts, expect);
        }
    }

    /// A session of a driver with default options, opened.
    pub fn session(name: &str) -> Box<dyn Session> {
        let wire = Wire { host: "h".into(), values: Values::of(64) };
        let protocol = make(name, wire, Options::default(), false).expect("defaults are valid");
        let mut session = protocol.session();
        session.open(&mut Vec::new());
        session
    }
}
