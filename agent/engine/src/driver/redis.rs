//! Redis: RESP2 and RESP3 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>), with the redirections of a cluster.

use std::sync::Arc;

use super::{
    append_decimal, append_key, key_digits, Answer, Expect, Inbox, Moved, Of, Options, Parsed, Protocol, Session, Verb, Wire,
};
use crate::feed::Row;

const GET: Verb = 0;
const SET: Verb = 1;
const SET_NX: Verb = 2;
const SET_XX: Verb = 3;
const APPEND: Verb = 4;
const DEL: Verb = 5;
const INCR: Verb = 6;
const DECR: Verb = 7;
const TOUCH: Verb = 8;

pub struct Redis {
    wire: Arc<Wire>,
    greeting: Arc<Greeting>,
}

/// What a connection says first, and how many answers that brings.
struct Greeting {
    bytes: Vec<u8>,
    answers: u32,
}

impl Redis {
    pub fn new(wire: Arc<Wire>, options: &mut Options) -> Result<Self, String> {
        let version = options.word("resp", &["2", "3"])?;
        let (user, password) = (options.take("user"), options.take("password"));
        let db = options.number("db", 0, u64::from(u32::MAX), 0)?;
        if user.is_some() && password.is_none() {
            return Err("option user: it needs an option password beside it".into());
        }
        let mut greeting = Greeting { bytes: Vec::new(), answers: 0 };
        let mut say = |words: &[&[u8]]| {
            array(words.len() as u64, &mut greeting.bytes);
            words.iter().for_each(|word| bulk(word, &mut greeting.bytes));
            greeting.answers += 1;
        };
        if let Some(password) = &password {
            match &user {
                Some(user) => say(&[b"AUTH", user.as_bytes(), password.as_bytes()]),
                None => say(&[b"AUTH", password.as_bytes()]),
            }
        }
        if version == "3" {
            say(&[b"HELLO", b"3"]);
        }
        if db > 0 {
            say(&[b"SELECT", db.to_string().as_bytes()]);
        }
        Ok(Redis { wire, greeting: Arc::new(greeting) })
    }
}

impl Protocol for Redis {
    fn session(&self) -> Box<dyn Session> {
        let (wire, greeting) = (self.wire.clone(), self.greeting.clone());
        Box::new(Resp { wire, greeting, greeted: 0, refusal: None, reader: Reader::default() })
    }

    fn verb(&self, op: &str) -> Verb {
        match op {
            "set" | "cas" | "write" => SET,
            "add" => SET_NX,
            "replace" => SET_XX,
            "append" | "prepend" => APPEND,
            "delete" | "trim" => DEL,
            "incr" => INCR,
            "decr" => DECR,
            "touch" => TOUCH,
            _ => GET,
        }
    }
}

fn array(n: u64, out: &mut Vec<u8>) {
    out.push(b'*');
    append_decimal(n, out);
    out.extend_from_slice(b"\r\n");
}

fn bulk(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'$');
    append_decimal(text.len() as u64, out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn bulk_key(row: &Row, out: &mut Vec<u8>) {
    out.push(b'$');
    append_decimal(u64::from(key_digits(row.key_id).max(row.key_bytes)), out);
    out.extend_from_slice(b"\r\n");
    append_key(row.key_id, row.key_bytes, out);
    out.extend_from_slice(b"\r\n");
}

fn bulk_number(n: u64, out: &mut Vec<u8>) {
    out.push(b'$');
    append_decimal(u64::from(n.checked_ilog10().unwrap_or(0)) + 1, out);
    out.extend_from_slice(b"\r\n");
    append_decimal(n, out);
    out.extend_from_slice(b"\r\n");
}

struct Resp {
    wire: Arc<Wire>,
    greeting: Arc<Greeting>,
    /// Answers to the greeting that have come.
    greeted: u32,
    refusal: Option<String>,
    reader: Reader,
}

impl Resp {
    fn store(&self, row: &Row, verb: Verb, out: &mut Vec<u8>) {
        let ttl = row.ttl_ms > 0 && verb != APPEND;
        let only: &[u8] = match verb {
            SET_NX => b"NX",
            SET_XX => b"XX",
            _ => b"",
        };
        array(3 + 2 * u64::from(ttl) + u64::from(!only.is_empty()), out);
        out.extend_from_slice(if verb == APPEND { b"$6\r\nAPPEND\r\n" } else { b"$3\r\nSET\r\n" });
        bulk_key(row, out);
        out.push(b'$');
        append_decimal(u64::from(row.req_bytes), out);
        out.extend_from_slice(b"\r\n");
        self.wire.values.append(row.key_id, u64::from(row.req_bytes), out);
        out.extend_from_slice(b"\r\n");
        if ttl {
            out.extend_from_slice(b"$2\r\nPX\r\n");
            bulk_number(row.ttl_ms, out);
        }
        if !only.is_empty() {
            bulk(only, out);
        }
    }
}

impl Session for Resp {
    fn open(&mut self, out: &mut Vec<u8>) {
        self.reader = Reader::default();
        self.greeted = 0;
        self.refusal = None;
        out.extend_from_slice(&self.greeting.bytes);
    }

    fn ready(&self) -> bool {
        self.greeted == self.greeting.answers && self.refusal.is_none()
    }

    fn refusal(&self) -> Option<String> {
        self.refusal.clone()
    }

    fn encode(&mut self, row: &Row, verb: Verb, _number: u64, out: &mut Vec<u8>) -> Expect {
        let words: &[u8] = match verb {
            SET | SET_NX | SET_XX | APPEND => {
                self.store(row, verb, out);
                return Expect::default();
            }
            DEL => b"*2\r\n$3\r\nDEL\r\n",
            INCR => b"*2\r\n$4\r\nINCR\r\n",
            DECR => b"*2\r\n$4\r\nDECR\r\n",
            TOUCH if row.ttl_ms > 0 => b"*3\r\n$7\r\nPEXPIRE\r\n",
            TOUCH => b"*2\r\n$5\r\nTOUCH\r\n",
            _ => b"*2\r\n$3\r\nGET\r\n",
        };
        out.extend_from_slice(words);
        bulk_key(row, out);
        if verb == TOUCH && row.ttl_ms > 0 {
            bulk_number(row.ttl_ms, out);
        }
        Expect { zero_misses: matches!(verb, DEL | TOUCH), ..Expect::default() }
    }

    fn asking(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n");
    }

    fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    fn next(&mut self, expect: &Expect) -> Parsed {
        while self.greeted < self.greeting.answers {
            match self.reader.next(expect) {
                Parsed::Answer { answer: Answer::Server, .. } => {
                    self.refusal = Some(std::mem::take(&mut self.reader.error));
                    return Parsed::Garbage;
                }
                Parsed::Answer { .. } => self.greeted += 1,
                other => return other,
            }
        }
        self.reader.next(expect)
    }

    fn unread(&self) -> usize {
        self.reader.inbox.rest().len()
    }

    fn is_between(&self) -> bool {
        self.reader.inbox.rest().is_empty() && self.reader.skip == 0 && self.reader.open.is_empty()
    }

    fn moved(&mut self) -> Option<Moved> {
        self.reader.moved.take()
    }
}

const LONGEST_LINE: usize = 64 * 1024;
const LARGEST_BULK: i64 = 512 << 20;
const DEEPEST: usize = 32;
const KINDS: &[u8] = b"+-:$*_,#!=(%~>|";

/// Streaming RESP reader. Bulk bodies are skipped as they come, never kept, so memory stays bounded by one line.
#[derive(Default)]
struct Reader {
    inbox: Inbox,
    /// Bytes of a bulk body (with its CRLF) still to skip.
    skip: u64,
    /// Elements still to come, by nesting depth.
    open: Vec<u64>,
    /// Outcome of the answer in progress: decided by its first element.
    begun: Option<Answer>,
    /// What is being read answers no request: a push message, or an attribute before the answer.
    aside: bool,
    /// The answer to the ASKING before this request has come.
    asked: bool,
    error: String,
    moved: Option<Moved>,
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `MOVED 3999 127.0.0.1:6381` or `ASK 3999 127.0.0.1:6381`.
fn redirection(line: &[u8]) -> Option<Moved> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let ask = match words.next()? {
        "MOVED" => false,
        "ASK" => true,
        _ => return None,
    };
    let slot = words.next()?.parse().ok().filter(|slot| *slot < 16384)?;
    let address = words.next().filter(|a| a.contains(':'))?.to_string();
    Some(Moved { slot, address, ask })
}

impl Reader {
    fn push(&mut self, bytes: &[u8]) {
        if self.inbox.rest().is_empty() && self.skip > 0 {
            // The common case of a large value: pass it by without copying it.
            let pass = (self.skip.min(bytes.len() as u64)) as usize;
            if (pass as u64) < self.skip {
                self.skip -= pass as u64;
                return;
            }
            // The last byte of the body goes through `next`, which ends the element.
            self.skip = 1;
            self.inbox.push(&bytes[pass - 1..]);
            return;
        }
        self.inbox.push(bytes);
    }

    /// Counts one finished element; true when the whole answer is finished.
    fn element_ends(&mut self) -> bool {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }

    /// A whole answer has been read; None where it was not for a request.
    fn finish(&mut self, expect: &Expect) -> Option<Parsed> {
        let answer = self.begun.take().unwrap_or(Answer::Ok);
        if std::mem::take(&mut self.aside) {
            return None;
        }
        if expect.asked && !std::mem::replace(&mut self.asked, expect.asked) {
            return None;
        }
        self.asked = false;
        if self.moved.is_some() {
            return Some(Parsed::Moved);
        }
        Some(Parsed::Answer { of: Of::Oldest, answer, close: false })
    }

    fn next(&mut self, expect: &Expect) -> Parsed {
        loop {
            let ended = if self.skip > 0 {
                let pass = self.skip.min(self.inbox.rest().len() as u64);
                self.inbox.take(pass as usize);
                self.skip -= pass;
                if self.skip > 0 {
                    return Parsed::NeedMore;
                }
                true
            } else {
                match self.line(expect) {
                    Ok(ended) => ended,
                    Err(stuck) => return stuck,
                }
            };
            if ended && self.element_ends() {
                if let Some(parsed) = self.finish(expect) {
                    return parsed;
                }
            }
        }
    }

    /// Reads one line: true when an element ends with it.
    fn line(&mut self, expect: &Expect) -> Result<bool, Parsed> {
        let rest = self.inbox.rest();
        let looked = &rest[..rest.len().min(LONGEST_LINE)];
        let Some(end) = memchr::memmem::find(looked, b"\r\n") else {
            let hopeless = rest.len() > LONGEST_LINE || rest.first().is_some_and(|b| !KINDS.contains(b));
            return Err(if hopeless { Parsed::Garbage } else { Parsed::NeedMore });
        };
        let Some((&kind, body)) = rest[..end].split_first() else {
            return Err(Parsed::Garbage);
        };
        let mut answer = Answer::Ok;
        let mut children = 0;
        let mut skip = 0;
        let first = self.begun.is_none() && self.open.is_empty();
        match kind {
            b'+' | b',' | b'#' | b'(' => {}
            b':' if expect.zero_misses && body == b"0" => answer = Answer::Miss,
            b':' => {}
            b'-' => {
                answer = Answer::Server;
                if first {
                    self.moved = redirection(body);
                    self.error = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
                }
            }
            b'_' => answer = Answer::Miss,
            b'$' | b'=' | b'!' => match number(body) {
                Some(-1) => answer = Answer::Miss,
                Some(n) if (0..=LARGEST_BULK).contains(&n) => {
                    skip = n as u64 + 2;
                    if kind == b'!' {
                        answer = Answer::Server;
                    }
                }
                _ => return Err(Parsed::Garbage),
            },
            b'*' | b'%' | b'~' | b'>' | b'|' => match number(body) {
                Some(-1) => answer = Answer::Miss,
                Some(n) if (0..=1 << 30).contains(&n) => {
                    children = if kind == b'%' || kind == b'|' { 2 * n as u64 } else { n as u64 };
                    self.aside |= first && (kind == b'>' || kind == b'|');
                }
                _ => return Err(Parsed::Garbage),
            },
            _ => return Err(Parsed::Garbage),
        }
        self.inbox.take(end + 2);
        self.begun.get_or_insert(answer);
        if children > 0 {
            if self.open.len() >= DEEPEST {
                return Err(Parsed::Garbage);
            }
            self.open.push(children);
            return Ok(false);
        }
        self.skip = skip;
        Ok(skip == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{fuzz, make, Values};
    use super::*;

    fn parse(bytes: &[u8]) -> Vec<Parsed> {
        fuzz::answers(&mut *fuzz::session("redis"), bytes, &[], &Expect::default())
    }

    fn ok(answer: Answer) -> Parsed {
        Parsed::Answer { of: Of::Oldest, answer, close: false }
    }

    #[test]
    fn reads_each_kind_of_answer() {
        let bytes = b"+OK\r\n$-1\r\n-ERR no\r\n$3\r\nabc\r\n:12\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n_\r\n*0\r\n";
        use Answer::*;
        assert_eq!(parse(bytes), [Ok, Miss, Server, Ok, Ok, Ok, Miss, Ok].map(ok));
    }

    #[test]
    fn push_messages_and_attributes_answer_nothing() {
        let bytes = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n_\r\n";
        assert_eq!(parse(bytes), [ok(Answer::Ok), ok(Answer::Miss)]);
    }

    #[test]
    fn a_redirection_says_where_to() {
        let mut session = fuzz::session("redis");
        session.push(b"-MOVED 3999 10.0.0.1:6381\r\n-ASK 7 h:1\r\n");
        assert_eq!(session.next(&Expect::default()), Parsed::Moved);
        assert_eq!(session.moved(), Some(Moved { slot: 3999, address: "10.0.0.1:6381".into(), ask: false }));
        assert_eq!(session.next(&Expect::default()), Parsed::Moved);
        assert_eq!(session.moved().map(|m| m.ask), Some(true));
    }

    #[test]
    fn a_greeting_is_answered_before_requests_are() {
        let mut map = std::collections::BTreeMap::new();
        map.insert("resp".to_string(), "3".to_string());
        map.insert("password".to_string(), "x y".to_string());
        let wire = Wire { host: String::new(), values: Values::of(64) };
        let redis = make("redis", wire, map.into(), false).expect("valid options");
        let mut session = redis.session();
        let mut out = Vec::new();
        session.open(&mut out);
        assert_eq!(out, b"*2\r\n$4\r\nAUTH\r\n$3\r\nx y\r\n*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
        assert!(!session.ready());
        session.push(b"+OK\r\n%1\r\n+proto\r\n:3\r\n");
        assert_eq!(session.next(&Expect::default()), Parsed::NeedMore);
        assert!(session.ready());
        session.open(&mut out);
        session.push(b"-WRONGPASS no\r\n");
        assert_eq!(session.next(&Expect::default()), Parsed::Garbage);
        assert_eq!(session.refusal().as_deref(), Some("WRONGPASS no"));
    }

    #[test]
    fn writes_each_command_as_redis_reads_it() {
        let redis =
            Redis::new(Arc::new(Wire { host: String::new(), values: Values::new() }), &mut Options::default()).expect("defaults");
        let row = Row { key_id: 0xab, key_bytes: 4, req_bytes: 3, ttl_ms: 1500, ..Row::default() };
        let wire = |op: &str| {
            let mut out = Vec::new();
            redis.session().encode(&row, redis.verb(op), 0, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(wire("gets"), "*2\r\n$3\r\nGET\r\n$4\r\n00ab\r\n");
        assert_eq!(wire("delete"), "*2\r\n$3\r\nDEL\r\n$4\r\n00ab\r\n");
        assert_eq!(wire("touch"), "*3\r\n$7\r\nPEXPIRE\r\n$4\r\n00ab\r\n$4\r\n1500\r\n");
        let set = wire("cas");
        assert!(set.starts_with("*5\r\n$3\r\nSET\r\n$4\r\n00ab\r\n$3\r\n"), "{set}");
        assert!(set.ends_with("\r\n$2\r\nPX\r\n$4\r\n1500\r\n"), "{set}");
        assert!(wire("add").ends_with("\r\n$2\r\nNX\r\n"));
    }

    #[test]
    fn garbage_is_seen_at_its_first_byte() {
        assert_eq!(parse(b"HTTP"), [Parsed::Garbage]);
        assert_eq!(parse(b"$abc\r\n"), [Parsed::Garbage]);
        assert_eq!(parse(b"$99999999999\r\n"), [Parsed::Garbage]);
    }

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_answers_without_panic() {
        let words: [&[u8]; 14] = [
            b"+OK\r\n",
            b"$3\r\nabc\r\n",
            b"$-1\r\n",
            b"*2\r\n",
            b"*-1\r\n",
            b":5\r\n",
            b"-E\r\n",
            b"\r\n",
            b"%1\r\n",
            b"$0\r\n\r\n",
            b"$5\r\n",
            b">1\r\n",
            b"|1\r\n",
            b"-ASK 7 h:1\r\n",
        ];
        fuzz::split_invariant(&|| fuzz::session("redis"), &words, &Expect::default());
    }
}
