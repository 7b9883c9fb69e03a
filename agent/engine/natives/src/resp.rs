//! RESP2 on the server's side: a pure reader of commands, and their execution on a store.
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use std::time::{Duration, Instant};

use crate::store::Store;

const LONGEST_INLINE: usize = 64 * 1024;
const MOST_ARGUMENTS: i64 = 1024 * 1024;
const LARGEST_BULK: i64 = 64 << 20;

/// What lies at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// A command of `used` bytes; its arguments are ranges of the input.
    Command {
        used: usize,
    },
    NeedMore,
    /// Cannot be a command; the text is for the client.
    Broken(&'static str),
}

fn line(input: &[u8], from: usize) -> Option<usize> {
    input[from..].windows(2).take(LONGEST_INLINE).position(|w| w == b"\r\n").map(|at| from + at)
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads one command; `arguments` receives the ranges of its words.
pub fn read_command(input: &[u8], arguments: &mut Vec<(usize, usize)>) -> Read {
    arguments.clear();
    let Some(&first) = input.first() else {
        return Read::NeedMore;
    };
    let Some(end) = line(input, 0) else {
        return if input.len() > LONGEST_INLINE { Read::Broken("too big inline request") } else { Read::NeedMore };
    };
    if first != b'*' {
        let mut at = 0;
        for word in input[..end].split(|b| *b == b' ') {
            if !word.is_empty() {
                arguments.push((at, at + word.len()));
            }
            at += word.len() + 1;
        }
        return Read::Command { used: end + 2 };
    }
    let count = match number(&input[1..end]) {
        Some(n) if n <= MOST_ARGUMENTS => n.max(0),
        _ => return Read::Broken("invalid multibulk length"),
    };
    let mut at = end + 2;
    for _ in 0..count {
        match input.get(at) {
            None => return Read::NeedMore,
            Some(b'$') => {}
            Some(_) => return Read::Broken("expected '$'"),
        }
        let Some(end) = line(input, at) else {
            return if input.len() - at > 64 { Read::Broken("invalid bulk length") } else { Read::NeedMore };
        };
        let size = match number(&input[at + 1..end]) {
            Some(n) if (0..=LARGEST_BULK).contains(&n) => n as usize,
            _ => return Read::Broken("invalid bulk length"),
        };
        let body = end + 2;
        if input.len() < body + size + 2 {
            return Read::NeedMore;
        }
        if &input[body + size..body + size + 2] != b"\r\n" {
            return Read::Broken("bulk without its end");
        }
        arguments.push((body, body + size));
        at = body + size + 2;
    }
    Read::Command { used: at }
}

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(":{value}\r\n").as_bytes());
}

fn value(found: Option<&[u8]>, out: &mut Vec<u8>) {
    match found {
        Some(bytes) => bulk(bytes, out),
        None => out.extend_from_slice(b"$-1\r\n"),
    }
}

pub fn error(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("-ERR {text}\r\n").as_bytes());
}

/// Executes one command and appends its answer. False: the client asked to be let go.
pub fn execute(words: &[&[u8]], store: &mut Store, about: &str, out: &mut Vec<u8>) -> bool {
    let Some((verb, args)) = words.split_first() else {
        return true;
    };
    let verb = verb.to_ascii_uppercase();
    match (&*verb, args) {
        (b"GET", [key]) => value(store.get(key), out),
        (b"SET", [key, bytes, options @ ..]) => set(key, bytes, options, store, out),
        (b"DEL" | b"UNLINK", keys) if !keys.is_empty() => {
            let n = keys.iter().filter(|k| store.remove(k)).count();
            integer(n as i64, out);
        }
        (b"EXISTS" | b"TOUCH", keys) if !keys.is_empty() => {
            let n = keys.iter().filter(|k| store.get(k).is_some()).count();
            integer(n as i64, out);
        }
        (b"INCR", [key]) => add(key, 1, store, out),
        (b"DECR", [key]) => add(key, -1, store, out),
        (b"APPEND", [key, tail]) => integer(store.append(key, tail) as i64, out),
        (b"MGET", keys) if !keys.is_empty() => {
            out.extend_from_slice(format!("*{}\r\n", keys.len()).as_bytes());
            for key in keys {
                value(store.get(key), out);
            }
        }
        (b"MSET", pairs) if !pairs.is_empty() && pairs.len() % 2 == 0 => {
            for pair in pairs.chunks(2) {
                store.set(pair[0], pair[1], None);
            }
            out.extend_from_slice(b"+OK\r\n");
        }
        (b"PING", []) => out.extend_from_slice(b"+PONG\r\n"),
        (b"PING" | b"ECHO", [text]) => bulk(text, out),
        (b"DBSIZE", []) => integer(store.len() as i64, out),
        (b"FLUSHALL" | b"FLUSHDB", _) => {
            store.clear();
            out.extend_from_slice(b"+OK\r\n");
        }
        (b"INFO", _) => bulk(about.as_bytes(), out),
        (b"SELECT" | b"CLIENT", [_, ..]) => out.extend_from_slice(b"+OK\r\n"),
        (b"CONFIG" | b"COMMAND", _) => out.extend_from_slice(b"*0\r\n"),
        (b"QUIT", _) => {
            out.extend_from_slice(b"+OK\r\n");
            return false;
        }
        _ => error(&format!("unknown command or wrong number of arguments for '{}'", String::from_utf8_lossy(&verb)), out),
    }
    true
}

fn add(key: &[u8], by: i64, store: &mut Store, out: &mut Vec<u8>) {
    match store.add(key, by) {
        Some(sum) => integer(sum, out),
        None => error("value is not an integer or out of range", out),
    }
}

fn set(key: &[u8], bytes: &[u8], options: &[&[u8]], store: &mut Store, out: &mut Vec<u8>) {
    let mut dies = None;
    let mut only = None;
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        match &*option.to_ascii_uppercase() {
            unit @ (b"EX" | b"PX") => {
                let Some(n) = rest.next().and_then(|t| number(t)).filter(|n| *n > 0) else {
                    return error("invalid expire time in 'set' command", out);
                };
                let life = if unit == b"EX" { Duration::from_secs(n as u64) } else { Duration::from_millis(n as u64) };
                dies = Instant::now().checked_add(life);
            }
            b"NX" => only = Some(false),
            b"XX" => only = Some(true),
            _ => return error("syntax error", out),
        }
    }
    if only.is_some_and(|exists| store.get(key).is_some() != exists) {
        return out.extend_from_slice(b"$-1\r\n");
    }
    store.set(key, bytes, dies);
    out.extend_from_slice(b"+OK\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(input: &[u8]) -> String {
        let mut store = Store::default();
        let (mut at, mut words, mut out) = (0, Vec::new(), Vec::new());
        while let Read::Command { used } = read_command(&input[at..], &mut words) {
            let slices: Vec<&[u8]> = words.iter().map(|(a, b)| &input[at + a..at + b]).collect();
            execute(&slices, &mut store, "", &mut out);
            at += used;
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn stores_and_answers() {
        let said =
            talk(b"SET a 1\r\nINCR a\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nGET b\r\nSET a 2 NX\r\nDEL a b\r\nNONSENSE\r\nDBSIZE\r\n");
        assert!(said.starts_with("+OK\r\n:2\r\n$1\r\n2\r\n$-1\r\n$-1\r\n:1\r\n-ERR "), "{said}");
        assert!(said.ends_with(":0\r\n"), "{said}");
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        let pieces: [&[u8]; 8] = [b"*2\r\n", b"$3\r\n", b"GET\r\n", b"$-1\r\n", b"*\r\n", b"\r\n", b"abc", b"$99999999999\r\n"];
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut input = Vec::new();
            for _ in 0..8 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                input.extend_from_slice(pieces[(state >> 60) as usize % pieces.len()]);
                if state >> 58 == 0 {
                    input.push(state as u8);
                }
            }
            let mut words = Vec::new();
            read_command(&input, &mut words);
        }
    }
}
