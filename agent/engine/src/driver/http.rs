//! HTTP/1.1 with keep-alive, pipelining of what is due, Content-Length and chunked bodies (RFC 9112). Heads by `httparse`.

use std::mem::MaybeUninit;
use std::sync::Arc;

use super::sse::Scanner;
use super::{append_decimal, append_key, Answer, Expect, Inbox, Of, Options, Parsed, Protocol, Reads, Session, Verb, Wire};
use crate::feed::Row;

pub struct Http {
    wire: Arc<Wire>,
    path: Arc<str>,
    /// Lines of the head after the request line, each with its end.
    headers: Arc<[u8]>,
}

/// The caller's own headers: `Name: value`, one a line.
pub(super) fn extra_headers(options: &mut Options) -> Result<Vec<(String, String)>, String> {
    let given = options.take("headers").unwrap_or_default();
    let lines = given.lines().filter(|line| !line.is_empty());
    let split = |line: &str| {
        let parts = line.split_once(':').map(|(name, value)| (name.trim().to_string(), value.trim().to_string()));
        let token =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        let fits = |value: &str| value.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 127));
        let whole = parts.filter(|(name, value)| token(name) && fits(value));
        whole.ok_or_else(|| format!("option headers: {line:?} is not `Name: value`"))
    };
    lines.map(split).collect()
}

/// Lines of a request's head that are the same for all requests.
pub(super) fn constant_headers(host: &str, extra: &[(String, String)]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in [("Host", host), ("User-Agent", "offspec")] {
        if !extra.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
            lines.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    extra.iter().for_each(|(name, value)| lines.extend_from_slice(format!("{name}: {value}\r\n").as_bytes()));
    lines
}

impl Http {
    pub fn new(wire: Arc<Wire>, options: &mut Options) -> Result<Self, String> {
        let extra = extra_headers(options)?;
        let headers = constant_headers(&wire.host, &extra).into();
        Ok(Http { headers, path: options.path("/")?.into(), wire })
    }
}

/// Verbs are places in this list; the last three have no body.
const METHODS: [&str; 8] = ["POST", "PUT", "PATCH", "", "GET", "HEAD", "DELETE", "OPTIONS"];
/// A POST if there is a body, else a GET.
const BY_BODY: Verb = 3;
const GET: Verb = 4;
const HEAD: Verb = 5;

pub(super) fn verb(op: &str) -> Verb {
    let method = match op {
        "read" => "GET",
        "set" | "write" => "PUT",
        other => &other.to_ascii_uppercase(),
    };
    METHODS.iter().position(|m| *m == method).map_or(BY_BODY, |at| at as Verb)
}

/// The method of a verb, and how many bytes of body it carries.
pub(super) fn method(verb: Verb, row: &Row) -> (&'static str, u64, bool) {
    let verb = match verb {
        BY_BODY if row.req_bytes > 0 => 0,
        BY_BODY => GET,
        verb => verb,
    };
    (METHODS[usize::from(verb)], if verb < BY_BODY { u64::from(row.req_bytes) } else { 0 }, verb == HEAD)
}

/// A target as a request line may carry it: what would break the line is percent-encoded.
fn append_text(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if text.first() != Some(&b'/') {
        out.push(b'/');
    }
    for &byte in text {
        if byte.is_ascii_graphic() {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// The row's own target, else `path`, in which `{key}` at the end stands for the row's key.
pub(super) fn append_target(row: &Row, path: &str, out: &mut Vec<u8>) {
    match row.target.as_deref() {
        Some(text) => append_text(text, out),
        None => match path.strip_suffix("{key}") {
            Some(front) => {
                out.extend_from_slice(front.as_bytes());
                append_key(row.key_id, row.key_bytes, out);
            }
            None => out.extend_from_slice(path.as_bytes()),
        },
    }
}

impl Protocol for Http {
    fn session(&self) -> Box<dyn Session> {
        let (wire, path, headers) = (self.wire.clone(), self.path.clone(), self.headers.clone());
        Box::new(Client { wire, path, headers, reader: Reader::default() })
    }
    fn verb(&self, op: &str) -> Verb {
        verb(op)
    }
    fn reads(&self) -> Reads {
        Reads { targets: true, ..Reads::default() }
    }
    fn alpn(&self) -> Option<&'static [u8]> {
        Some(b"http/1.1")
    }
}

struct Client {
    wire: Arc<Wire>,
    path: Arc<str>,
    headers: Arc<[u8]>,
    reader: Reader,
}

impl Session for Client {
    fn open(&mut self, _out: &mut Vec<u8>) {
        self.reader = Reader::default();
    }

    fn encode(&mut self, row: &Row, verb: Verb, _number: u64, out: &mut Vec<u8>) -> Expect {
        let (method, body, head) = method(verb, row);
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
        append_target(row, &self.path, out);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        out.extend_from_slice(&self.headers);
        if body > 0 || matches!(method, "POST" | "PUT" | "PATCH") {
            out.extend_from_slice(b"Content-Type: application/octet-stream\r\nContent-Length: ");
            append_decimal(body, out);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        self.wire.values.append(row.key_id, body, out);
        Expect { head, ..Expect::default() }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }
    fn next(&mut self, expect: &Expect) -> Parsed {
        self.reader.next(expect)
    }
    fn unread(&self) -> usize {
        self.reader.unread()
    }
    fn is_between(&self) -> bool {
        self.reader.is_between()
    }
    fn closed(&mut self) -> Option<Answer> {
        self.reader.closed()
    }
}

/// More than servers are known to send.
const MOST_HEADERS: usize = 96;
const LONGEST_HEAD: usize = 64 * 1024;
const LONGEST_CHUNK_LINE: usize = 4096;
const LARGEST_BODY: u64 = 1 << 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// Bytes of a body with Content-Length still to skip.
    Body(u64),
    ChunkSize,
    /// Bytes of a chunk, with its CRLF, still to skip.
    Chunk(u64),
    Trailers,
    /// A body without a length: all until the peer closes.
    UntilClosed,
}

/// Streaming response reader: bodies are skipped as they come, never kept.
pub(super) struct Reader {
    inbox: Inbox,
    state: State,
    answer: Answer,
    close: bool,
    /// Looks at bodies that stream tokens.
    scanner: Option<Scanner>,
}

impl Default for Reader {
    fn default() -> Self {
        Reader { inbox: Inbox::default(), state: State::Head, answer: Answer::Ok, close: false, scanner: None }
    }
}

impl Reader {
    /// One that counts the tokens of streamed answers.
    pub(super) fn scanning() -> Self {
        Reader { scanner: Some(Scanner::default()), ..Reader::default() }
    }

    fn finish(&mut self) -> Parsed {
        self.state = State::Head;
        let mut answer = self.answer;
        if let Some(scanner) = &mut self.scanner {
            if scanner.ended_with_error() && answer == Answer::Ok {
                answer = Answer::Server;
            }
            *scanner = Scanner::default();
        }
        Parsed::Answer { of: Of::Oldest, answer, close: std::mem::take(&mut self.close) }
    }

    /// Tokens that have come since the last look.
    fn tokens(&mut self) -> Option<Parsed> {
        let scanner = self.scanner.as_mut()?;
        if let Some(tokens) = scanner.take_tokens() {
            return Some(Parsed::Tokens { of: Of::Oldest, tokens });
        }
        scanner.take_usage().map(|tokens| Parsed::Usage { of: Of::Oldest, tokens })
    }

    /// Parses a head; Err means garbage, Ok(None) more bytes.
    fn head(&mut self, expect: &Expect) -> Result<Option<State>, ()> {
        let rest = self.inbox.rest();
        let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let used = match config.parse_response_with_uninit_headers(&mut response, rest, &mut headers) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) if rest.len() <= LONGEST_HEAD => return Ok(None),
            _ => return Err(()),
        };
        let code = response.code.unwrap_or(0);
        let mut length = None;
        let mut chunked = false;
        let mut close = response.version == Some(0);
        for header in response.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                let text = std::str::from_utf8(header.value).map_err(|_| ())?;
                let n: u64 = text.trim().parse().map_err(|_| ())?;
                if n > LARGEST_BODY || length.is_some_and(|l| l != n) {
                    return Err(());
                }
                length = Some(n);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = header.value.to_ascii_lowercase().ends_with(b"chunked");
            } else if header.name.eq_ignore_ascii_case("connection") {
                let value = header.value.to_ascii_lowercase();
                close = value.windows(5).any(|w| w == b"close") || (close && !value.windows(10).any(|w| w == b"keep-alive"));
            }
        }
        self.inbox.take(used);
        if (100..200).contains(&code) {
            return Ok(Some(State::Head));
        }
        self.close = close;
        self.answer = match code {
            400..=499 => Answer::Status4xx,
            500..=599 => Answer::Status5xx,
            _ => Answer::Ok,
        };
        if expect.head || code == 204 || code == 304 {
            return Ok(Some(State::Body(0)));
        }
        if chunked {
            return Ok(Some(State::ChunkSize));
        }
        match length {
            Some(n) => Ok(Some(State::Body(n))),
            None => Ok(Some(State::UntilClosed)),
        }
    }

    fn line(&self, longest: usize) -> Result<Option<usize>, ()> {
        let rest = self.inbox.rest();
        match rest.iter().take(longest).position(|b| *b == b'\n') {
            Some(at) => Ok(Some(at)),
            None if rest.len() >= longest => Err(()),
            None => Ok(None),
        }
    }

    /// Passes by up to `left` bytes, the last `framing` of which are no body; how many are still to come.
    fn skip(&mut self, left: u64, framing: u64) -> u64 {
        let rest = self.inbox.rest();
        let pass = left.min(rest.len() as u64);
        if let Some(scanner) = &mut self.scanner {
            scanner.push(&rest[..pass.min(left - framing.min(left)) as usize]);
        }
        self.inbox.take(pass as usize);
        left - pass
    }

    fn step(&mut self, expect: &Expect) -> Result<Option<Parsed>, ()> {
        match self.state {
            State::Head => {
                if self.inbox.rest().is_empty() {
                    return Ok(Some(Parsed::NeedMore));
                }
                match self.head(expect)? {
                    None => return Ok(Some(Parsed::NeedMore)),
                    Some(state) => self.state = state,
                }
                if self.state == State::Body(0) {
                    return Ok(Some(self.finish()));
                }
            }
            State::Body(left) => {
                let left = self.skip(left, 0);
                self.state = State::Body(left);
                if let Some(tokens) = self.tokens() {
                    return Ok(Some(tokens));
                }
                if left == 0 {
                    return Ok(Some(self.finish()));
                }
                return Ok(Some(Parsed::NeedMore));
            }
            State::UntilClosed => {
                self.skip(u64::MAX, 0);
                if let Some(tokens) = self.tokens() {
                    return Ok(Some(tokens));
                }
                return Ok(Some(Parsed::NeedMore));
            }
            State::ChunkSize => {
                let Some(end) = self.line(LONGEST_CHUNK_LINE)? else {
                    return Ok(Some(Parsed::NeedMore));
                };
                let line = &self.inbox.rest()[..end];
                let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
                let text = std::str::from_utf8(&line[..digits]).map_err(|_| ())?;
                let size = u64::from_str_radix(text, 16).map_err(|_| ())?;
                if size > LARGEST_BODY {
                    return Err(());
                }
                self.inbox.take(end + 1);
                self.state = if size == 0 { State::Trailers } else { State::Chunk(size + 2) };
            }
            State::Chunk(left) => {
                let left = self.skip(left, 2);
                self.state = State::Chunk(left);
                if let Some(tokens) = self.tokens() {
                    return Ok(Some(tokens));
                }
                if left > 0 {
                    return Ok(Some(Parsed::NeedMore));
                }
                self.state = State::ChunkSize;
            }
            State::Trailers => {
                let Some(end) = self.line(LONGEST_CHUNK_LINE)? else {
                    return Ok(Some(Parsed::NeedMore));
                };
                let blank = self.inbox.rest()[..end].iter().all(|b| *b == b'\r');
                self.inbox.take(end + 1);
                if blank {
                    return Ok(Some(self.finish()));
                }
            }
        }
        Ok(None)
    }
}

impl Reader {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.inbox.rest().is_empty() && self.scanner.is_none() {
            // A large body passes by without being copied; its last byte goes through `next`.
            if let State::Body(left) | State::Chunk(left) = &mut self.state {
                let pass = left.saturating_sub(1).min(bytes.len() as u64);
                *left -= pass;
                self.inbox.push(&bytes[pass as usize..]);
                return;
            }
        }
        self.inbox.push(bytes);
    }

    pub(super) fn next(&mut self, expect: &Expect) -> Parsed {
        loop {
            match self.step(expect) {
                Ok(Some(parsed)) => return parsed,
                Ok(None) => {}
                Err(()) => return Parsed::Garbage,
            }
        }
    }

    pub(super) fn unread(&self) -> usize {
        self.inbox.rest().len()
    }

    pub(super) fn is_between(&self) -> bool {
        self.inbox.rest().is_empty() && self.state == State::Head
    }

    pub(super) fn closed(&mut self) -> Option<Answer> {
        (self.state == State::UntilClosed).then_some(self.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz;
    use super::*;

    fn parse(bytes: &[u8]) -> Vec<Parsed> {
        fuzz::answers(&mut *fuzz::session("http"), bytes, &[], &Expect::default())
    }

    #[test]
    fn reads_lengths_chunks_and_codes() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 404 no\r\nContent-Length: 0\r\n\r\n\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\nT: 1\r\n\r\n\
            HTTP/1.1 503 busy\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
        let answer = |answer, close| Parsed::Answer { of: Of::Oldest, answer, close };
        assert_eq!(
            parse(bytes),
            [
                answer(Answer::Ok, false),
                answer(Answer::Status4xx, false),
                answer(Answer::Ok, false),
                answer(Answer::Status5xx, true)
            ]
        );
    }

    #[test]
    fn a_body_without_length_ends_with_the_connection() {
        let mut parser = fuzz::session("http");
        assert_eq!(fuzz::answers(&mut *parser, b"HTTP/1.1 404 no\r\n\r\nsome text", &[30], &Expect::default()), []);
        assert_eq!(parser.closed(), Some(Answer::Status4xx));
    }

    #[test]
    fn a_target_cannot_break_the_request_line() {
        let row = Row { target: Some(b"a b\r\nX: 1".as_slice().into()), req_bytes: 2, ..Row::default() };
        let mut out = Vec::new();
        fuzz::session("http").encode(&row, verb("chat"), 0, &mut out);
        let text = String::from_utf8_lossy(&out);
        assert!(text.starts_with("POST /a%20b%0D%0AX:%201 HTTP/1.1\r\nHost: h\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Length: 2\r\n\r\n"), "{text}");
    }

    #[test]
    fn own_headers_are_checked_and_replace_ours() {
        let mut given = Options::from(std::collections::BTreeMap::from([("headers".into(), "Host: x\nX-A:  b c".to_string())]));
        let extra = extra_headers(&mut given).expect("valid");
        assert_eq!(constant_headers("h", &extra), b"User-Agent: offspec\r\nHost: x\r\nX-A: b c\r\n");
        let mut wrong = Options::from(std::collections::BTreeMap::from([("headers".into(), "no colon".to_string())]));
        assert!(extra_headers(&mut wrong).is_err());
    }

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_answers_without_panic() {
        let words: [&[u8]; 9] = [
            b"HTTP/1.1 200 OK\r\n",
            b"Content-Length: 3\r\n",
            b"\r\n",
            b"abc",
            b"Transfer-Encoding: chunked\r\n",
            b"3\r\n",
            b"0\r\n",
            b"HTTP/1.1 204 no\r\n\r\n",
            b"Connection: close\r\n",
        ];
        fuzz::split_invariant(&|| fuzz::session("http"), &words, &Expect::default());
    }
}
