//! Streamed completions over the OpenAI API (<https://platform.openai.com/docs/api-reference>), as vLLM, SGLang, llama.cpp and others
//! serve it: chat by default, `completion` where the op says so.
//!
//! A prompt has the row's prompt_tokens words, each a common English word that tokenisers of the GPT and Llama families hold as one
//! token; the server's own count can differ by its template. Rows that share prefix hashes share the text of these blocks; the
//! rest of a prompt is the row's own.

use std::sync::Arc;

use super::http::{constant_headers, extra_headers, Reader};
use super::{append_decimal, Answer, Expect, Options, Parsed, Protocol, Reads, Session, Verb, Wire};
use crate::feed::{mix, Row};

const CHAT: Verb = 0;
const COMPLETION: Verb = 1;
/// Tokens of one block of shared prefix, as in the Mooncake and Qwen traces.
const BLOCK_TOKENS: u64 = 512;
const WORDS: [&str; 64] = [
    "the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not", "he", "his", "but",
    "at", "are", "this", "have", "from", "or", "had", "an", "they", "which", "one", "you", "were", "all", "her", "she", "there",
    "would", "their", "we", "him", "been", "has", "when", "who", "will", "no", "more", "if", "out", "so", "up", "said", "what",
    "its", "about", "than", "into", "them", "can", "only", "other", "time", "new", "some",
];

pub struct OpenAi {
    headers: Arc<[u8]>,
    model: Arc<str>,
    /// The request line's path before /chat/completions.
    path: Arc<str>,
    usage: bool,
    block_tokens: u64,
}

impl OpenAi {
    pub fn new(wire: Arc<Wire>, options: &mut Options) -> Result<Self, String> {
        let extra = extra_headers(options)?;
        let mut headers = constant_headers(&wire.host, &extra);
        if let Some(key) = options.take("key") {
            if !key.bytes().all(|b| b.is_ascii_graphic()) {
                return Err("option key: expected printable ASCII without spaces".into());
            }
            headers.extend_from_slice(format!("Authorization: Bearer {key}\r\n").as_bytes());
        }
        headers.extend_from_slice(b"Content-Type: application/json\r\nAccept: text/event-stream\r\n");
        let model = options.printable("model", "default")?;
        if model.contains(['"', '\\']) {
            return Err(format!("option model={model}: quotes and backslashes cannot stand in it"));
        }
        let path = options.path("/v1")?;
        Ok(OpenAi {
            headers: headers.into(),
            model: model.into(),
            path: path.trim_end_matches('/').into(),
            usage: options.word("usage", &["ask", "leave"])? == "ask",
            block_tokens: options.number("block_tokens", 1, 65_536, BLOCK_TOKENS)?,
        })
    }
}

impl Protocol for OpenAi {
    fn session(&self) -> Box<dyn Session> {
        Box::new(Completions {
            headers: self.headers.clone(),
            model: self.model.clone(),
            path: self.path.clone(),
            usage: self.usage,
            block_tokens: self.block_tokens,
            body: Vec::new(),
            reader: Reader::scanning(),
        })
    }
    fn verb(&self, op: &str) -> Verb {
        if op == "completion" {
            COMPLETION
        } else {
            CHAT
        }
    }
    fn reads(&self) -> Reads {
        Reads { tokens: true, ..Reads::default() }
    }
    fn alpn(&self) -> Option<&'static [u8]> {
        Some(b"http/1.1")
    }
}

struct Completions {
    headers: Arc<[u8]>,
    model: Arc<str>,
    path: Arc<str>,
    usage: bool,
    block_tokens: u64,
    body: Vec<u8>,
    reader: Reader,
}

/// Appends `tokens` words that depend on `seed` alone.
fn words(seed: u64, tokens: u64, out: &mut Vec<u8>) {
    let mut state = mix(seed);
    for at in 0..tokens {
        if at % 10 == 0 {
            state = mix(state.wrapping_add(at));
        }
        out.push(b' ');
        out.extend_from_slice(WORDS[(state >> (6 * (at % 10))) as usize & 63].as_bytes());
    }
}

impl Completions {
    fn prompt(&mut self, row: &Row) {
        let (prompt, prefix) =
            row.llm.as_ref().map_or((1, &[][..]), |llm| (u64::from(llm.prompt_tokens).max(1), &*llm.prefix_hashes));
        let mut left = prompt;
        for hash in prefix {
            let take = left.min(self.block_tokens);
            words(*hash, take, &mut self.body);
            left -= take;
        }
        // Nobody else has the rest of this prompt.
        words(!row.due_ns as u64 ^ row.key_id, left, &mut self.body);
    }
}

impl Session for Completions {
    fn open(&mut self, _out: &mut Vec<u8>) {
        self.reader = Reader::scanning();
    }

    fn encode(&mut self, row: &Row, verb: Verb, _number: u64, out: &mut Vec<u8>) -> Expect {
        let answer = row.llm.as_ref().map_or(0, |llm| llm.output_tokens);
        self.body.clear();
        self.body.extend_from_slice(b"{\"model\":\"");
        self.body.extend_from_slice(self.model.as_bytes());
        self.body.extend_from_slice(if verb == CHAT {
            b"\",\"messages\":[{\"role\":\"user\",\"content\":\"".as_slice()
        } else {
            b"\",\"prompt\":\""
        });
        self.prompt(row);
        self.body.extend_from_slice(if verb == CHAT { b"\"}]".as_slice() } else { b"\"" });
        if answer > 0 {
            // ignore_eos: what the trace says, not what the model would like; servers that do not know it leave it aside.
            self.body.extend_from_slice(b",\"ignore_eos\":true,\"max_tokens\":");
            append_decimal(u64::from(answer), &mut self.body);
        }
        self.body.extend_from_slice(b",\"stream\":true");
        if self.usage {
            self.body.extend_from_slice(b",\"stream_options\":{\"include_usage\":true}");
        }
        self.body.extend_from_slice(b",\"temperature\":0}");
        out.extend_from_slice(b"POST ");
        out.extend_from_slice(self.path.as_bytes());
        out.extend_from_slice(if verb == CHAT {
            b"/chat/completions HTTP/1.1\r\n".as_slice()
        } else {
            b"/completions HTTP/1.1\r\n"
        });
        out.extend_from_slice(&self.headers);
        out.extend_from_slice(b"Content-Length: ");
        append_decimal(self.body.len() as u64, out);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&self.body);
        Expect::default()
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

#[cfg(test)]
mod tests {
    use super::super::{fuzz, Of};
    use super::*;
    use crate::feed::Llm;

    fn body(due_ns: i64, prompt_tokens: u32, prefix_hashes: &[u64]) -> String {
        let llm = Llm { prompt_tokens, output_tokens: 5, prefix_hashes: prefix_hashes.into() };
        let row = Row { due_ns, llm: Some(Box::new(llm)), ..Row::default() };
        let mut out = Vec::new();
        fuzz::session("openai").encode(&row, CHAT, 0, &mut out);
        let text = String::from_utf8(out).expect("ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        body.to_string()
    }

    #[test]
    fn a_prompt_has_its_tokens_and_shares_its_prefix() {
        let (one, two) = (body(1, 1100, &[7, 8]), body(2, 1100, &[7, 8]));
        let content =
            |body: &str| body.split("\"content\":\"").nth(1).and_then(|t| t.split('"').next()).expect("content").to_string();
        let (one, two) = (content(&one), content(&two));
        assert_eq!(one.split_whitespace().count(), 1100);
        let common = one.split_whitespace().zip(two.split_whitespace()).take_while(|(a, b)| a == b).count();
        assert!((1024..1030).contains(&common), "{common}");
        assert_eq!(content(&body(1, 3, &[7])).split_whitespace().count(), 3);
    }

    #[test]
    fn tokens_come_before_the_end_and_a_server_error_is_told() {
        let mut stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        // An event may be cut by the chunks that carry it.
        for piece in ["data: {\"delta\":{\"content\":\"a", "\"}}\n\n", "data: {\"error\":{\"code\":500}}\n\n", ""] {
            stream.extend_from_slice(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes());
        }
        let found = fuzz::answers(&mut *fuzz::session("openai"), &stream, &[70], &Expect::default());
        assert_eq!(found[0], Parsed::Tokens { of: Of::Oldest, tokens: 1 });
        assert_eq!(found[1], Parsed::Answer { of: Of::Oldest, answer: Answer::Server, close: false });
    }

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_answers_without_panic() {
        let words: [&[u8]; 7] = [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"13\r\ndata: {\"content\":\"a\r\n",
            b"3\r\n\"}\n\r\n",
            b"data: {\"completion_tokens\":5}\n",
            b"0\r\n\r\n",
            b"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n",
            b"\r\n",
        ];
        fuzz::split_invariant(&|| fuzz::session("openai"), &words, &Expect::default());
    }
}
