//! Thin Python wrappers of the built-in targets and antagonists (crate `offspec-natives`).

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;

use offspec_natives::antagonist::{self, Stream};
use offspec_natives::server::{serve, Mode};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

fn os_error(what: &str, error: &std::io::Error) -> PyErr {
    PyOSError::new_err((error.raw_os_error().unwrap_or(0), format!("{what}: {error}")))
}

/// Serves RESP until the other end of stop_fd is closed; `ready` is called with the port once it listens.
#[pyfunction]
#[pyo3(signature = (*, host, port, mode, core, stop_fd, ready=None))]
fn serve_resp(
    py: Python<'_>,
    host: &str,
    port: u16,
    mode: &str,
    core: Option<usize>,
    stop_fd: i32,
    ready: Option<PyObject>,
) -> PyResult<Py<PyDict>> {
    let mode = match mode {
        "spin" => Mode::Spin,
        "block" => Mode::Block,
        other => return Err(PyValueError::new_err(format!("mode {other:?}: expected spin or block"))),
    };
    let listener = TcpListener::bind((host, port)).map_err(|e| os_error(&format!("{host}:{port}"), &e))?;
    if let Some(ready) = ready {
        let port = listener.local_addr().map_err(|e| os_error("listener", &e))?.port();
        ready.call1(py, (port,))?;
    }
    let served = py.allow_threads(|| serve(listener, mode, core, stop_fd)).map_err(|e| os_error("serving", &e))?;
    let said = PyDict::new(py);
    said.set_item("connections", served.connections)?;
    said.set_item("commands", served.commands)?;
    said.set_item("slice_ns", served.slice_ns)?;
    Ok(said.unbind())
}

#[pyfunction]
#[pyo3(signature = (*, core, stop_fd))]
fn antagonist_cpu(py: Python<'_>, core: Option<usize>, stop_fd: i32) -> PyResult<()> {
    py.allow_threads(|| antagonist::cpu(core, stop_fd)).map_err(|e| os_error("pinning", &e))
}

#[pyfunction]
#[pyo3(signature = (*, gb_per_s, threads, buffer_bytes, counter_path, stop_fd))]
fn antagonist_membw(
    py: Python<'_>,
    gb_per_s: f64,
    threads: usize,
    buffer_bytes: usize,
    counter_path: &str,
    stop_fd: i32,
) -> PyResult<()> {
    if !(gb_per_s >= 0.0 && gb_per_s.is_finite()) {
        return Err(PyValueError::new_err(format!("gb_per_s {gb_per_s}: expected 0 or more")));
    }
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(counter_path);
    let file = opened.map_err(|e| os_error(counter_path, &e))?;
    file.set_len(8).map_err(|e| os_error(counter_path, &e))?;
    // SAFETY: a shared mapping of 8 bytes of a file that is 8 bytes long; the result is checked before use.
    let mapped =
        unsafe { libc::mmap(std::ptr::null_mut(), 8, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if mapped == libc::MAP_FAILED {
        return Err(os_error(counter_path, &std::io::Error::last_os_error()));
    }
    // SAFETY: the mapping is page aligned, stays until the munmap below, and is only touched as an atomic.
    let moved = unsafe { &*mapped.cast::<AtomicU64>() };
    let order = Stream { bytes_per_s: gb_per_s * 1e9, threads, buffer_bytes };
    py.allow_threads(|| antagonist::membw(order, moved, stop_fd));
    // SAFETY: mapped above with this length; no reference outlives this line.
    unsafe { libc::munmap(mapped, 8) };
    Ok(())
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(serve_resp, m)?)?;
    m.add_function(wrap_pyfunction!(antagonist_cpu, m)?)?;
    m.add_function(wrap_pyfunction!(antagonist_membw, m)?)
}
