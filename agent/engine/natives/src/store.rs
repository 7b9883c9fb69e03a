//! The key-value store behind the RESP target: a hash table of byte strings with expiry.

use std::collections::HashMap;
use std::time::Instant;

#[derive(Default)]
pub struct Store {
    table: HashMap<Box<[u8]>, Value>,
}

struct Value {
    bytes: Box<[u8]>,
    dies: Option<Instant>,
}

impl Store {
    /// The live value of a key; an expired one is removed on sight.
    pub fn get(&mut self, key: &[u8]) -> Option<&[u8]> {
        let dead = self.table.get(key)?.dies.is_some_and(|at| at <= Instant::now());
        if dead {
            self.table.remove(key);
            return None;
        }
        self.table.get(key).map(|v| &*v.bytes)
    }

    pub fn set(&mut self, key: &[u8], bytes: &[u8], dies: Option<Instant>) {
        let value = Value { bytes: bytes.into(), dies };
        match self.table.get_mut(key) {
            Some(old) => *old = value,
            None => {
                self.table.insert(key.into(), value);
            }
        }
    }

    pub fn remove(&mut self, key: &[u8]) -> bool {
        let lived = self.get(key).is_some();
        self.table.remove(key);
        lived
    }

    /// Adds to a decimal value; None where it is no 64-bit integer or would overflow.
    pub fn add(&mut self, key: &[u8], by: i64) -> Option<i64> {
        let now = match self.get(key) {
            None => 0,
            Some(text) => std::str::from_utf8(text).ok()?.parse::<i64>().ok()?,
        };
        let sum = now.checked_add(by)?;
        let dies = self.table.get(key).and_then(|v| v.dies);
        self.set(key, sum.to_string().as_bytes(), dies);
        Some(sum)
    }

    pub fn append(&mut self, key: &[u8], tail: &[u8]) -> usize {
        let mut whole = self.get(key).unwrap_or_default().to_vec();
        whole.extend_from_slice(tail);
        let dies = self.table.get(key).and_then(|v| v.dies);
        self.set(key, &whole, dies);
        whole.len()
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn clear(&mut self) {
        self.table.clear();
    }
}
