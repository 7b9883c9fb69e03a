//! Thin Python wrappers of what stands between a system and its clients or its disk, and of the round trips that prove what a relay adds
//! (crate `offspec-natives`).

use std::fs::OpenOptions;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use offspec_natives::relay::{self, Route};
use offspec_natives::round_trips;
use offspec_natives::slow_disk;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

fn os_error(what: &str, error: &io::Error) -> PyErr {
    PyOSError::new_err((error.raw_os_error().unwrap_or(0), format!("{what}: {error}")))
}

/// A page of a file, shared with whoever else maps it, seen as a T that is made of atomics alone.
struct Mapped {
    at: *mut libc::c_void,
    bytes: usize,
}

impl Mapped {
    fn new(path: &str, bytes: usize) -> PyResult<Self> {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = opened.and_then(|file| file.set_len(bytes as u64).map(|()| file)).map_err(|e| os_error(path, &e))?;
        // SAFETY: a new shared mapping of a file that is as long; checked before use.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if at == libc::MAP_FAILED {
            return Err(os_error(path, &io::Error::last_os_error()));
        }
        Ok(Mapped { at, bytes })
    }

    /// SAFETY: T must consist of atomics and be no longer than the mapping.
    unsafe fn see<T>(&self) -> &T {
        debug_assert!(std::mem::size_of::<T>() <= self.bytes);
        &*self.at.cast::<T>()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; no reference outlives the owner.
        unsafe { libc::munmap(self.at, self.bytes) };
    }
}

/// (listening stream, datagram socket or -1, onward host, onward port, whether it is shaped)
type RouteArguments = (i32, i32, IpAddr, u16, bool);

fn route(said: RouteArguments, most_held: usize, lost: f64) -> Route {
    let (listener, datagrams, host, port, shaped) = said;
    // SAFETY: the caller gives these descriptors away: they are detached from their Python owners.
    unsafe {
        Route {
            listener: TcpListener::from_raw_fd(listener),
            datagrams: (datagrams >= 0).then(|| UdpSocket::from_raw_fd(datagrams)),
            onward: SocketAddr::new(host, port),
            shaped,
            most_held,
            lost: if shaped { lost } else { 0.0 },
        }
    }
}

#[pyfunction]
#[pyo3(signature = (*, routes, page_path, stop_fd, most_held = 16 << 20, lost = 0.0))]
fn relay_ways(
    py: Python<'_>,
    routes: Vec<RouteArguments>,
    page_path: &str,
    stop_fd: i32,
    most_held: usize,
    lost: f64,
) -> PyResult<()> {
    let mapped = Mapped::new(page_path, relay::PAGE_BYTES)?;
    // SAFETY: the page is 16 atomics of 8 bytes.
    let page = unsafe { mapped.see::<relay::Page>() };
    let routes = routes.into_iter().map(|said| route(said, most_held, lost)).collect();
    py.allow_threads(|| relay::relay(routes, page, stop_fd)).map_err(|e| os_error("relay", &e))
}

/// Round trips to an echo of its own: directly, and by the way of which `await_way` gives the address once the echo listens.
#[pyfunction]
#[pyo3(signature = (*, page_path, every_us, await_way, stop_fd))]
fn measure_round_trips(py: Python<'_>, page_path: &str, every_us: u64, await_way: PyObject, stop_fd: i32) -> PyResult<()> {
    let mapped = Mapped::new(page_path, round_trips::PAGE_BYTES)?;
    // SAFETY: the page is atomics of 8 bytes.
    let page = unsafe { mapped.see::<round_trips::Page>() };
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| os_error("echo", &e))?;
    let direct = listener.local_addr().map_err(|e| os_error("echo", &e))?;
    page.echo_port.store(u64::from(direct.port()), Ordering::Release);
    std::thread::scope(|scope| {
        let echo = scope.spawn(move || round_trips::echo(listener, stop_fd));
        let (host, port): (IpAddr, u16) = await_way.call0(py)?.extract(py)?;
        let ways = [SocketAddr::new(host, port), direct];
        py.allow_threads(|| {
            let measured = round_trips::measure(ways, Duration::from_micros(every_us.max(1)), page, stop_fd);
            let echoed = echo.join().unwrap_or_else(|_| Err(io::Error::other("the echo panicked")));
            measured.and(echoed)
        })
        .map_err(|e| os_error("round trips", &e))
    })
}

/// Serves the FUSE mount of the descriptor `fuse_fd`, which shows the folder of `folder_fd`; both are given away.
#[pyfunction]
#[pyo3(signature = (*, folder_fd, fuse_fd, page_path, stop_fd))]
fn serve_slow_disk(py: Python<'_>, folder_fd: i32, fuse_fd: i32, page_path: &str, stop_fd: i32) -> PyResult<()> {
    // Its threads end with the process, and see the page until then.
    let mapped = Box::leak(Box::new(Mapped::new(page_path, slow_disk::PAGE_BYTES)?));
    // SAFETY: the page is 8 atomics of 8 bytes; the descriptors are given away: they are detached from their Python owners.
    let (page, folder, fuse) =
        unsafe { (mapped.see::<slow_disk::Page>(), OwnedFd::from_raw_fd(folder_fd), OwnedFd::from_raw_fd(fuse_fd)) };
    py.allow_threads(|| slow_disk::serve(folder, fuse, page, stop_fd)).map_err(|e| os_error("slow disk", &e))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(relay_ways, m)?)?;
    m.add_function(wrap_pyfunction!(measure_round_trips, m)?)?;
    m.add_function(wrap_pyfunction!(serve_slow_disk, m)?)
}
