//! HTTP/1.1 with keep-alive, pipelining of what is due, Content-Length and chunked bodies (RFC 9112). Heads by `httparse`.

use super::{append_decimal, append_key, Answer, Encoder, Expect, Inbox, Parsed, Parser, Wire};
use crate::feed::Row;

pub struct Http {
    wire: Wire,
}

impl Http {
    pub fn new(wire: Wire) -> Self {
        Http { wire }
    }
}

fn method(op: &str, has_body: bool) -> &'static str {
    match op {
        "GET" | "get" | "read" => "GET",
        "HEAD" | "head" => "HEAD",
        "PUT" | "put" | "set" | "write" => "PUT",
        "DELETE" | "delete" => "DELETE",
        "OPTIONS" | "options" => "OPTIONS",
        "PATCH" | "patch" => "PATCH",
        "POST" | "post" => "POST",
        _ if has_body => "POST",
        _ => "GET",
    }
}

/// A target as a request line may carry it: what would break the line is percent-encoded.
fn append_target(text: &[u8], out: &mut Vec<u8>) {
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

impl Encoder for Http {
    fn encode(&self, row: &Row, op: &str, out: &mut Vec<u8>) -> Expect {
        let verb = method(op, row.req_bytes > 0);
        let body = if matches!(verb, "GET" | "HEAD" | "DELETE" | "OPTIONS") { 0 } else { row.req_bytes };
        out.extend_from_slice(verb.as_bytes());
        out.push(b' ');
        match row.target.as_deref() {
            Some(text) => append_target(text, out),
            None => {
                out.extend_from_slice(self.wire.path.as_bytes());
                if self.wire.path.ends_with("/{key}") {
                    out.truncate(out.len() - "{key}".len());
                    append_key(row.key_id, row.key_bytes, out);
                }
            }
        }
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(self.wire.host.as_bytes());
        out.extend_from_slice(b"\r\nUser-Agent: offspec\r\n");
        if body > 0 || matches!(verb, "POST" | "PUT" | "PATCH") {
            out.extend_from_slice(b"Content-Type: application/octet-stream\r\nContent-Length: ");
            append_decimal(body, out);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        self.wire.values.append(row.key_id, body, out);
        Expect { resp_bytes: 0, head: verb == "HEAD" }
    }

    fn parser(&self) -> Box<dyn Parser> {
        Box::<HttpParser>::default()
    }

    fn reads_targets(&self) -> bool {
        true
    }
}

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
pub struct HttpParser {
    inbox: Inbox,
    state: State,
    answer: Answer,
    close: bool,
}

impl Default for HttpParser {
    fn default() -> Self {
        HttpParser { inbox: Inbox::default(), state: State::Head, answer: Answer::Ok, close: false }
    }
}

impl HttpParser {
    fn finish(&mut self) -> Parsed {
        self.state = State::Head;
        Parsed::Answer { answer: self.answer, close: std::mem::take(&mut self.close) }
    }

    /// Parses a head; Err means garbage, Ok(None) more bytes.
    fn head(&mut self, expect: &Expect) -> Result<Option<State>, ()> {
        let rest = self.inbox.rest();
        let mut headers = [httparse::EMPTY_HEADER; 96];
        let mut response = httparse::Response::new(&mut headers);
        let used = match response.parse(rest) {
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

    fn skip(&mut self, left: u64) -> u64 {
        let pass = left.min(self.inbox.rest().len() as u64);
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
                let left = self.skip(left);
                if left == 0 {
                    return Ok(Some(self.finish()));
                }
                self.state = State::Body(left);
                return Ok(Some(Parsed::NeedMore));
            }
            State::UntilClosed => {
                self.inbox.clear();
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
                let left = self.skip(left);
                if left > 0 {
                    self.state = State::Chunk(left);
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

impl Parser for HttpParser {
    fn push(&mut self, bytes: &[u8]) {
        if self.inbox.rest().is_empty() {
            // A large body passes by without being copied; its last byte goes through `next`.
            if let State::Body(left) | State::Chunk(left) = &mut self.state {
                let pass = (*left - 1).min(bytes.len() as u64);
                *left -= pass;
                self.inbox.push(&bytes[pass as usize..]);
                return;
            }
        }
        self.inbox.push(bytes);
    }

    fn next(&mut self, expect: &Expect) -> Parsed {
        loop {
            match self.step(expect) {
                Ok(Some(parsed)) => return parsed,
                Ok(None) => {}
                Err(()) => return Parsed::Garbage,
            }
        }
    }

    fn reset(&mut self) {
        *self = HttpParser::default();
    }

    fn unread(&self) -> usize {
        self.inbox.rest().len()
    }

    fn is_between(&self) -> bool {
        self.inbox.rest().is_empty() && self.state == State::Head
    }

    fn closed(&mut self) -> Option<Answer> {
        (self.state == State::UntilClosed).then_some(self.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{fuzz, Values};
    use super::*;

    fn parse(bytes: &[u8]) -> Vec<Parsed> {
        fuzz::answers(&mut HttpParser::default(), bytes, &[], &Expect::default())
    }

    #[test]
    fn reads_lengths_chunks_and_codes() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 404 no\r\nContent-Length: 0\r\n\r\n\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\nT: 1\r\n\r\n\
            HTTP/1.1 503 busy\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
        let answer = |answer, close| Parsed::Answer { answer, close };
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
        let mut parser = HttpParser::default();
        assert_eq!(fuzz::answers(&mut parser, b"HTTP/1.1 404 no\r\n\r\nsome text", &[30], &Expect::default()), []);
        assert_eq!(parser.closed(), Some(Answer::Status4xx));
    }

    #[test]
    fn a_target_cannot_break_the_request_line() {
        let http = Http::new(Wire { host: "h".into(), path: "/".into(), expect_bytes: false, values: Values::new() });
        let row = Row { target: Some(b"a b\r\nX: 1".as_slice().into()), req_bytes: 2, ..Row::default() };
        let mut out = Vec::new();
        http.encode(&row, "chat", &mut out);
        let text = String::from_utf8_lossy(&out);
        assert!(text.starts_with("POST /a%20b%0D%0AX:%201 HTTP/1.1\r\nHost: h\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Length: 2\r\n\r\n"), "{text}");
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
        fuzz::split_invariant(&|| Box::<HttpParser>::default(), &words, &Expect::default());
    }
}
