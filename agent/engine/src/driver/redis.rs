//! RESP2 (and the parts of RESP3 that a server may send): <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use super::{append_decimal, append_key, Answer, Encoder, Expect, Inbox, Parsed, Parser, Wire};
use crate::feed::Row;

pub struct Redis {
    wire: Wire,
}

impl Redis {
    pub fn new(wire: Wire) -> Self {
        Redis { wire }
    }
}

fn bulk(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'$');
    append_decimal(text.len() as u64, out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn bulk_key(row: &Row, out: &mut Vec<u8>) {
    let digits = (64 - row.key_id.leading_zeros()).div_ceil(4).max(1);
    out.push(b'$');
    append_decimal(u64::from(digits.max(row.key_bytes)), out);
    out.extend_from_slice(b"\r\n");
    append_key(row.key_id, row.key_bytes, out);
    out.extend_from_slice(b"\r\n");
}

impl Encoder for Redis {
    fn encode(&self, row: &Row, op: &str, out: &mut Vec<u8>) -> Expect {
        let simple = |verb: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(b"*2\r\n");
            bulk(verb, out);
            bulk_key(row, out);
        };
        match op {
            "set" | "add" | "replace" | "cas" | "write" | "append" | "prepend" => {
                let ttl = row.ttl_ms > 0 && op != "append" && op != "prepend";
                out.extend_from_slice(if ttl { b"*5\r\n" } else { b"*3\r\n" });
                bulk(if matches!(op, "append" | "prepend") { b"APPEND" } else { b"SET" }, out);
                bulk_key(row, out);
                out.push(b'$');
                append_decimal(row.req_bytes, out);
                out.extend_from_slice(b"\r\n");
                self.wire.values.append(row.key_id, row.req_bytes, out);
                out.extend_from_slice(b"\r\n");
                if ttl {
                    bulk(b"PX", out);
                    out.push(b'$');
                    append_decimal(u64::from(row.ttl_ms.ilog10()) + 1, out);
                    out.extend_from_slice(b"\r\n");
                    append_decimal(row.ttl_ms, out);
                    out.extend_from_slice(b"\r\n");
                }
            }
            "delete" | "trim" => simple(b"DEL", out),
            "incr" => simple(b"INCR", out),
            "decr" => simple(b"DECR", out),
            "touch" => simple(b"EXISTS", out),
            _ => simple(b"GET", out),
        }
        Expect::default()
    }

    fn parser(&self) -> Box<dyn Parser> {
        Box::<RespParser>::default()
    }
}

const LONGEST_LINE: usize = 64 * 1024;
const LARGEST_BULK: i64 = 512 << 20;
const DEEPEST: usize = 32;

/// Streaming RESP reader. Bulk bodies are skipped as they come, never kept, so memory stays bounded by one line.
#[derive(Default)]
pub struct RespParser {
    inbox: Inbox,
    /// Bytes of a bulk body (with its CRLF) still to skip.
    skip: u64,
    /// Elements still to come, by nesting depth.
    open: Vec<u64>,
    /// Outcome of the answer in progress: decided by its first element.
    begun: Option<Answer>,
}

impl RespParser {
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

    fn finish(&mut self) -> Parsed {
        Parsed::Answer { answer: self.begun.take().unwrap_or(Answer::Ok), close: false }
    }

    fn line_end(&self) -> Option<usize> {
        self.inbox.rest().windows(2).take(LONGEST_LINE).position(|w| w == b"\r\n")
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl Parser for RespParser {
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

    fn next(&mut self, _expect: &Expect) -> Parsed {
        loop {
            if self.skip > 0 {
                let have = self.inbox.rest().len() as u64;
                let pass = self.skip.min(have);
                self.inbox.take(pass as usize);
                self.skip -= pass;
                if self.skip > 0 {
                    return Parsed::NeedMore;
                }
                if self.element_ends() {
                    return self.finish();
                }
                continue;
            }
            let Some(end) = self.line_end() else {
                let rest = self.inbox.rest();
                let hopeless = rest.len() > LONGEST_LINE || rest.first().is_some_and(|b| !b"+-:$*_,#!=(%~>|".contains(b));
                return if hopeless { Parsed::Garbage } else { Parsed::NeedMore };
            };
            let line = &self.inbox.rest()[..end];
            let Some((&kind, body)) = line.split_first() else {
                return Parsed::Garbage;
            };
            let mut answer = Answer::Ok;
            let mut children = None;
            let mut skip = 0;
            match kind {
                b'+' | b':' | b',' | b'#' | b'(' => {}
                b'-' => answer = Answer::Server,
                b'_' => answer = Answer::Miss,
                b'$' | b'=' | b'!' => match number(body) {
                    Some(-1) => answer = Answer::Miss,
                    Some(n) if (0..=LARGEST_BULK).contains(&n) => {
                        skip = n as u64 + 2;
                        if kind == b'!' {
                            answer = Answer::Server;
                        }
                    }
                    _ => return Parsed::Garbage,
                },
                b'*' | b'%' | b'~' | b'>' | b'|' => match number(body) {
                    Some(-1) => answer = Answer::Miss,
                    Some(n) if (0..=1 << 30).contains(&n) => {
                        children = Some(if kind == b'%' || kind == b'|' { 2 * n as u64 } else { n as u64 });
                    }
                    _ => return Parsed::Garbage,
                },
                _ => return Parsed::Garbage,
            }
            self.inbox.take(end + 2);
            self.begun.get_or_insert(answer);
            match children {
                Some(n) if n > 0 => {
                    if self.open.len() >= DEEPEST {
                        return Parsed::Garbage;
                    }
                    self.open.push(n);
                }
                _ if skip > 0 => self.skip = skip,
                _ => {
                    if self.element_ends() {
                        return self.finish();
                    }
                }
            }
        }
    }

    fn reset(&mut self) {
        *self = RespParser::default();
    }

    fn unread(&self) -> usize {
        self.inbox.rest().len()
    }

    fn is_between(&self) -> bool {
        self.inbox.rest().is_empty() && self.skip == 0 && self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{fuzz, Values};
    use super::*;

    fn parse(bytes: &[u8]) -> Vec<Parsed> {
        fuzz::answers(&mut RespParser::default(), bytes, &[], &Expect::default())
    }

    fn ok(answer: Answer) -> Parsed {
        Parsed::Answer { answer, close: false }
    }

    #[test]
    fn reads_each_kind_of_answer() {
        let bytes = b"+OK\r\n$-1\r\n-ERR no\r\n$3\r\nabc\r\n:12\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n_\r\n*0\r\n";
        use Answer::*;
        assert_eq!(parse(bytes), [Ok, Miss, Server, Ok, Ok, Ok, Miss, Ok].map(ok));
    }

    #[test]
    fn writes_each_command_as_redis_reads_it() {
        let redis = Redis::new(Wire { host: String::new(), path: String::new(), expect_bytes: false, values: Values::new() });
        let row = Row { key_id: 0xab, key_bytes: 4, req_bytes: 3, ttl_ms: 1500, ..Row::default() };
        let wire = |op: &str| {
            let mut out = Vec::new();
            redis.encode(&row, op, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(wire("gets"), "*2\r\n$3\r\nGET\r\n$4\r\n00ab\r\n");
        assert_eq!(wire("delete"), "*2\r\n$3\r\nDEL\r\n$4\r\n00ab\r\n");
        let set = wire("cas");
        assert!(set.starts_with("*5\r\n$3\r\nSET\r\n$4\r\n00ab\r\n$3\r\n"), "{set}");
        assert!(set.ends_with("\r\n$2\r\nPX\r\n$4\r\n1500\r\n"), "{set}");
    }

    #[test]
    fn garbage_is_seen_at_its_first_byte() {
        assert_eq!(parse(b"HTTP"), [Parsed::Garbage]);
        assert_eq!(parse(b"$abc\r\n"), [Parsed::Garbage]);
        assert_eq!(parse(b"$99999999999\r\n"), [Parsed::Garbage]);
    }

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_answers_without_panic() {
        let words: [&[u8]; 11] = [
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
        ];
        fuzz::split_invariant(&|| Box::<RespParser>::default(), &words, &Expect::default());
    }
}
