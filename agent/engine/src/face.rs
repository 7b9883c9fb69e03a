//! `Replay` as Python sees it: checks the caller's wishes, arms the threads, runs them. Its words are in the module's stub file.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arrow_array::ffi_stream::{ArrowArrayStreamReader, FFI_ArrowArrayStream};
use arrow_array::RecordBatchReader;
use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use pyo3::exceptions::{PyConnectionError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule};

use crate::clock;
use crate::collector;
use crate::driver::{self, append_key, Options, Values, Wire};
use crate::feed::{Feed, Feeder, SlotNames};
use crate::lane::{Disk, Refusal, Security, Trust, Way};
use crate::pacer::{Late, Orders, Outcome, Pacer};
use crate::report::{self, Callbacks, Totals};
use crate::routes::{Cluster, SLOTS};
use crate::tally::{Book, News, Times};
use crate::users::Think;
use crate::workers;

/// Emptied histograms kept for a thread.
const TIMES_KEPT: usize = 64;
const LONGEST_TIMEOUT_MS: i64 = 3_600_000;

/// Threads that are connected and wait for rows.
struct Armed {
    pacers: Vec<(Pacer, Book)>,
    news: Receiver<News>,
    returned: Vec<Sender<Box<Times>>>,
}

#[pyclass(frozen, module = "agent._engine")]
pub struct Replay {
    orders: Orders,
    addresses: Vec<SocketAddr>,
    cores: Vec<usize>,
    split_by: Vec<String>,
    /// The server, as messages name it.
    server: String,
    way: Arc<Way>,
    stop: Arc<AtomicBool>,
    armed: Mutex<Option<Armed>>,
    notes: Vec<String>,
}

/// Servers of a cluster, and the place of each slot among them.
type Servers = (Vec<(String, u16)>, Vec<u16>);

/// The share of thread `thread` when `whole` is dealt out evenly.
fn share(whole: usize, thread: usize, threads: usize) -> usize {
    whole / threads + usize::from(thread < whole % threads)
}

impl Replay {
    /// Makes the threads' parts; with a deadline, connected.
    fn arm(&self, address: SocketAddr, connect_by_ns: Option<i64>) -> Result<Armed, Refusal> {
        let io = |e: std::io::Error| Refusal { errno: e.raw_os_error().unwrap_or(libc::EIO), words: None };
        let threads = self.cores.len().max(1);
        let (tell, news) = unbounded();
        let mut armed = Armed { pacers: Vec::new(), news, returned: Vec::new() };
        for thread in 0..threads {
            let mut orders = Orders { address, core: self.cores.get(thread).copied(), ..self.orders.clone() };
            orders.connections = share(self.orders.connections, thread, threads);
            if orders.window > 0 {
                orders.window = share(self.orders.window, thread, threads);
                // An even load on the connections, instead of all that one of them can hold.
                orders.pipeline = orders.pipeline.min(orders.window.div_ceil(orders.connections));
                orders.think.seed = orders.think.seed.wrapping_add(thread as u64);
            }
            let (give_back, returned) = bounded(TIMES_KEPT);
            let mut book = Book::new(thread, tell.clone(), returned);
            let mut pacer = Pacer::new(orders, self.way.clone()).map_err(io)?;
            if let Some(deadline) = connect_by_ns {
                pacer.connect(deadline, &mut book)?;
            }
            armed.pacers.push((pacer, book));
            armed.returned.push(give_back);
        }
        Ok(armed)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, refusal: &Refusal) -> PyErr {
        let error = std::io::Error::from_raw_os_error(refusal.errno);
        let remedy = match (refusal.errno, &refusal.words) {
            (_, Some(words)) => return PyConnectionError::new_err(format!("{}: refused: {words}", self.server)),
            (libc::ECONNREFUSED, _) => "nobody listens there: start the system, or correct host and port",
            (libc::EMFILE | libc::ENFILE, _) => "use fewer connections, or raise the limit of open files (ulimit -n)",
            _ => "check host, port and what lies between",
        };
        PyConnectionError::new_err(format!("{}: {error}; {remedy}", self.server))
    }
}

fn wrong<T>(text: impl Into<String>) -> PyResult<T> {
    Err(PyValueError::new_err(text.into()))
}

#[pymethods]
impl Replay {
    #[new]
    #[pyo3(signature = (*, driver, host, port, ops=None, connections=8, cores=Vec::new(), timeout_ms=1000, late="send",
        late_after_us=0, window=0, think_us=0, think="constant", pipeline=1024, spin_us=60, options=None, tls=None, cluster=None,
        log_requests=false, kernel_stamps=0, seed=1))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        driver: &str,
        host: &str,
        port: u16,
        ops: Option<Vec<String>>,
        connections: usize,
        cores: Vec<usize>,
        timeout_ms: i64,
        late: &str,
        late_after_us: u32,
        window: usize,
        think_us: u32,
        think: &str,
        pipeline: usize,
        spin_us: u32,
        options: Option<BTreeMap<String, String>>,
        tls: Option<String>,
        cluster: Option<Servers>,
        log_requests: bool,
        kernel_stamps: u32,
        seed: u64,
    ) -> PyResult<Self> {
        let late = match late {
            "send" => Late::Send,
            "drop" => Late::Drop,
            "abort" => Late::Abort,
            other => return wrong(format!("late {other:?}: expected send, drop or abort")),
        };
        let exponential = match think {
            "constant" => false,
            "exponential" => true,
            other => return wrong(format!("think {other:?}: expected constant or exponential")),
        };
        if connections == 0 || pipeline == 0 {
            return wrong(format!("connections {connections}, pipeline {pipeline}: both must be at least 1"));
        }
        if !(1..=LONGEST_TIMEOUT_MS).contains(&timeout_ms) {
            return wrong(format!("timeout_ms {timeout_ms}: expected 1 to {LONGEST_TIMEOUT_MS}"));
        }
        if think_us > 0 && window == 0 {
            return wrong("think_us: only a closed loop thinks; give a window");
        }
        let options = Options::from(options.unwrap_or_default());
        let has_address = !matches!(driver, "block" | "null" | "python");
        let server = match (has_address, host.contains(':')) {
            (false, _) => host.to_string(),
            (true, true) => format!("[{host}]:{port}"),
            (true, false) => format!("{host}:{port}"),
        };
        let way = way(driver, host, &server, options, tls.as_deref(), kernel_stamps).map_err(PyValueError::new_err)?;
        let addresses = if has_address { resolve(py, host, port, &server)? } else { vec![SocketAddr::from(([0, 0, 0, 0], 0))] };
        let cluster = match cluster {
            None => None,
            Some(_) if driver != "redis" => return wrong("cluster: only the redis driver has one"),
            Some((nodes, slots)) => Some(cluster_of(py, &nodes, slots)?),
        };
        // A thread without a connection, or without a place in the window, would have nothing to do.
        let most = connections.min(if window > 0 { window } else { usize::MAX });
        let mut cores = cores;
        let mut notes = Vec::new();
        if cores.len() > most {
            notes.push(format!("{most} of {} cores used: there are no more connections or places in the window", cores.len()));
            cores.truncate(most);
        }
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        if cpus == 1 {
            notes.push("one core for the engine and the rest of its process: it sleeps while it waits for answers, and wakes a little late".into());
        }
        if let Some(coarse) = clock::coarseness() {
            notes.push(coarse);
        }
        Ok(Replay {
            orders: Orders {
                address: addresses[0],
                connections,
                core: None,
                timeout_ns: timeout_ms * 1_000_000,
                late,
                late_after_ns: i64::from(late_after_us) * 1000,
                window,
                think: Think { mean_ns: i64::from(think_us) * 1000, exponential, seed },
                pipeline,
                spin_ns: i64::from(spin_us) * 1000,
                cluster,
                log_requests,
                spin_for_answers: cpus > 1,
            },
            addresses,
            cores,
            split_by: ops.unwrap_or_default(),
            server,
            way: Arc::new(way),
            stop: Arc::new(AtomicBool::new(false)),
            armed: Mutex::new(None),
            notes,
        })
    }

    /// After connect(), for driver "python": one for each connection, each for a thread of its own.
    fn workers(&self) -> Vec<workers::Worker> {
        workers::fetch(&self.way)
    }

    #[pyo3(signature = (timeout_ms=5000))]
    fn connect(&self, py: Python<'_>, timeout_ms: u32) -> PyResult<()> {
        let deadline = clock::now_ns() + i64::from(timeout_ms) * 1_000_000;
        let mut last = None;
        for &address in &self.addresses {
            match py.allow_threads(|| self.arm(address, Some(deadline))) {
                Ok(armed) => {
                    *self.slot() = Some(armed);
                    return Ok(());
                }
                Err(error) => last = Some(error),
            }
        }
        Err(self.refuse(&last.unwrap_or(Refusal { errno: libc::EADDRNOTAVAIL, words: None })))
    }

    #[pyo3(signature = (rows, t0_ns, on_interval=None, on_second=None, on_requests=None))]
    fn run(
        &self,
        py: Python<'_>,
        rows: &Bound<'_, PyAny>,
        t0_ns: i64,
        on_interval: Option<PyObject>,
        on_second: Option<PyObject>,
        on_requests: Option<PyObject>,
    ) -> PyResult<Totals> {
        let mut reader = open_stream(rows)?;
        Feeder::check(&reader.schema()).map_err(PyValueError::new_err)?;
        let armed = self.slot().take();
        let armed = match armed {
            Some(armed) => armed,
            None => self.arm(self.orders.address, None).map_err(|e| self.refuse(&e))?,
        };
        let names = SlotNames::default();
        let (feeder, feeds) = Feeder::new(armed.pacers.len(), &self.split_by, names.clone(), self.way.reads());
        let mut callbacks = Callbacks::new(names, [on_interval, on_second, on_requests], t0_ns, self.stop.clone());
        let (outcomes, fed) = py.allow_threads(|| {
            let outcome = replay(armed, feeder, feeds, &mut reader, t0_ns, &self.stop, &mut callbacks);
            drop(reader);
            outcome
        });
        let notes = self.notes.iter().cloned().chain(self.way.notes()).collect();
        let totals = callbacks.totals(outcomes, notes)?;
        match fed {
            Ok(()) => Ok(totals),
            Err(Fault::Stream(text)) => wrong(text),
            Err(Fault::Panic) => Err(PyRuntimeError::new_err("a thread of the engine has panicked (see stderr); report a bug")),
        }
    }

    /// Closes what connect() opened and run() has not used; workers that wait are let go.
    fn disarm(&self) {
        drop(self.slot().take());
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn way(driver: &str, host: &str, server: &str, mut options: Options, tls: Option<&str>, stamp_every: u32) -> Result<Way, String> {
    if tls.is_some() && !matches!(driver, "redis" | "memcached" | "http" | "http2" | "grpc" | "openai" | "tcp") {
        return Err(format!("tls: the {driver} driver has none"));
    }
    let way = match driver {
        "block" => Way::Disk(Arc::new(Disk::open(host, &mut options)?)),
        "null" => Way::Null,
        "python" => Way::workers(),
        "udp" => Way::Datagram(Arc::new(Wire { host: server.to_string(), values: Values::new() })),
        _ => {
            let wire = Wire { host: server.to_string(), values: Values::new() };
            let protocol = driver::make(driver, wire, options, tls.is_some())?;
            let trust = tls.map(|trust| match trust {
                "system" => Trust::System,
                "anybody" => Trust::Anybody,
                file => Trust::File(file.to_string()),
            });
            let security = trust.map(|trust| Security::new(&trust, host, protocol.alpn()).map(Arc::new)).transpose()?;
            return Ok(Way::Stream { protocol, security, stamp_every });
        }
    };
    options.nothing_left(driver)?;
    Ok(way)
}

fn resolve(py: Python<'_>, host: &str, port: u16, server: &str) -> PyResult<Vec<SocketAddr>> {
    let found = py.allow_threads(|| (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    let addresses = found.map_err(|e| PyConnectionError::new_err(format!("{server}: {e}")))?;
    if addresses.is_empty() {
        return Err(PyConnectionError::new_err(format!("{server}: no address has this name")));
    }
    Ok(addresses)
}

fn cluster_of(py: Python<'_>, nodes: &[(String, u16)], slots: Vec<u16>) -> PyResult<Cluster> {
    if nodes.is_empty() || slots.len() != SLOTS || slots.iter().any(|node| usize::from(*node) >= nodes.len()) {
        return wrong(format!("cluster: expected at least one node, and one of their places for each of the {SLOTS} slots"));
    }
    let first = |(host, port): &(String, u16)| Ok(resolve(py, host, *port, &format!("{host}:{port}"))?[0]);
    Ok(Cluster { addresses: nodes.iter().map(first).collect::<PyResult<_>>()?, slots })
}

/// Why a run has no result.
enum Fault {
    Stream(String),
    Panic,
}

/// Runs feeder, engine threads and collector to their end.
fn replay(
    armed: Armed,
    feeder: Feeder,
    feeds: Vec<Feed>,
    reader: &mut ArrowArrayStreamReader,
    t0_ns: i64,
    stop: &AtomicBool,
    listener: &mut Callbacks,
) -> (Vec<Outcome>, Result<(), Fault>) {
    let Armed { pacers, news, returned } = armed;
    let threads = pacers.len();
    std::thread::scope(|scope| {
        let run = |((pacer, book), feed): ((Pacer, Book), Feed)| scope.spawn(move || pacer.run(feed, t0_ns, stop, book));
        let engines: Vec<_> = pacers.into_iter().zip(feeds).map(run).collect();
        let feeder = scope.spawn(move || {
            let fed = feeder.run(reader);
            if fed.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            fed
        });
        collector::collect(&news, &returned, listener);
        let outcomes: Vec<Outcome> = engines.into_iter().filter_map(|engine| engine.join().ok()).collect();
        let fed = match feeder.join() {
            Ok(fed) if outcomes.len() == threads => fed.map_err(Fault::Stream),
            _ => Err(Fault::Panic),
        };
        (outcomes, fed)
    })
}

/// Takes over an Arrow C stream (PyCapsule interface).
fn open_stream(rows: &Bound<'_, PyAny>) -> PyResult<ArrowArrayStreamReader> {
    if !rows.hasattr("__arrow_c_stream__")? {
        return wrong("rows: expected an Arrow stream (an object with __arrow_c_stream__)");
    }
    let capsule = rows.call_method0("__arrow_c_stream__")?;
    let capsule = capsule.downcast_into::<PyCapsule>()?;
    if capsule.name()? != Some(c"arrow_array_stream") {
        return wrong("rows: __arrow_c_stream__ did not return an arrow_array_stream capsule");
    }
    let pointer = capsule.pointer().cast::<FFI_ArrowArrayStream>();
    // SAFETY: a capsule of this name holds a valid stream; from_raw moves it out and leaves it released.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer) };
    ArrowArrayStreamReader::try_new(stream).map_err(|e| PyValueError::new_err(format!("rows: {e}")))
}

#[pyfunction]
fn monotonic_ns() -> i64 {
    clock::now_ns()
}

#[pyfunction]
fn key_text(key_id: u64, key_bytes: u32) -> String {
    let mut out = Vec::new();
    append_key(key_id, key_bytes, &mut out);
    out.iter().map(|b| char::from(*b)).collect()
}

/// The payload that a store of this key carries.
#[pyfunction]
fn value(py: Python<'_>, key_id: u64, bytes: u64) -> Py<PyBytes> {
    static VALUES: OnceLock<Values> = OnceLock::new();
    let mut out = Vec::new();
    VALUES.get_or_init(Values::new).append(key_id, bytes, &mut out);
    PyBytes::new(py, &out).unbind()
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Replay>()?;
    report::register(m)?;
    m.add_function(wrap_pyfunction!(monotonic_ns, m)?)?;
    m.add_function(wrap_pyfunction!(value, m)?)?;
    m.add_function(wrap_pyfunction!(key_text, m)?)
}
