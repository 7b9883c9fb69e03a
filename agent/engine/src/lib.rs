//! Python face of the replay engine. All policy lives in Python; this crate paces, stamps and counts.
use pyo3::prelude::*;

mod clock;
mod collector;
mod columns;
pub mod driver;
mod face;
pub mod feed;
mod hdr;
mod lane;
mod natives;
mod pacer;
mod poll;
mod report;
mod routes;
mod tally;
mod users;
mod walls;
mod ways;
mod workers;

#[pymodule]
fn _engine(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    hdr::register(m)?;
    face::register(m)?;
    workers::register(m)?;
    natives::register(m)?;
    ways::register(m)
}
