//! A driver's own options: text by name, each taken once, and none left over.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Options(BTreeMap<String, String>);

impl From<BTreeMap<String, String>> for Options {
    fn from(map: BTreeMap<String, String>) -> Self {
        Options(map)
    }
}

impl Options {
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// One of `words`, the first of which is the default.
    ///
    /// # Errors
    /// Names the option and the words.
    pub fn word(&mut self, name: &str, words: &[&'static str]) -> Result<&'static str, String> {
        let Some(given) = self.take(name) else {
            return Ok(words[0]);
        };
        let found = words.iter().find(|word| **word == given);
        found.copied().ok_or_else(|| format!("option {name}={given}: expected {}", words.join(" or ")))
    }

    /// # Errors
    /// Names the option and its range.
    pub fn number(&mut self, name: &str, least: u64, most: u64, default: u64) -> Result<u64, String> {
        let Some(given) = self.take(name) else {
            return Ok(default);
        };
        let number = given.parse().ok().filter(|n| (least..=most).contains(n));
        number.ok_or_else(|| format!("option {name}={given}: expected a whole number from {least} to {most}"))
    }

    /// Text that may stand in a line of a protocol: printable ASCII.
    ///
    /// # Errors
    /// Names the option.
    pub fn printable(&mut self, name: &str, default: &str) -> Result<String, String> {
        let given = self.take(name).unwrap_or_else(|| default.to_string());
        if given.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(given);
        }
        Err(format!("option {name}={given:?}: expected printable ASCII without spaces"))
    }

    /// A path of a URL.
    ///
    /// # Errors
    /// Names the option.
    pub fn path(&mut self, default: &str) -> Result<String, String> {
        let path = self.printable("path", default)?;
        if path.starts_with('/') {
            return Ok(path);
        }
        Err(format!("option path={path}: expected a path that begins with /"))
    }

    /// # Errors
    /// Names an option that nobody has taken.
    pub fn nothing_left(&self, driver: &str) -> Result<(), String> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("option {name}: the {driver} driver has none of this name")),
        }
    }
}
