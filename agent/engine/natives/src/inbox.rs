//! Bytes of requests that wait to be served, without an allocation for each.

/// Beyond this, what was served is cut off the front even while more waits behind it.
const CUT_BYTES: usize = 1 << 20;

/// A run of bytes: served | whole requests that wait | the beginning of one that is not whole.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    served: usize,
    framed: usize,
}

impl Inbox {
    pub fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What no request was made of yet.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.framed..]
    }

    /// The first `bytes` of the rest are a request.
    pub fn frame(&mut self, bytes: usize) {
        self.framed += bytes;
    }

    /// The request that has waited longest, of so many bytes.
    pub fn front(&self, bytes: usize) -> &[u8] {
        &self.bytes[self.served..self.served + bytes]
    }

    pub fn drop_front(&mut self, bytes: usize) {
        self.served += bytes;
        if self.served == self.bytes.len() || self.served > CUT_BYTES && self.served > self.bytes.len() / 2 {
            self.bytes.drain(..self.served);
            self.framed -= self.served;
            self.served = 0;
        }
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.bytes.len() - self.served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_leave_in_the_order_in_which_they_were_framed() {
        let mut inbox = Inbox::default();
        inbox.append(b"onetw");
        inbox.frame(3);
        assert_eq!(inbox.rest(), b"tw");
        inbox.append(b"o");
        inbox.frame(3);
        assert_eq!(inbox.front(3), b"one");
        inbox.drop_front(3);
        assert_eq!((inbox.front(3), inbox.held()), (b"two".as_slice(), 3));
        inbox.drop_front(3);
        assert_eq!((inbox.rest(), inbox.held()), (b"".as_slice(), 0));
    }
}
