//! Thin Python wrappers of the built-in targets and antagonists (crate `offspec-natives`).

use std::fs::OpenOptions;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;

use offspec_natives::antagonist::{self, Stream};
use offspec_natives::http::Http;
use offspec_natives::protocol::{Echo, Resp};
use offspec_natives::queue::{self, Order};
use offspec_natives::server::{self, Mode};
use offspec_natives::service::{Law, Service};
use offspec_natives::stall::Stalls;
use offspec_natives::tcp::TcpIntake;
use offspec_natives::udp::UdpIntake;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

fn os_error(what: &str, error: &io::Error) -> PyErr {
    PyOSError::new_err((error.raw_os_error().unwrap_or(0), format!("{what}: {error}")))
}

fn law(name: &str, parameters: &[f64]) -> PyResult<Law> {
    let law = match (name, parameters) {
        ("constant", &[ns]) => Law::Constant(ns),
        ("exponential", &[mean]) => Law::Exponential(mean),
        ("bimodal", &[p, low, high]) if p <= 1.0 => Law::Bimodal { p, low, high },
        ("request", []) => Law::Told,
        _ => return Err(PyValueError::new_err(format!("service {name:?} of {parameters:?}: no such law"))),
    };
    match parameters.iter().all(|n| n.is_finite() && *n >= 0.0) {
        true => Ok(law),
        false => Err(PyValueError::new_err(format!("service {name:?} of {parameters:?}: expected finite numbers from 0"))),
    }
}

/// Calls `ready` with the port that was given.
fn tell(py: Python<'_>, ready: Option<PyObject>, address: io::Result<SocketAddr>) -> PyResult<()> {
    let port = address.map_err(|e| os_error("listener", &e))?.port();
    if let Some(ready) = ready {
        ready.call1(py, (port,))?;
    }
    Ok(())
}

/// Serves one built-in target until the other end of stop_fd is closed; `ready` is called with the port once it listens.
#[pyfunction]
#[pyo3(signature = (*, kind, host, port, mode, core, stop_fd, ready=None, service=None, seed=0, stalls=Vec::new(), frame_bytes=0,
    body_bytes=128))]
// Keyword arguments of Python, not of a Rust caller.
#[allow(clippy::too_many_arguments)]
fn serve(
    py: Python<'_>,
    kind: &str,
    host: &str,
    port: u16,
    mode: &str,
    core: Option<usize>,
    stop_fd: i32,
    ready: Option<PyObject>,
    service: Option<(String, Vec<f64>)>,
    seed: u64,
    stalls: Vec<(u64, u64)>,
    frame_bytes: usize,
    body_bytes: usize,
) -> PyResult<Py<PyDict>> {
    let mode = match mode {
        "spin" => Mode::Spin,
        "block" => Mode::Block,
        other => return Err(PyValueError::new_err(format!("mode {other:?}: expected spin or block"))),
    };
    if !["echo", "udp-echo", "resp", "http"].contains(&kind) {
        return Err(PyValueError::new_err(format!("kind {kind:?}: expected echo, udp-echo, resp or http")));
    }
    let unbound = |e: io::Error| os_error(&format!("{host}:{port}"), &e);
    let Some((name, parameters)) = service else {
        if kind != "resp" {
            return Err(PyValueError::new_err(format!("{kind} needs a service: only resp has a loop without one")));
        }
        let listener = TcpListener::bind((host, port)).map_err(unbound)?;
        tell(py, ready, listener.local_addr())?;
        let served = py.allow_threads(|| server::serve(listener, mode, core, stop_fd)).map_err(|e| os_error("serving", &e))?;
        let said = PyDict::new(py);
        said.set_item("connections", served.connections)?;
        said.set_item("commands", served.commands)?;
        said.set_item("slice_ns", served.slice_ns)?;
        return Ok(said.unbind());
    };
    let order = Order { service: Service::new(law(&name, &parameters)?, seed), stalls: Stalls::new(&stalls), mode, core };
    let truth = if kind == "udp-echo" {
        let socket = UdpSocket::bind((host, port)).map_err(unbound)?;
        tell(py, ready, socket.local_addr())?;
        py.allow_threads(|| queue::serve(UdpIntake::new(socket, stop_fd)?, order))
    } else {
        let listener = TcpListener::bind((host, port)).map_err(unbound)?;
        tell(py, ready, listener.local_addr())?;
        py.allow_threads(|| match kind {
            "echo" => queue::serve(TcpIntake::new(listener, Echo { frame: frame_bytes }, stop_fd)?, order),
            "http" => queue::serve(TcpIntake::new(listener, Http::new(body_bytes), stop_fd)?, order),
            _ => queue::serve(TcpIntake::new(listener, Resp::default(), stop_fd)?, order),
        })
    };
    let truth = truth.map_err(|e| os_error("serving", &e))?;
    let each = |sum: f64| if truth.jobs == 0 { 0.0 } else { sum / truth.jobs as f64 };
    let said = PyDict::new(py);
    said.set_item("connections", truth.connections)?;
    said.set_item("jobs", truth.jobs)?;
    said.set_item("busy_mean_ns", each(truth.busy))?;
    said.set_item("busy_second_moment_ns2", each(truth.busy_squared))?;
    said.set_item("drawn_mean_ns", each(truth.drawn))?;
    said.set_item("first_ns", truth.first_ns)?;
    said.set_item("last_ns", truth.last_ns)?;
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
        return Err(os_error(counter_path, &io::Error::last_os_error()));
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
    m.add_function(wrap_pyfunction!(serve, m)?)?;
    m.add_function(wrap_pyfunction!(antagonist_cpu, m)?)?;
    m.add_function(wrap_pyfunction!(antagonist_membw, m)?)
}
