//! Server-sent events of a streamed completion (<https://platform.openai.com/docs/api-reference/chat/streaming>): counts the
//! chunks that carry text, reads the count that the server gives itself, and sees an error told in mid-stream.
//!
//! No JSON parser: an event is looked at for a handful of members. Escapes do not matter for whether a text is empty.

use memchr::memmem::find;

/// Of a longer event only so much is looked at.
const LONGEST_EVENT: usize = 64 * 1024;

#[derive(Default)]
pub struct Scanner {
    line: Vec<u8>,
    tokens: u32,
    usage: Option<u32>,
    error: bool,
}

impl Scanner {
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.keep(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.event(&line);
            self.line = line;
            self.line.clear();
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST_EVENT.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn event(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data:") else {
            return;
        };
        let data = data.trim_ascii();
        if data.starts_with(b"{\"error\"") || member(data, b"\"error\"").is_some_and(|v| v.starts_with(b"{")) {
            self.error = true;
        }
        let says = |name: &[u8]| member(data, name).is_some_and(|v| v.starts_with(b"\"") && !v.starts_with(b"\"\""));
        if says(b"\"content\"") || says(b"\"text\"") || says(b"\"reasoning_content\"") {
            self.tokens = self.tokens.saturating_add(1);
        }
        if let Some(value) = member(data, b"\"completion_tokens\"") {
            let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
            self.usage = std::str::from_utf8(&value[..digits]).ok().and_then(|n| n.parse().ok()).or(self.usage);
        }
    }

    pub fn take_tokens(&mut self) -> Option<u32> {
        Some(std::mem::take(&mut self.tokens)).filter(|n| *n > 0)
    }

    pub fn take_usage(&mut self) -> Option<u32> {
        self.usage.take()
    }

    pub fn ended_with_error(&self) -> bool {
        self.error
    }
}

/// What follows `name :` in a JSON text.
fn member<'a>(data: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let after = data[find(data, name)? + name.len()..].trim_ascii_start();
    after.strip_prefix(b":").map(<[u8]>::trim_ascii_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_chunks_with_text_and_reads_usage() {
        let stream = b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\r\n\r\n: comment\n\
            data: {\"choices\":[{\"delta\": {\"content\" : \" you\"}}]}\n\n\
            data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":7}}\n\ndata: [DONE]\n\n";
        for cut in 0..stream.len() {
            let mut scanner = Scanner::default();
            scanner.push(&stream[..cut]);
            scanner.push(&stream[cut..]);
            assert_eq!((scanner.take_tokens(), scanner.take_usage(), scanner.error), (Some(2), Some(7), false));
        }
    }

    #[test]
    fn an_error_in_mid_stream_is_seen_and_memory_is_bounded() {
        let mut scanner = Scanner::default();
        scanner.push(b"data: {\"error\": {\"message\": \"out of memory\"}}\n");
        assert!(scanner.ended_with_error());
        (0..100).for_each(|_| scanner.push(&[b'x'; 4096]));
        assert!(scanner.line.len() <= LONGEST_EVENT);
    }
}
