//! The client's end of one HTTP/2 connection (RFC 9113): frames, streams, flow control. HPACK (RFC 7541) is read by `loona-hpack` and
//! written here without tables, so that every request is made independently of the ones before it.
//!
//! The peer may send as much as it likes (our windows are as large as they can be); we keep to its windows.

use std::collections::{HashMap, VecDeque};

use loona_hpack::Decoder;

use super::{Answer, Inbox, Of, Parsed};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
/// What a peer may send in one frame unless told otherwise, and what we may until it says more.
const FRAME_BYTES: usize = 16_384;
const LARGEST_WINDOW: i64 = (1 << 31) - 1;
const FIRST_WINDOW: i64 = 65_535;
/// Received bytes after which the connection's window is opened anew.
const RENEW_AFTER: u64 = 1 << 30;
const LONGEST_HEADER_BLOCK: usize = 256 * 1024;
/// Streams of one connection; their ids are odd 31-bit numbers.
const MOST_REQUESTS: u64 = 1 << 30;
/// Frames that we owe (acknowledgements) beyond which the peer only wants to fill our memory.
const MOST_OWED: usize = 1 << 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;
const CANCEL: u32 = 8;

/// One open stream: what it still has to send, and what its answer has said so far.
struct Stream {
    window: i64,
    unsent: Vec<u8>,
    unsent_at: usize,
    status: u16,
    grpc_status: Option<u16>,
}

/// A header block in progress, over HEADERS and CONTINUATION.
struct Block {
    stream: u32,
    ends_stream: bool,
    bytes: Vec<u8>,
}

pub(super) struct Client {
    inbox: Inbox,
    decoder: Decoder<'static>,
    owed: Vec<u8>,
    streams: HashMap<u32, Stream>,
    /// Streams whose bodies wait for a window, oldest first.
    waiting: VecDeque<u32>,
    block: Option<Block>,
    /// Payload of a DATA frame still to pass by, and what follows it.
    skip: usize,
    skip_stream: u32,
    skip_ends: bool,
    received: u64,
    window: i64,
    peer_window: i64,
    peer_streams: u32,
    peer_frame: usize,
    /// The peer's first SETTINGS have come.
    settled: bool,
    closing: bool,
    told_closing: bool,
    answered_below: u64,
    next_number: u64,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

fn id_of(number: u64) -> u32 {
    (2 * number + 1) as u32
}

fn number_of(id: u32) -> u64 {
    u64::from(id) / 2
}

/// An integer with a 7-bit prefix (RFC 7541, 5.1), as lengths of literals are.
fn length(mut n: usize, out: &mut Vec<u8>) {
    if n < 127 {
        out.push(n as u8);
        return;
    }
    out.push(127);
    n -= 127;
    while n >= 128 {
        out.push((n % 128) as u8 | 128);
        n /= 128;
    }
    out.push(n as u8);
}

fn literal(text: &[u8], out: &mut Vec<u8>) {
    length(text.len(), out);
    out.extend_from_slice(text);
}

/// A header field as HPACK writes it without tables; names must be in lower case.
pub(super) fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    // Places in the static table (RFC 7541, appendix A).
    let known = match name {
        ":authority" => 1,
        ":method" => 2,
        ":path" => 4,
        _ => 0,
    };
    out.push(known);
    if known == 0 {
        literal(name.as_bytes(), out);
    }
    literal(value, out);
}

pub(super) fn method_and_scheme(method: &str, tls: bool, out: &mut Vec<u8>) {
    match method {
        "GET" => out.push(0x82),
        "POST" => out.push(0x83),
        other => field(":method", other.as_bytes(), out),
    }
    out.push(if tls { 0x87 } else { 0x86 });
}

impl Client {
    pub(super) fn new() -> Self {
        let mut decoder = Decoder::new();
        decoder.set_max_allowed_table_size(0);
        Client {
            inbox: Inbox::default(),
            decoder,
            owed: Vec::new(),
            streams: HashMap::new(),
            waiting: VecDeque::new(),
            block: None,
            skip: 0,
            skip_stream: 0,
            skip_ends: false,
            received: 0,
            window: FIRST_WINDOW,
            peer_window: FIRST_WINDOW,
            peer_streams: 100,
            peer_frame: FRAME_BYTES,
            settled: false,
            closing: false,
            told_closing: false,
            answered_below: u64::MAX,
            next_number: 0,
        }
    }

    pub(super) fn open(&mut self, out: &mut Vec<u8>) {
        *self = Client::new();
        out.extend_from_slice(PREFACE);
        let mut settings = Vec::with_capacity(24);
        // HEADER_TABLE_SIZE 0, ENABLE_PUSH 0, INITIAL_WINDOW_SIZE as large as can be.
        for (id, value) in [(1u16, 0u32), (2, 0), (4, LARGEST_WINDOW as u32)] {
            settings.extend_from_slice(&id.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        frame(SETTINGS, 0, 0, &settings, out);
        frame(WINDOW_UPDATE, 0, 0, &((LARGEST_WINDOW - FIRST_WINDOW) as u32).to_be_bytes(), out);
    }

    pub(super) fn takes(&self) -> bool {
        !self.closing && self.streams.len() < self.peer_streams as usize
    }

    /// Whether the peer has said how many streams it takes.
    pub(super) fn settled(&self) -> bool {
        self.settled
    }

    /// Begins stream `number` with a header block and a body.
    pub(super) fn request(&mut self, number: u64, block: &[u8], body: &[u8], out: &mut Vec<u8>) {
        let id = id_of(number);
        self.next_number = number + 1;
        self.closing |= self.next_number >= MOST_REQUESTS;
        let mut pieces = block.chunks(self.peer_frame).peekable();
        let mut kind = HEADERS;
        while let Some(piece) = pieces.next() {
            let mut flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            if kind == HEADERS && body.is_empty() {
                flags |= END_STREAM;
            }
            frame(kind, flags, id, piece, out);
            kind = CONTINUATION;
        }
        let mut stream = Stream { window: self.peer_window, unsent: Vec::new(), unsent_at: 0, status: 0, grpc_status: None };
        if !body.is_empty() {
            let sent = send_body(id, body, &mut stream.window, &mut self.window, self.peer_frame, out);
            if sent < body.len() {
                stream.unsent = body[sent..].to_vec();
                self.waiting.push_back(id);
            }
        }
        self.streams.insert(id, stream);
    }

    pub(super) fn cancel(&mut self, number: u64, out: &mut Vec<u8>) -> bool {
        if self.streams.remove(&id_of(number)).is_some() {
            frame(RST_STREAM, 0, id_of(number), &CANCEL.to_be_bytes(), out);
        }
        true
    }

    pub(super) fn owes(&mut self, out: &mut Vec<u8>) {
        if self.received > RENEW_AFTER {
            frame(WINDOW_UPDATE, 0, 0, &(self.received as u32).to_be_bytes(), out);
            self.received = 0;
        }
        out.append(&mut self.owed);
        for _ in 0..self.waiting.len() {
            let Some(id) = self.waiting.pop_front() else {
                break;
            };
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let rest = &stream.unsent[stream.unsent_at..];
            stream.unsent_at += send_body(id, rest, &mut stream.window, &mut self.window, self.peer_frame, out);
            if stream.unsent_at < stream.unsent.len() {
                self.waiting.push_back(id);
            } else {
                stream.unsent = Vec::new();
                stream.unsent_at = 0;
            }
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if self.inbox.rest().is_empty() && self.skip > 1 {
            let pass = (self.skip - 1).min(bytes.len());
            self.skip -= pass;
            bytes = &bytes[pass..];
        }
        self.inbox.push(bytes);
    }

    pub(super) fn unread(&self) -> usize {
        self.inbox.rest().len()
    }

    pub(super) fn next(&mut self) -> Parsed {
        loop {
            match self.step() {
                Ok(Some(parsed)) => return parsed,
                Ok(None) => {}
                Err(()) => return Parsed::Garbage,
            }
        }
    }

    fn step(&mut self) -> Result<Option<Parsed>, ()> {
        if self.closing && !self.told_closing {
            self.told_closing = true;
            return Ok(Some(Parsed::Closing { answered: self.answered_below.min(self.next_number) }));
        }
        if self.skip > 0 {
            let pass = self.skip.min(self.inbox.rest().len());
            self.inbox.take(pass);
            self.skip -= pass;
            if self.skip > 0 {
                return Ok(Some(Parsed::NeedMore));
            }
            return Ok(if self.skip_ends { self.ended(self.skip_stream) } else { None });
        }
        let rest = self.inbox.rest();
        let Some(head) = rest.first_chunk::<FRAME_HEAD>() else {
            return Ok(Some(Parsed::NeedMore));
        };
        let size = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        if size > FRAME_BYTES || self.block.is_some() != (kind == CONTINUATION) || !self.settled && kind != SETTINGS {
            return Err(());
        }
        if kind == DATA {
            if id == 0 {
                return Err(());
            }
            self.inbox.take(FRAME_HEAD);
            self.received += size as u64;
            if size == 0 {
                return Ok(if flags & END_STREAM != 0 { self.ended(id) } else { None });
            }
            (self.skip, self.skip_stream, self.skip_ends) = (size, id, flags & END_STREAM != 0);
            return Ok(None);
        }
        if rest.len() < FRAME_HEAD + size {
            return Ok(Some(Parsed::NeedMore));
        }
        let payload = rest[FRAME_HEAD..FRAME_HEAD + size].to_vec();
        self.inbox.take(FRAME_HEAD + size);
        self.control(kind, flags, id, &payload)
    }

    fn control(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Result<Option<Parsed>, ()> {
        if self.owed.len() > MOST_OWED {
            return Err(());
        }
        match kind {
            HEADERS => {
                let mut bytes = payload;
                if flags & PADDED != 0 {
                    let (&pad, rest) = bytes.split_first().ok_or(())?;
                    bytes = rest.get(..rest.len().checked_sub(usize::from(pad)).ok_or(())?).ok_or(())?;
                }
                if flags & PRIORITY != 0 {
                    bytes = bytes.get(5..).ok_or(())?;
                }
                self.block = Some(Block { stream: id, ends_stream: flags & END_STREAM != 0, bytes: bytes.to_vec() });
                return if flags & END_HEADERS != 0 { self.headers() } else { Ok(None) };
            }
            CONTINUATION => {
                let block = self.block.as_mut().filter(|b| b.stream == id).ok_or(())?;
                block.bytes.extend_from_slice(payload);
                if block.bytes.len() > LONGEST_HEADER_BLOCK {
                    return Err(());
                }
                return if flags & END_HEADERS != 0 { self.headers() } else { Ok(None) };
            }
            RST_STREAM => {
                let answer = Parsed::Answer { of: Of::Number(number_of(id)), answer: Answer::Reset, close: false };
                return Ok(self.streams.remove(&id).map(|_| answer));
            }
            SETTINGS if flags & ACK == 0 => self.settings(payload)?,
            PUSH_PROMISE => return Err(()),
            PING if flags & ACK == 0 => {
                if payload.len() != 8 {
                    return Err(());
                }
                frame(PING, ACK, 0, payload, &mut self.owed);
            }
            GOAWAY => {
                let last = word(payload).ok_or(())? & 0x7fff_ffff;
                self.closing = true;
                self.answered_below = u64::from(last).div_ceil(2);
                // It may be said twice, with a smaller number the second time (RFC 9113, 6.8).
                self.told_closing = false;
            }
            WINDOW_UPDATE => {
                let more = i64::from(word(payload).ok_or(())? & 0x7fff_ffff);
                let window = match id {
                    0 => Some(&mut self.window),
                    id => self.streams.get_mut(&id).map(|s| &mut s.window),
                };
                if let Some(window) = window {
                    *window += more;
                    if *window > LARGEST_WINDOW {
                        return Err(());
                    }
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn settings(&mut self, payload: &[u8]) -> Result<(), ()> {
        if payload.len() % 6 != 0 {
            return Err(());
        }
        for entry in payload.chunks_exact(6) {
            let value = word(&entry[2..]).ok_or(())?;
            match u16::from_be_bytes([entry[0], entry[1]]) {
                3 => self.peer_streams = value,
                4 => {
                    let window = i64::from(value);
                    if window > LARGEST_WINDOW {
                        return Err(());
                    }
                    let change = window - self.peer_window;
                    self.peer_window = window;
                    self.streams.values_mut().for_each(|s| s.window += change);
                }
                5 => self.peer_frame = (value as usize).clamp(FRAME_BYTES, 1 << 20),
                _ => {}
            }
        }
        self.settled = true;
        frame(SETTINGS, ACK, 0, &[], &mut self.owed);
        Ok(())
    }

    fn headers(&mut self) -> Result<Option<Parsed>, ()> {
        let Some(Block { stream: id, ends_stream, bytes }) = self.block.take() else {
            return Err(());
        };
        let (mut status, mut grpc) = (None, None);
        let text = |value: &[u8]| std::str::from_utf8(value).ok().and_then(|t| t.parse::<u16>().ok());
        let read = self.decoder.decode_with_cb(&bytes, |name, value| match &*name {
            b":status" => status = text(&value),
            b"grpc-status" => grpc = text(&value).or(Some(u16::MAX)),
            _ => {}
        });
        read.map_err(|_| ())?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.status = status.unwrap_or(stream.status);
            stream.grpc_status = grpc.or(stream.grpc_status);
        }
        Ok(if ends_stream { self.ended(id) } else { None })
    }

    /// The answer on a stream is whole.
    fn ended(&mut self, id: u32) -> Option<Parsed> {
        let stream = self.streams.remove(&id)?;
        if stream.unsent_at < stream.unsent.len() {
            // It did not want the rest of the body.
            frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes(), &mut self.owed);
        }
        let answer = match (stream.status, stream.grpc_status) {
            (400..=499, _) => Answer::Status4xx,
            (500..=599, _) => Answer::Status5xx,
            (0, _) => Answer::Server,
            (_, None | Some(0)) => Answer::Ok,
            _ => Answer::Server,
        };
        Some(Parsed::Answer { of: Of::Number(number_of(id)), answer, close: false })
    }
}

/// Appends as much of a body as the windows allow; how many bytes that was.
fn send_body(id: u32, body: &[u8], stream: &mut i64, connection: &mut i64, frame_bytes: usize, out: &mut Vec<u8>) -> usize {
    let mut sent = 0;
    while sent < body.len() {
        let room = (*stream).min(*connection).max(0) as usize;
        let take = room.min(frame_bytes).min(body.len() - sent);
        if take == 0 {
            break;
        }
        let last = sent + take == body.len();
        frame(DATA, if last { END_STREAM } else { 0 }, id, &body[sent..sent + take], out);
        *stream -= take as i64;
        *connection -= take as i64;
        sent += take;
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Client {
        let mut client = Client::new();
        client.open(&mut Vec::new());
        let mut hello = Vec::new();
        // MAX_CONCURRENT_STREAMS 2, INITIAL_WINDOW_SIZE 10.
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 2, 0, 4, 0, 0, 0, 10], &mut hello);
        client.push(&hello);
        assert_eq!(client.next(), Parsed::NeedMore);
        client
    }

    #[test]
    fn keeps_to_the_peers_windows_and_streams() {
        let mut client = opened();
        let mut out = Vec::new();
        client.owes(&mut out);
        assert_eq!(out, [0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0]);
        out.clear();
        client.request(0, &[0x83], &[b'x'; 25], &mut out);
        let data = |n: usize, flags| [vec![0, 0, n as u8, DATA, flags, 0, 0, 0, 1], vec![b'x'; n]].concat();
        assert_eq!(out[10..], data(10, 0));
        client.request(1, &[0x82], &[], &mut out);
        assert!(!client.takes());
        let mut more = Vec::new();
        frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 100], &mut more);
        client.push(&more);
        assert_eq!(client.next(), Parsed::NeedMore);
        out.clear();
        client.owes(&mut out);
        assert_eq!(out, data(15, END_STREAM));
    }

    #[test]
    fn answers_come_in_any_order_and_a_goaway_says_which_will() {
        let mut client = opened();
        let mut out = Vec::new();
        client.request(0, &[0x82], &[], &mut out);
        client.request(1, &[0x82], &[], &mut out);
        let mut said = Vec::new();
        frame(HEADERS, END_HEADERS | END_STREAM, 3, &[0x8d], &mut said);
        frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0], &mut said);
        frame(HEADERS, END_HEADERS, 1, &[0x88], &mut said);
        frame(DATA, END_STREAM, 1, b"abc", &mut said);
        client.push(&said);
        let answer = |number, answer| Parsed::Answer { of: Of::Number(number), answer, close: false };
        assert_eq!(client.next(), answer(1, Answer::Status4xx));
        assert_eq!(client.next(), Parsed::Closing { answered: 1 });
        assert_eq!(client.next(), answer(0, Answer::Ok));
        assert_eq!(client.next(), Parsed::NeedMore);
        assert!(!client.takes());
    }
}
