//! Whatever a server sends: no protocol session may panic, allocate without bound, or depend on how the bytes were cut into reads.
//!
//! The first byte of an input chooses the driver, the second how many requests are under way, the next four where it is cut.
#![no_main]

use _engine::driver::fuzz::{same_however_cut, session};
use _engine::driver::{Expect, Session};
use _engine::feed::Row;
use libfuzzer_sys::fuzz_target;

const DRIVERS: [&str; 7] = ["redis", "memcached", "http", "http2", "grpc", "openai", "tcp"];

fuzz_target!(|input: &[u8]| {
    let Some((&[driver, under_way, a, b, c, d], bytes)) = input.split_first_chunk() else {
        return;
    };
    let make = || -> Box<dyn Session> {
        let mut session = session(DRIVERS[usize::from(driver) % DRIVERS.len()]);
        let row = Row { req_bytes: 10, ..Row::default() };
        for number in 0..u64::from(under_way % 4) {
            session.encode(&row, 0, number, &mut Vec::new());
        }
        session
    };
    let cuts = [usize::from(a), usize::from(b) * 256 + usize::from(c), usize::from(d)];
    let expect = Expect { resp_bytes: u64::from(a), head: b & 1 == 1, zero_misses: c & 1 == 1, asked: d & 1 == 1 };
    same_however_cut(&make, bytes, &cuts, &expect);
});
