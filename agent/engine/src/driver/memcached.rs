//! memcached: the classic text protocol and meta commands
//! (<https://github.com/memcached/memcached/blob/master/doc/protocol.txt>).

use std::sync::Arc;

use super::{append_decimal, append_key, key_digits, Answer, Expect, Inbox, Of, Options, Parsed, Protocol, Session, Verb, Wire};
use crate::feed::Row;

/// Exptimes above this are absolute times for the server; so long a life is given as none at all.
const LONGEST_TTL_S: u64 = 60 * 60 * 24 * 30;
/// A key may not be longer, and may not be split: what is too long is cut at its front, where the padding is.
const LONGEST_KEY: u32 = 250;

/// Verbs, with the words of both dialects: text, and meta's mode flag.
const OPS: [(&str, &[u8], &[u8]); 13] = [
    ("get", b"get ", b"mg "),
    ("gets", b"gets ", b"mg "),
    ("set", b"set ", b" MS"),
    ("add", b"add ", b" ME"),
    ("replace", b"replace ", b" MR"),
    ("append", b"append ", b" MA"),
    ("prepend", b"prepend ", b" MP"),
    ("delete", b"delete ", b"md "),
    ("incr", b"incr ", b" MI"),
    ("decr", b"decr ", b" MD"),
    ("touch", b"touch ", b"mg "),
    // Without the number that an earlier gets returned a cas is a set, and is sent as one.
    ("cas", b"set ", b" MS"),
    ("trim", b"delete ", b"md "),
];
const STORES: std::ops::RangeInclusive<Verb> = 2..=6;

pub struct Memcached {
    wire: Arc<Wire>,
    meta: bool,
}

impl Memcached {
    pub fn new(wire: Arc<Wire>, options: &mut Options) -> Result<Self, String> {
        Ok(Memcached { wire, meta: options.word("protocol", &["text", "meta"])? == "meta" })
    }
}

impl Protocol for Memcached {
    fn session(&self) -> Box<dyn Session> {
        Box::new(Memcache { wire: self.wire.clone(), meta: self.meta, inbox: Inbox::default(), skip: 0, hit: false })
    }

    fn verb(&self, op: &str) -> Verb {
        let op = if op == "write" { "set" } else { op };
        OPS.iter().position(|(name, ..)| *name == op).unwrap_or(0) as Verb
    }
}

/// Reads answers by their first word; data blocks are passed by, never kept.
struct Memcache {
    wire: Arc<Wire>,
    meta: bool,
    inbox: Inbox,
    /// Bytes of a data block, with its CRLF, still to skip.
    skip: u64,
    /// Text: a VALUE has come, its END has not.
    hit: bool,
}

fn key(row: &Row, out: &mut Vec<u8>) {
    append_key(row.key_id, row.key_bytes.min(LONGEST_KEY), out);
}

fn life_s(row: &Row) -> u64 {
    match row.ttl_ms.div_ceil(1000) {
        long if long > LONGEST_TTL_S => 0,
        short => short,
    }
}

impl Memcache {
    fn text(&self, row: &Row, verb: Verb, out: &mut Vec<u8>) {
        let (name, word, _) = OPS[usize::from(verb)];
        out.extend_from_slice(word);
        key(row, out);
        if STORES.contains(&verb) || name == "cas" {
            out.extend_from_slice(b" 0 ");
            append_decimal(life_s(row), out);
            out.push(b' ');
            append_decimal(u64::from(row.req_bytes), out);
            self.block(row, out);
        } else if matches!(name, "incr" | "decr") {
            out.extend_from_slice(b" 1");
        } else if name == "touch" {
            out.push(b' ');
            append_decimal(life_s(row), out);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn block(&self, row: &Row, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.wire.values.append(row.key_id, u64::from(row.req_bytes), out);
    }

    fn meta(&self, row: &Row, verb: Verb, out: &mut Vec<u8>) {
        let (name, _, word) = OPS[usize::from(verb)];
        let ttl = life_s(row);
        let flag_ttl = |out: &mut Vec<u8>| {
            if row.ttl_ms > 0 {
                out.extend_from_slice(b" T");
                append_decimal(ttl, out);
            }
        };
        if STORES.contains(&verb) || name == "cas" {
            out.extend_from_slice(b"ms ");
            key(row, out);
            out.push(b' ');
            append_decimal(u64::from(row.req_bytes), out);
            out.extend_from_slice(word);
            flag_ttl(out);
            self.block(row, out);
        } else if matches!(name, "incr" | "decr") {
            out.extend_from_slice(b"ma ");
            key(row, out);
            out.extend_from_slice(word);
        } else {
            out.extend_from_slice(word);
            key(row, out);
            match name {
                "get" => out.extend_from_slice(b" v"),
                "gets" => out.extend_from_slice(b" v c"),
                "touch" => flag_ttl(out),
                _ => {}
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

enum Line {
    /// A data block of so many bytes follows.
    Block(u32),
    Answer(Answer),
    Garbage,
}

/// What a line means; `hit`: a value has come before it.
fn meaning(line: &[u8], hit: bool) -> Line {
    let mut words = line.split(|b| *b == b' ');
    let word = words.next().unwrap_or_default();
    Line::Answer(match word {
        b"VALUE" | b"VA" => {
            let size = words.nth(if word == b"VA" { 0 } else { 2 }).and_then(|w| std::str::from_utf8(w).ok());
            return size.and_then(|w| w.parse().ok()).map_or(Line::Garbage, Line::Block);
        }
        b"END" if hit => Answer::Ok,
        b"END" | b"NOT_FOUND" | b"NOT_STORED" | b"EN" | b"NF" | b"NS" => Answer::Miss,
        b"EXISTS" | b"EX" | b"STORED" | b"DELETED" | b"TOUCHED" | b"OK" | b"HD" | b"MN" | b"RESET" => Answer::Ok,
        b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR" => Answer::Server,
        digits if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => Answer::Ok,
        _ => return Line::Garbage,
    })
}

const LONGEST_LINE: usize = 2048;

impl Session for Memcache {
    fn open(&mut self, _out: &mut Vec<u8>) {
        self.inbox.clear();
        self.skip = 0;
        self.hit = false;
    }

    fn encode(&mut self, row: &Row, verb: Verb, _number: u64, out: &mut Vec<u8>) -> Expect {
        debug_assert!(key_digits(row.key_id) <= LONGEST_KEY);
        if self.meta {
            self.meta(row, verb, out);
        } else {
            self.text(row, verb, out);
        }
        Expect::default()
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.inbox.rest().is_empty() && self.skip > 1 {
            let pass = (self.skip - 1).min(bytes.len() as u64);
            self.skip -= pass;
            self.inbox.push(&bytes[pass as usize..]);
            return;
        }
        self.inbox.push(bytes);
    }

    fn next(&mut self, _expect: &Expect) -> Parsed {
        loop {
            if self.skip > 0 {
                let pass = self.skip.min(self.inbox.rest().len() as u64);
                self.inbox.take(pass as usize);
                self.skip -= pass;
                if self.skip > 0 {
                    return Parsed::NeedMore;
                }
                if self.meta {
                    // A meta answer is over with its data block.
                    self.hit = false;
                    return Parsed::Answer { of: Of::Oldest, answer: Answer::Ok, close: false };
                }
            }
            let rest = self.inbox.rest();
            let looked = &rest[..rest.len().min(LONGEST_LINE)];
            let Some(end) = memchr::memmem::find(looked, b"\r\n") else {
                return if rest.len() > LONGEST_LINE { Parsed::Garbage } else { Parsed::NeedMore };
            };
            let meaning = meaning(&rest[..end], self.hit);
            self.inbox.take(end + 2);
            match meaning {
                Line::Garbage => return Parsed::Garbage,
                Line::Answer(answer) => {
                    self.hit = false;
                    return Parsed::Answer { of: Of::Oldest, answer, close: false };
                }
                Line::Block(bytes) => {
                    self.skip = u64::from(bytes) + 2;
                    self.hit = true;
                }
            }
        }
    }

    fn unread(&self) -> usize {
        self.inbox.rest().len()
    }

    fn is_between(&self) -> bool {
        self.inbox.rest().is_empty() && self.skip == 0 && !self.hit
    }
}

#[cfg(test)]
mod tests {
    use super::super::{fuzz, make, Values};
    use super::*;

    fn session(protocol: &str) -> (Arc<dyn Protocol>, Box<dyn Session>) {
        let options = [("protocol".to_string(), protocol.to_string())].into_iter().collect::<std::collections::BTreeMap<_, _>>();
        let made = make("memcached", Wire { host: String::new(), values: Values::of(64) }, options.into(), false).expect("valid");
        let session = made.session();
        (made, session)
    }

    fn wire(protocol: &str, op: &str) -> String {
        let (made, mut session) = session(protocol);
        let row = Row { key_id: 0xab, key_bytes: 4, req_bytes: 3, ttl_ms: 1500, ..Row::default() };
        let mut out = Vec::new();
        session.encode(&row, made.verb(op), 0, &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        let lines: Vec<&str> = text.split("\r\n").collect();
        lines[0].to_string()
    }

    #[test]
    fn writes_both_dialects() {
        assert_eq!(wire("text", "get"), "get 00ab");
        assert_eq!(wire("text", "set"), "set 00ab 0 2 3");
        assert_eq!(wire("text", "touch"), "touch 00ab 2");
        assert_eq!(wire("text", "incr"), "incr 00ab 1");
        assert_eq!(wire("meta", "get"), "mg 00ab v");
        assert_eq!(wire("meta", "add"), "ms 00ab 3 ME T2");
        assert_eq!(wire("meta", "decr"), "ma 00ab MD");
        assert_eq!(wire("meta", "delete"), "md 00ab");
    }

    fn parse(protocol: &str, bytes: &[u8]) -> Vec<Answer> {
        let found = fuzz::answers(&mut *session(protocol).1, bytes, &[3, 20], &Expect::default());
        found.iter().filter_map(|p| if let Parsed::Answer { answer, .. } = p { Some(*answer) } else { None }).collect()
    }

    #[test]
    fn reads_both_dialects() {
        use Answer::{Miss, Ok, Server};
        let text = b"VALUE a 0 5\r\nEND\r\n\r\nEND\r\nEND\r\nSTORED\r\nNOT_FOUND\r\n7\r\nSERVER_ERROR out of memory\r\n";
        assert_eq!(parse("text", text), [Ok, Miss, Ok, Miss, Ok, Server]);
        assert_eq!(parse("meta", b"VA 2 c1\r\nab\r\nEN\r\nHD\r\nNS\r\nNF\r\nMN\r\n"), [Ok, Miss, Ok, Miss, Miss, Ok]);
        assert_eq!(fuzz::answers(&mut *session("text").1, b"HTTP/1.1 400\r\n", &[], &Expect::default()), [Parsed::Garbage]);
    }

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_answers_without_panic() {
        let words: [&[u8]; 10] = [
            b"VALUE a 0 3\r\n",
            b"abc\r\n",
            b"END\r\n",
            b"STORED\r\n",
            b"VA 3\r\n",
            b"EN\r\n",
            b"\r\n",
            b"12\r\n",
            b"ERROR\r\n",
            b"HD f1\r\n",
        ];
        for dialect in ["text", "meta"] {
            fuzz::split_invariant(&|| session(dialect).1, &words, &Expect::default());
        }
    }
}
