//! Python face of the replay engine. All policy lives in Python; this crate paces, stamps and counts.
use pyo3::prelude::*;

mod clock;
mod collector;
mod columns;
mod connection;
pub mod driver;
mod face;
mod feed;
mod hdr;
mod natives;
mod pacer;
mod poll;
mod report;
mod tally;
mod walls;

#[pymodule]
fn _engine(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    hdr::register(m)?;
    face::register(m)?;
    natives::register(m)
}
