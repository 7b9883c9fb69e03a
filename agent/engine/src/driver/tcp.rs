//! Plain TCP echo: so many bytes out, so many back.

use super::{Answer, Encoder, Expect, Parsed, Parser, Wire};
use crate::feed::Row;

pub struct Tcp {
    wire: Wire,
}

impl Tcp {
    pub fn new(wire: Wire) -> Self {
        Tcp { wire }
    }
}

impl Encoder for Tcp {
    fn encode(&self, row: &Row, _op: &str, out: &mut Vec<u8>) -> Expect {
        let bytes = row.req_bytes.max(1);
        self.wire.values.append(row.key_id, bytes, out);
        let back = if self.wire.expect_bytes && row.resp_bytes > 0 { row.resp_bytes } else { bytes };
        Expect { resp_bytes: back, head: false }
    }

    fn parser(&self) -> Box<dyn Parser> {
        Box::<Counter>::default()
    }
}

/// Counts bytes; what they say does not matter.
#[derive(Default)]
struct Counter {
    have: u64,
}

impl Parser for Counter {
    fn push(&mut self, bytes: &[u8]) {
        self.have += bytes.len() as u64;
    }
    fn next(&mut self, expect: &Expect) -> Parsed {
        if self.have >= expect.resp_bytes && expect.resp_bytes > 0 {
            self.have -= expect.resp_bytes;
            return Parsed::Answer { answer: Answer::Ok, close: false };
        }
        Parsed::NeedMore
    }
    fn reset(&mut self) {
        self.have = 0;
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
        let expect = Expect { resp_bytes: 3, head: false };
        assert_eq!(fuzz::answers(&mut Counter::default(), b"abcabcab", &[1, 4], &expect).len(), 2);
        fuzz::split_invariant(&|| Box::<Counter>::default(), &[b"a", b"bc"], &expect);
    }
}
