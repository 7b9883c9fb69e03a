//! HTTP/2: GET and the like as over HTTP/1.1, many at a time on one connection.

use std::sync::Arc;

use super::h2::{field, method_and_scheme, Client};
use super::http::{append_target, extra_headers, method, verb};
use super::{Expect, Options, Parsed, Protocol, Reads, Session, Verb, Wire};
use crate::feed::Row;

pub struct Http2 {
    wire: Arc<Wire>,
    path: Arc<str>,
    /// Header fields that are the same for all requests, as HPACK writes them.
    fields: Arc<[u8]>,
    tls: bool,
}

/// Authority, user agent and the caller's own headers.
pub(super) fn constant_fields(host: &str, extra: &[(String, String)]) -> Vec<u8> {
    let own = |name: &str| extra.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    let mut out = Vec::new();
    field(":authority", own("host").unwrap_or(host).as_bytes(), &mut out);
    if own("user-agent").is_none() {
        field("user-agent", b"offspec", &mut out);
    }
    for (name, value) in extra.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        field(&name.to_ascii_lowercase(), value.as_bytes(), &mut out);
    }
    out
}

impl Http2 {
    pub fn new(wire: Arc<Wire>, options: &mut Options, tls: bool) -> Result<Self, String> {
        let extra = extra_headers(options)?;
        let fields = constant_fields(&wire.host, &extra).into();
        Ok(Http2 { fields, path: options.path("/")?.into(), wire, tls })
    }
}

impl Protocol for Http2 {
    fn session(&self) -> Box<dyn Session> {
        let plain = Plain { wire: self.wire.clone(), path: self.path.clone(), fields: self.fields.clone(), tls: self.tls };
        Box::new(Streams::new(plain))
    }
    fn verb(&self, op: &str) -> Verb {
        verb(op)
    }
    fn reads(&self) -> Reads {
        Reads { targets: true, ..Reads::default() }
    }
    fn alpn(&self) -> Option<&'static [u8]> {
        Some(b"h2")
    }
}

/// What a kind of request over HTTP/2 writes: its header block, and its body.
pub(super) trait Shape: Send {
    /// `scratch` is empty, and anything may be left in it.
    fn write(&mut self, row: &Row, verb: Verb, block: &mut Vec<u8>, body: &mut Vec<u8>, scratch: &mut Vec<u8>);
}

struct Plain {
    wire: Arc<Wire>,
    path: Arc<str>,
    fields: Arc<[u8]>,
    tls: bool,
}

impl Shape for Plain {
    fn write(&mut self, row: &Row, verb: Verb, block: &mut Vec<u8>, body: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        let (method, bytes, _) = method(verb, row);
        method_and_scheme(method, self.tls, block);
        append_target(row, &self.path, scratch);
        field(":path", scratch, block);
        block.extend_from_slice(&self.fields);
        self.wire.values.append(row.key_id, bytes, body);
    }
}

/// A session of whatever goes over HTTP/2.
pub(super) struct Streams<S: Shape> {
    shape: S,
    client: Client,
    /// Memory of the request being made.
    block: Vec<u8>,
    body: Vec<u8>,
    scratch: Vec<u8>,
}

impl<S: Shape> Streams<S> {
    pub(super) fn new(shape: S) -> Self {
        Streams { shape, client: Client::new(), block: Vec::new(), body: Vec::new(), scratch: Vec::new() }
    }
}

impl<S: Shape> Session for Streams<S> {
    fn open(&mut self, out: &mut Vec<u8>) {
        self.client.open(out);
    }
    fn ready(&self) -> bool {
        self.client.settled()
    }

    fn encode(&mut self, row: &Row, verb: Verb, number: u64, out: &mut Vec<u8>) -> Expect {
        for memory in [&mut self.block, &mut self.body, &mut self.scratch] {
            memory.clear();
        }
        self.shape.write(row, verb, &mut self.block, &mut self.body, &mut self.scratch);
        self.client.request(number, &self.block, &self.body, out);
        Expect::default()
    }

    fn push(&mut self, bytes: &[u8]) {
        self.client.push(bytes);
    }
    fn next(&mut self, _expect: &Expect) -> Parsed {
        self.client.next()
    }
    fn unread(&self) -> usize {
        self.client.unread()
    }
    fn is_between(&self) -> bool {
        true
    }
    fn owes(&mut self, out: &mut Vec<u8>) {
        self.client.owes(out);
    }
    fn takes(&self) -> bool {
        self.client.takes()
    }
    fn cancel(&mut self, number: u64, out: &mut Vec<u8>) -> bool {
        self.client.cancel(number, out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz;
    use super::*;

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_answers_without_panic() {
        let words: [&[u8]; 8] = [
            &[0, 0, 0, 4, 0, 0, 0, 0, 0],
            &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88],
            &[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88],
            &[0, 0, 3, 0, 1, 0, 0, 0, 1, 1, 2, 3],
            &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8],
            &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
            &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0],
            &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        ];
        let make = || {
            let mut session = fuzz::session("http2");
            for number in 0..2 {
                session.encode(&Row::default(), verb("GET"), number, &mut Vec::new());
            }
            session
        };
        fuzz::split_invariant(&make, &words, &Expect::default());
    }
}
