//! What a target speaks: where a request ends, what service time it tells, and its answer. Pure: bytes in, bytes out.

use crate::resp::{self, execute, read_command};
use crate::store::Store;

/// What lies at the front of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole request of `used` bytes that tells this service time (0 where it tells none).
    Request {
        used: usize,
        told_ns: u64,
    },
    NeedMore,
    /// Cannot be a request; nothing after it can be read.
    Broken(&'static str),
}

pub trait Protocol {
    fn read(&mut self, input: &[u8]) -> Found;

    /// Appends the answer to one whole request. False: it is the last of its connection.
    fn answer(&mut self, request: &[u8], out: &mut Vec<u8>) -> bool;

    /// Appends what a client is told before it is left because its stream is broken.
    fn refuse(&mut self, _why: &str, _out: &mut Vec<u8>) {}
}

/// The service time in a text that holds `service_us=N` (a URL, a key); 0 without it.
pub fn told_in_text(text: &[u8]) -> u64 {
    const NAME: &[u8] = b"service_us=";
    let Some(at) = text.windows(NAME.len()).position(|w| w == NAME) else { return 0 };
    let digits = text[at + NAME.len()..].iter().take_while(|b| b.is_ascii_digit());
    digits.fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0'))).saturating_mul(1000)
}

/// The service time at the front of a binary request: 8 bytes, little-endian nanoseconds; 0 for a shorter request.
pub fn told_in_front(request: &[u8]) -> u64 {
    request.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Gives back what it gets. A stream of bytes has no requests of its own: they are `frame` bytes each, or, with 0, whatever
/// has arrived at once.
pub struct Echo {
    pub frame: usize,
}

impl Protocol for Echo {
    fn read(&mut self, input: &[u8]) -> Found {
        let used = if self.frame == 0 { input.len() } else { self.frame };
        match input.get(..used) {
            Some(request) if used > 0 => Found::Request { used, told_ns: told_in_front(request) },
            _ => Found::NeedMore,
        }
    }

    fn answer(&mut self, request: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(request);
        true
    }
}

/// RESP on a store. The key (the first word after the command) may tell the service time.
#[derive(Default)]
pub struct Resp {
    store: Store,
    words: Vec<(usize, usize)>,
}

impl Protocol for Resp {
    fn read(&mut self, input: &[u8]) -> Found {
        match read_command(input, &mut self.words) {
            resp::Read::Command { used } => {
                let told_ns = self.words.get(1).map_or(0, |(from, to)| told_in_text(&input[*from..*to]));
                Found::Request { used, told_ns }
            }
            resp::Read::NeedMore => Found::NeedMore,
            resp::Read::Broken(why) => Found::Broken(why),
        }
    }

    fn answer(&mut self, request: &[u8], out: &mut Vec<u8>) -> bool {
        read_command(request, &mut self.words);
        let slices: Vec<&[u8]> = self.words.iter().map(|(from, to)| &request[*from..*to]).collect();
        execute(&slices, &mut self.store, "# Server\r\nmode:queue\r\n", out)
    }

    fn refuse(&mut self, why: &str, out: &mut Vec<u8>) {
        resp::error(&format!("Protocol error: {why}"), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_tell_their_service_time() {
        assert_eq!(told_in_text(b"/?a=1&service_us=200&b=2"), 200_000);
        assert_eq!(told_in_text(b"key"), 0);
        assert_eq!(told_in_text(b"service_us=99999999999999999999999"), u64::MAX);
        assert_eq!(told_in_front(&[1, 2, 0, 0, 0, 0, 0, 0, 9]), 513);
        assert_eq!(told_in_front(b"short"), 0);
    }

    #[test]
    fn echo_cuts_its_stream_into_frames() {
        let mut echo = Echo { frame: 3 };
        assert_eq!(echo.read(b"ab"), Found::NeedMore);
        assert_eq!(echo.read(b"abcd"), Found::Request { used: 3, told_ns: 0 });
        let mut any = Echo { frame: 0 };
        assert_eq!(any.read(b""), Found::NeedMore);
        assert_eq!(any.read(b"abcd"), Found::Request { used: 4, told_ns: 0 });
    }

    #[test]
    fn a_key_tells_the_service_time_of_its_command() {
        let mut resp = Resp::default();
        let input = b"GET k?service_us=7\r\nPING\r\n";
        assert_eq!(resp.read(input), Found::Request { used: 20, told_ns: 7000 });
        let mut out = Vec::new();
        assert!(resp.answer(&input[..20], &mut out));
        assert_eq!(out, b"$-1\r\n");
    }
}
