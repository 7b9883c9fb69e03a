//! gRPC, unary calls over HTTP/2 (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
//!
//! The row's target is the method (`/package.Service/Method`), else the option `path`. The message is a protobuf with one field,
//! number 1, of bytes or string, so that the whole request body has the row's req_bytes.

use std::sync::Arc;

use super::h2::{field, method_and_scheme};
use super::http::{append_target, extra_headers};
use super::http2::{constant_fields, Shape, Streams};
use super::{Options, Protocol, Reads, Session, Verb, Wire};
use crate::feed::Row;

pub struct Grpc {
    wire: Arc<Wire>,
    path: Arc<str>,
    fields: Arc<[u8]>,
    tls: bool,
}

impl Grpc {
    pub fn new(wire: Arc<Wire>, options: &mut Options, tls: bool) -> Result<Self, String> {
        let extra = extra_headers(options)?;
        let mut fields = constant_fields(&wire.host, &extra);
        field("content-type", b"application/grpc", &mut fields);
        field("te", b"trailers", &mut fields);
        Ok(Grpc { fields: fields.into(), path: options.path("/")?.into(), wire, tls })
    }
}

impl Protocol for Grpc {
    fn session(&self) -> Box<dyn Session> {
        let calls = Calls { wire: self.wire.clone(), path: self.path.clone(), fields: self.fields.clone(), tls: self.tls };
        Box::new(Streams::new(calls))
    }
    fn verb(&self, _op: &str) -> Verb {
        0
    }
    fn reads(&self) -> Reads {
        Reads { targets: true, ..Reads::default() }
    }
    fn alpn(&self) -> Option<&'static [u8]> {
        Some(b"h2")
    }
}

struct Calls {
    wire: Arc<Wire>,
    path: Arc<str>,
    fields: Arc<[u8]>,
    tls: bool,
}

fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 128 {
        out.push(n as u8 | 128);
        n >>= 7;
    }
    out.push(n as u8);
}

fn varint_bytes(n: u64) -> u64 {
    u64::from((64 - (n | 1).leading_zeros()).div_ceil(7))
}

/// Five bytes of gRPC, then the message; together as near to `req_bytes` as a varint allows.
fn message(wire: &Wire, row: &Row, body: &mut Vec<u8>) {
    body.extend_from_slice(&[0; 5]);
    let whole = u64::from(row.req_bytes).saturating_sub(5);
    if whole >= 2 {
        let mut payload = whole - 2;
        while payload > 0 && 1 + varint_bytes(payload) + payload > whole {
            payload -= 1;
        }
        body.push(0x0a);
        varint(payload, body);
        wire.values.append(row.key_id, payload, body);
    }
    let size = (body.len() - 5) as u32;
    body[1..5].copy_from_slice(&size.to_be_bytes());
}

impl Shape for Calls {
    fn write(&mut self, row: &Row, _verb: Verb, block: &mut Vec<u8>, body: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        method_and_scheme("POST", self.tls, block);
        append_target(row, &self.path, scratch);
        field(":path", scratch, block);
        block.extend_from_slice(&self.fields);
        message(&self.wire, row, body);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Values;
    use super::*;

    #[test]
    fn a_message_is_framed_and_has_the_size_asked_for() {
        let wire = Wire { host: "h".into(), values: Values::of(64) };
        for req_bytes in [0, 5, 6, 7, 8, 100, 134, 135, 136, 300, 20_000] {
            let mut body = Vec::new();
            message(&wire, &Row { req_bytes, ..Row::default() }, &mut body);
            let size = u32::from_be_bytes(body[1..5].try_into().expect("four bytes"));
            assert_eq!(body.len(), size as usize + 5);
            assert!(req_bytes < 8 || req_bytes - body.len() as u32 <= 1, "{req_bytes} became {}", body.len());
        }
    }
}
