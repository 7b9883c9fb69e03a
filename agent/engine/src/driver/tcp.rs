//! Plain TCP echo: so many bytes out, so many back.

use std::sync::Arc;

use super::{Answer, Expect, Of, Options, Parsed, Protocol, Session, Verb, Wire};
use crate::feed::Row;

pub struct Tcp {
    wire: Arc<Wire>,
    /// The length of an answer comes from the row's resp_bytes, not from what was sent.
    by_response: bool,
}

impl Tcp {
    pub fn new(wire: Arc<Wire>, options: &mut Options) -> Result<Self, String> {
        Ok(Tcp { wire, by_response: options.word("answer", &["echo", "resp_bytes"])? == "resp_bytes" })
    }
}

impl Protocol for Tcp {
    fn session(&self) -> Box<dyn Session> {
        Box::new(Counter { wire: self.wire.clone(), by_response: self.by_response, have: 0 })
    }
    fn verb(&self, _op: &str) -> Verb {
        0
    }
}

/// Counts bytes; what they say does not matter.
struct Counter {
    wire: Arc<Wire>,
    by_response: bool,
    have: u64,
}

impl Session for Counter {
    fn open(&mut self, _out: &mut Vec<u8>) {
        self.have = 0;
    }
    fn encode(&mut self, row: &Row, _verb: Verb, _number: u64, out: &mut Vec<u8>) -> Expect {
        let bytes = u64::from(row.req_bytes.max(1));
        self.wire.values.append(row.key_id, bytes, out);
        let back = if self.by_response && row.resp_bytes > 0 { row.resp_bytes } else { bytes };
        Expect { resp_bytes: back, ..Expect::default() }
    }
    fn push(&mut self, bytes: &[u8]) {
        self.have += bytes.len() as u64;
    }
    fn next(&mut self, expect: &Expect) -> Parsed {
        if self.have >= expect.resp_bytes && expect.resp_bytes > 0 {
            self.have -= expect.resp_bytes;
            return Parsed::Answer { of: Of::Oldest, answer: Answer::Ok, close: false };
        }
        Parsed::NeedMore
    }
    fn unread(&self) -> usize {
        self.have as usize
    }
    fn is_between(&self) -> bool {
        self.have == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz;
    use super::*;

    #[test]
    fn any_pieces_give_as_many_answers_as_there_are_wholes() {
        let expect = Expect { resp_bytes: 3, ..Expect::default() };
        assert_eq!(fuzz::answers(&mut *fuzz::session("tcp"), b"abcabcab", &[1, 4], &expect).len(), 2);
        fuzz::split_invariant(&|| fuzz::session("tcp"), &[b"a", b"bc"], &expect);
    }
}
