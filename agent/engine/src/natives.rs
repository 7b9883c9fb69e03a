//! Thin Python wrappers of the built-in targets and antagonists (crate `offspec-natives`).

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use offspec_natives::antagonist::{
    self, hold, run, Calls, Churn, Direct, Faults, Locks, Packets, Page, Streams, Switches, Synced, Touches, Work, PAGE_BYTES,
};
use offspec_natives::chase;
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

/// Nanoseconds per dependent load over a working set of so many bytes.
#[pyfunction]
#[pyo3(signature = (*, set_bytes, each_ms))]
fn chase_load_ns(py: Python<'_>, set_bytes: usize, each_ms: u64) -> PyResult<f64> {
    py.allow_threads(|| chase::load_ns(set_bytes, Duration::from_millis(each_ms))).map_err(|e| os_error("chase", &e))
}

/// The page of a file that is at least PAGE_BYTES long, shared with whoever else maps it.
struct Mapped(*mut libc::c_void);

impl Mapped {
    fn new(path: &str) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() < PAGE_BYTES as u64 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // SAFETY: a new shared mapping of a file that is long enough; checked before use.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapped(at))
    }

    fn page(&self) -> &Page {
        // SAFETY: page aligned, PAGE_BYTES long, mapped as long as self, and made of atomics alone.
        unsafe { &*self.0.cast::<Page>() }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; no reference outlives the owner.
        unsafe { libc::munmap(self.0, PAGE_BYTES) };
    }
}

/// Work that a Python callable does: it is given how many units are wanted and returns how many it did.
struct Called {
    step: PyObject,
    quantum: u64,
    most: u64,
}

impl Work for Called {
    fn quantum(&self) -> u64 {
        self.quantum
    }

    fn most(&self) -> u64 {
        self.most
    }

    fn step(&mut self, units: u64) -> io::Result<u64> {
        Python::with_gil(|py| self.step.call1(py, (units,))?.extract(py)).map_err(|e: PyErr| io::Error::other(e.to_string()))
    }
}

/// Paced work of one kind, until the other end of stop_fd is closed.
#[pyfunction]
#[pyo3(signature = (*, kind, page_path, stop_fd, threads=1, numbers=HashMap::new(), path=None, address=None, step=None))]
// Keyword arguments of Python, not of a Rust caller.
#[allow(clippy::too_many_arguments)]
fn antagonist_paced(
    py: Python<'_>,
    kind: &str,
    page_path: &str,
    stop_fd: i32,
    threads: usize,
    numbers: HashMap<String, f64>,
    path: Option<PathBuf>,
    address: Option<IpAddr>,
    step: Option<PyObject>,
) -> PyResult<()> {
    let number = |name: &str| match numbers.get(name) {
        Some(n) if n.is_finite() && *n >= 0.0 => Ok(*n),
        _ => Err(PyValueError::new_err(format!("{kind}: {name} must be given, a number from 0"))),
    };
    let whole = |name: &str| number(name).map(|n| n as usize);
    let folder = || path.clone().ok_or_else(|| PyValueError::new_err(format!("{kind}: a path must be given")));
    let mapped = Mapped::new(page_path).map_err(|e| os_error(page_path, &e))?;
    let page = mapped.page();
    let each = threads.max(1);
    let ended = match kind {
        "membw" => {
            let bytes = whole("buffer_bytes")? / each;
            py.allow_threads(|| run(threads, page, stop_fd, |_| Ok(Streams::new(bytes))))
        }
        "lines" | "pages" => {
            let bytes = whole("set_bytes")? / each;
            let make = if kind == "lines" { Touches::lines } else { Touches::pages };
            py.allow_threads(|| run(threads, page, stop_fd, |_| make(bytes)))
        }
        "faults" => py.allow_threads(|| run(threads, page, stop_fd, |_| Faults::new())),
        "hold" => {
            let (most, grow) = (whole("most_bytes")?, number("grow_bytes_per_s")?);
            py.allow_threads(|| hold(page, most, grow, stop_fd))
        }
        "disk" => {
            let (at, bytes, block, writes) =
                (folder()?, number("file_bytes")? as u64, whole("block_bytes")?, number("write_share")?);
            let bytes = bytes / each as u64;
            py.allow_threads(|| run(threads, page, stop_fd, |n| Direct::new(&at.join(format!("data-{n}")), bytes, block, writes)))
        }
        "fsync" => {
            let at = folder()?;
            py.allow_threads(|| run(threads, page, stop_fd, |n| Synced::new(&at.join(format!("data-{n}")))))
        }
        "pagecache" => {
            let (at, bytes, writes) = (folder()?, number("file_bytes")? as u64, number("write_share")?);
            let bytes = bytes / each as u64;
            py.allow_threads(|| run(threads, page, stop_fd, |n| Churn::new(&at.join(format!("data-{n}")), bytes, writes)))
        }
        "packets" => {
            let payload = whole("payload_bytes")?;
            let to = address.ok_or_else(|| PyValueError::new_err("packets: an address must be given"))?;
            py.allow_threads(|| run(threads, page, stop_fd, |_| Packets::new(to, payload)))
        }
        "calls" => py.allow_threads(|| run(threads, page, stop_fd, |_| Calls::new())),
        "switches" => py.allow_threads(|| run(1, page, stop_fd, |_| Switches::new())),
        "locks" => py.allow_threads(|| run(threads, page, stop_fd, |_| Locks::new())),
        "called" => {
            let step = step.ok_or_else(|| PyValueError::new_err("called: a step must be given"))?;
            let work = Called { step, quantum: whole("quantum")? as u64, most: whole("most")? as u64 };
            let once = Mutex::new(Some(work));
            let taken = || once.lock().map_or(None, |mut held| held.take()).ok_or_else(|| io::Error::other("one worker only"));
            py.allow_threads(|| run(1, page, stop_fd, |_| taken()))
        }
        other => return Err(PyValueError::new_err(format!("no antagonist {other:?}"))),
    };
    ended.map_err(|e| os_error(kind, &e))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(serve, m)?)?;
    m.add_function(wrap_pyfunction!(antagonist_cpu, m)?)?;
    m.add_function(wrap_pyfunction!(antagonist_paced, m)?)?;
    m.add_function(wrap_pyfunction!(chase_load_ns, m)?)
}
