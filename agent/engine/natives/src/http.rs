//! HTTP/1.1 on the server's side: keep-alive, pipelining, bodies by Content-Length; every request is answered 200 (RFC 9112).

use crate::protocol::{told_in_text, Found, Protocol};

const LONGEST_HEAD: usize = 64 * 1024;
const LARGEST_BODY: usize = 64 << 20;

/// Answers with a body of a fixed length.
pub struct Http {
    body: Vec<u8>,
}

impl Http {
    pub fn new(body_bytes: usize) -> Self {
        Http { body: vec![b'x'; body_bytes] }
    }
}

struct Head<'a> {
    bytes: usize,
    body: usize,
    method: &'a [u8],
    target: &'a [u8],
    close: bool,
}

/// Ok(None): the head is not whole yet.
fn read_head(input: &[u8]) -> Result<Option<Head<'_>>, &'static str> {
    let Some(end) = input.windows(4).take(LONGEST_HEAD).position(|w| w == b"\r\n\r\n") else {
        return if input.len() > LONGEST_HEAD { Err("head too long") } else { Ok(None) };
    };
    let mut lines = input[..end].split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let mut words = lines.next().unwrap_or_default().split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err("bad request line");
    };
    let kept = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err("unknown version"),
    };
    let mut head = Head { bytes: end + 4, body: 0, method, target, close: !kept };
    for line in lines {
        let Some(colon) = line.iter().position(|b| *b == b':') else { return Err("bad header") };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value).ok().and_then(|t| t.parse().ok()).filter(|n| *n <= LARGEST_BODY);
            head.body = length.ok_or("bad Content-Length")?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err("bodies come with Content-Length only");
        } else if name.eq_ignore_ascii_case(b"connection") {
            if value.eq_ignore_ascii_case(b"close") {
                head.close = true;
            } else if value.eq_ignore_ascii_case(b"keep-alive") {
                head.close = false;
            }
        }
    }
    Ok(Some(head))
}

impl Protocol for Http {
    fn read(&mut self, input: &[u8]) -> Found {
        match read_head(input) {
            Err(why) => Found::Broken(why),
            Ok(Some(head)) if input.len() >= head.bytes + head.body => {
                Found::Request { used: head.bytes + head.body, told_ns: told_in_text(head.target) }
            }
            Ok(_) => Found::NeedMore,
        }
    }

    fn answer(&mut self, request: &[u8], out: &mut Vec<u8>) -> bool {
        let Ok(Some(head)) = read_head(request) else { return false };
        // A client of HTTP/1.0 must be told that the connection stays, one of 1.1 that it does not.
        let connection = if head.close { "close" } else { "keep-alive" };
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: ");
        out.extend_from_slice(connection.as_bytes());
        out.extend_from_slice(format!("\r\nContent-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        if head.method != b"HEAD" {
            out.extend_from_slice(&self.body);
        }
        !head.close
    }

    fn refuse(&mut self, why: &str, out: &mut Vec<u8>) {
        let head = format!("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{why}", why.len());
        out.extend_from_slice(head.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_end_where_their_bodies_end() {
        let mut http = Http::new(2);
        let get = b"GET /?service_us=5 HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(http.read(get), Found::Request { used: get.len(), told_ns: 5000 });
        assert_eq!(http.read(&get[..get.len() - 1]), Found::NeedMore);
        let put = b"PUT / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET";
        assert_eq!(http.read(put), Found::Request { used: put.len() - 3, told_ns: 0 });
        assert_eq!(http.read(&put[..put.len() - 4]), Found::NeedMore);
    }

    #[test]
    fn answers_keep_or_close_as_asked() {
        let mut http = Http::new(2);
        let mut out = Vec::new();
        assert!(http.answer(b"GET / HTTP/1.1\r\n\r\n", &mut out));
        assert!(out.ends_with(b"Content-Length: 2\r\n\r\nxx"));
        out.clear();
        assert!(!http.answer(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n", &mut out));
        assert!(out.ends_with(b"Content-Length: 2\r\n\r\n"));
        assert!(!http.answer(b"GET / HTTP/1.0\r\n\r\n", &mut out));
        assert!(http.answer(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &mut out));
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        let pieces: [&[u8]; 8] =
            [b"GET / HTTP/1.1\r\n", b"\r\n\r\n", b"a:b\r\n", b"Content-Length: 9", b"\n", b"\r", b"abc", b" :"];
        let mut state = 1u64;
        let mut http = Http::new(0);
        for _ in 0..20_000 {
            let mut input = Vec::new();
            for _ in 0..8 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                input.extend_from_slice(pieces[(state >> 60) as usize % pieces.len()]);
            }
            if let Found::Request { used, .. } = http.read(&input) {
                http.answer(&input[..used], &mut Vec::new());
            }
        }
    }
}
