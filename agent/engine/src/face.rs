//! What Python sees: classes and functions of `agent._engine`, as its stub file documents them.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::ffi_stream::{ArrowArrayStreamReader, FFI_ArrowArrayStream};
use arrow_array::RecordBatchReader;
use crossbeam_channel::{bounded, unbounded};
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::Histogram;
use pyo3::exceptions::{PyConnectionError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyCapsule, PyList};

use crate::clock;
use crate::collector::{self, IntervalReport, Listener, WallReport};
use crate::driver::{self, append_key, Encoder, Values, Wire};
use crate::feed::{Feeder, CHUNKS_AHEAD};
use crate::pacer::{Late, Orders, Outcome, Pacer};
use crate::tally::{Book, Closed, OpTally, ERROR_KINDS};

#[pyclass(frozen, get_all)]
pub struct Interval {
    second: i64,
    op: String,
    scheduled: u64,
    sent: u64,
    completed: u64,
    misses: u64,
    timed_out: u64,
    dropped: u64,
    unsent: u64,
    errors: BTreeMap<String, u64>,
    bytes_sent: u64,
    bytes_received: u64,
    slip: Py<PyBytes>,
    service: Py<PyBytes>,
    response: Py<PyBytes>,
}

#[pyclass(frozen, get_all)]
pub struct EngineSecond {
    second: i64,
    core: i64,
    pinned: bool,
    cpu_ns: i64,
    run_delay_ns: i64,
    steal_ns: i64,
    inflight: u64,
    inflight_max: u64,
    backlog: u64,
    send_buffer_full: u64,
    reconnects: u64,
}

#[pyclass(frozen, get_all)]
#[derive(Default)]
pub struct Totals {
    scheduled: u64,
    sent: u64,
    completed: u64,
    misses: u64,
    timed_out: u64,
    dropped: u64,
    unsent: u64,
    errors: BTreeMap<String, u64>,
    first_send_ns: i64,
    last_due_ns: i64,
    stopped: bool,
    feed_starved: u64,
    notes: Vec<String>,
}

impl Totals {
    fn add(&mut self, tally: &OpTally) {
        self.scheduled += tally.scheduled;
        self.sent += tally.sent;
        self.completed += tally.completed;
        self.misses += tally.misses;
        self.timed_out += tally.timed_out;
        self.dropped += tally.dropped;
        self.unsent += tally.unsent;
        for (kind, n) in errors(tally) {
            *self.errors.entry(kind).or_default() += n;
        }
    }

    fn close(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            if outcome.first_send_ns > 0 && (self.first_send_ns == 0 || outcome.first_send_ns < self.first_send_ns) {
                self.first_send_ns = outcome.first_send_ns;
            }
            self.last_due_ns = self.last_due_ns.max(outcome.last_due_ns);
            self.stopped |= outcome.stopped;
            self.feed_starved += outcome.feed_starved;
            self.notes.extend(outcome.notes);
        }
    }
}

fn errors(tally: &OpTally) -> BTreeMap<String, u64> {
    let kinds = ERROR_KINDS.iter().zip(tally.errors);
    kinds.filter(|(_, n)| *n > 0).map(|(kind, n)| ((*kind).to_string(), n)).collect()
}

/// Passes a run's news on to Python, holding the GIL only while a callback runs.
struct Callbacks {
    names: Arc<Mutex<Vec<Arc<str>>>>,
    on_interval: Option<PyObject>,
    on_second: Option<PyObject>,
    totals: Totals,
    failed: Option<PyErr>,
    stop: Arc<AtomicBool>,
}

impl Callbacks {
    fn keep(&mut self, result: PyResult<PyObject>) {
        if let Err(error) = result {
            // A listener that fails must not lose data unseen: the run ends and raises.
            self.stop.store(true, Ordering::Relaxed);
            self.failed.get_or_insert(error);
        }
    }
}

impl Listener for Callbacks {
    fn intervals(&mut self, intervals: &[IntervalReport]) {
        for report in intervals {
            self.totals.add(&report.tally);
        }
        let Some(callback) = &self.on_interval else {
            return;
        };
        let names = self.names.lock().map(|n| n.clone()).unwrap_or_default();
        let result = Python::with_gil(|py| {
            let made = intervals
                .iter()
                .map(|r| {
                    let bytes = |b: &Vec<u8>| PyBytes::new(py, b).unbind();
                    Py::new(
                        py,
                        Interval {
                            second: r.second,
                            op: names.get(r.op).map_or_else(|| "other".to_string(), |n| n.to_string()),
                            scheduled: r.tally.scheduled,
                            sent: r.tally.sent,
                            completed: r.tally.completed,
                            misses: r.tally.misses,
                            timed_out: r.tally.timed_out,
                            dropped: r.tally.dropped,
                            unsent: r.tally.unsent,
                            errors: errors(&r.tally),
                            bytes_sent: r.tally.bytes_sent,
                            bytes_received: r.tally.bytes_received,
                            slip: bytes(&r.slip),
                            service: bytes(&r.service),
                            response: bytes(&r.response),
                        },
                    )
                })
                .collect::<PyResult<Vec<_>>>()?;
            callback.call1(py, (PyList::new(py, made)?,))
        });
        self.keep(result);
    }

    fn wall(&mut self, report: &WallReport) {
        let Some(callback) = &self.on_second else {
            return;
        };
        let wall = &report.wall;
        let result = Python::with_gil(|py| {
            let second = EngineSecond {
                second: wall.second,
                core: wall.core.map_or(-1, |c| c as i64),
                pinned: wall.core.is_some(),
                cpu_ns: wall.cpu_ns,
                run_delay_ns: report.run_delay_ns,
                steal_ns: report.steal_ns,
                inflight: wall.inflight,
                inflight_max: wall.inflight_max,
                backlog: wall.backlog,
                send_buffer_full: wall.send_buffer_full,
                reconnects: wall.reconnects,
            };
            callback.call1(py, (Py::new(py, second)?,))
        });
        self.keep(result);
    }
}

/// Threads that are connected and wait for rows.
struct Armed {
    pacers: Vec<Pacer>,
    books: Vec<Book>,
    closed: crossbeam_channel::Receiver<Closed>,
    returned: Vec<crossbeam_channel::Sender<Box<OpTally>>>,
}

#[pyclass(frozen)]
pub struct Replay {
    orders: Orders,
    cores: Vec<usize>,
    names: Vec<String>,
    host: String,
    encoder: Arc<dyn Encoder>,
    stop: Arc<AtomicBool>,
    armed: Mutex<Option<Armed>>,
}

impl Replay {
    fn arm(&self, connect_by_ns: Option<i64>) -> Result<Armed, i32> {
        let threads = self.cores.len().max(1);
        let (close, closed) = unbounded();
        let mut armed = Armed { pacers: Vec::new(), books: Vec::new(), closed, returned: Vec::new() };
        for thread in 0..threads {
            let mut orders = self.orders.clone();
            orders.core = self.cores.get(thread).copied();
            // Spread as evenly as it goes, at least one each.
            orders.connections =
                (self.orders.connections / threads + usize::from(thread < self.orders.connections % threads)).max(1);
            let (give_back, returned) = bounded(64);
            let mut book = Book::new(thread, close.clone(), returned);
            let mut pacer = Pacer::new(orders, self.encoder.clone()).map_err(|e| e.raw_os_error().unwrap_or(libc::EMFILE))?;
            if let Some(deadline) = connect_by_ns {
                pacer.connect(deadline, &mut book)?;
            }
            armed.pacers.push(pacer);
            armed.books.push(book);
            armed.returned.push(give_back);
        }
        Ok(armed)
    }
}

#[pymethods]
impl Replay {
    #[new]
    #[pyo3(signature = (*, driver, host, port, ops=None, connections=8, cores=Vec::new(), timeout_ms=1000, late="send",
        late_after_us=0, window=0, pipeline=1024, spin_us=60, host_header=None, path="/", expect_bytes=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        driver: &str,
        host: &str,
        port: u16,
        ops: Option<Vec<String>>,
        connections: usize,
        cores: Vec<usize>,
        timeout_ms: i64,
        late: &str,
        late_after_us: i64,
        window: usize,
        pipeline: usize,
        spin_us: i64,
        host_header: Option<String>,
        path: &str,
        expect_bytes: bool,
    ) -> PyResult<Self> {
        let late = match late {
            "send" => Late::Send,
            "drop" => Late::Drop,
            "abort" => Late::Abort,
            other => return Err(PyValueError::new_err(format!("late {other:?}: expected send, drop or abort"))),
        };
        if connections == 0 || pipeline == 0 || timeout_ms <= 0 {
            return Err(PyValueError::new_err("connections, pipeline and timeout_ms must be positive"));
        }
        let address = (host, port)
            .to_socket_addrs()
            .map_err(|e| PyConnectionError::new_err(format!("{host}:{port}: {e}")))?
            .next()
            .ok_or_else(|| PyConnectionError::new_err(format!("{host}:{port}: no address")))?;
        let wire = Wire {
            host: host_header.unwrap_or_else(|| format!("{host}:{port}")),
            path: path.to_string(),
            expect_bytes,
            values: Values::new(),
        };
        let encoder = driver::make(driver, wire)
            .ok_or_else(|| PyValueError::new_err(format!("driver {driver:?}: expected redis, http or tcp")))?;
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
        let pipeline = if window > 0 { pipeline.min(window.div_ceil(connections).max(1)) } else { pipeline };
        Ok(Replay {
            orders: Orders {
                address,
                connections,
                core: None,
                timeout_ns: timeout_ms * 1_000_000,
                late,
                late_after_ns: late_after_us * 1000,
                window,
                pipeline,
                spin_ns: spin_us * 1000,
                spin_for_answers: cpus > 1 || !cores.is_empty(),
            },
            cores,
            names: ops.unwrap_or_default(),
            host: format!("{host}:{port}"),
            encoder: Arc::from(encoder),
            stop: Arc::new(AtomicBool::new(false)),
            armed: Mutex::new(None),
        })
    }

    /// Opens all connections, so that run() can start on time.
    #[pyo3(signature = (timeout_ms=5000))]
    fn connect(&self, py: Python<'_>, timeout_ms: i64) -> PyResult<()> {
        let armed = py.allow_threads(|| self.arm(Some(clock::now_ns() + timeout_ms * 1_000_000)));
        match armed {
            Ok(armed) => {
                let mut slot = self.armed.lock().map_err(|_| PyRuntimeError::new_err("the engine has panicked before"))?;
                *slot = Some(armed);
                Ok(())
            }
            Err(errno) => {
                let text = std::io::Error::from_raw_os_error(errno);
                Err(PyConnectionError::new_err(format!("{}: {text}", self.host)))
            }
        }
    }

    #[pyo3(signature = (rows, t0_ns, on_interval=None, on_second=None))]
    fn run(
        &self,
        py: Python<'_>,
        rows: &Bound<'_, PyAny>,
        t0_ns: i64,
        on_interval: Option<PyObject>,
        on_second: Option<PyObject>,
    ) -> PyResult<Totals> {
        let mut reader = open_stream(rows)?;
        Feeder::check(&reader.schema()).map_err(PyValueError::new_err)?;
        let armed = self.armed.lock().map_err(|_| PyRuntimeError::new_err("the engine has panicked before"))?.take();
        let armed = match armed {
            Some(armed) => armed,
            None => self.arm(None).map_err(|e| PyOSError::new_err(std::io::Error::from_raw_os_error(e).to_string()))?,
        };
        let names = Arc::new(Mutex::new(Vec::new()));
        let mut callbacks = Callbacks {
            names: names.clone(),
            on_interval,
            on_second,
            totals: Totals::default(),
            failed: None,
            stop: self.stop.clone(),
        };
        let (outcomes, fed) =
            py.allow_threads(|| replay(armed, &mut reader, &self.names, names, t0_ns, &self.stop, &mut callbacks));
        drop(reader);
        if let Some(error) = callbacks.failed {
            return Err(error);
        }
        fed.map_err(PyValueError::new_err)?;
        callbacks.totals.close(outcomes);
        Ok(callbacks.totals)
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Runs feeder, engine threads and collector to their end.
fn replay(
    armed: Armed,
    reader: &mut ArrowArrayStreamReader,
    ops: &[String],
    names: Arc<Mutex<Vec<Arc<str>>>>,
    t0_ns: i64,
    stop: &AtomicBool,
    listener: &mut Callbacks,
) -> (Vec<Outcome>, Result<(), String>) {
    let threads = armed.pacers.len();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| bounded(CHUNKS_AHEAD)).unzip();
    let Armed { pacers, books, closed, returned } = armed;
    std::thread::scope(|scope| {
        let engines: Vec<_> = pacers
            .into_iter()
            .zip(books)
            .zip(receivers)
            .map(|((pacer, book), feed)| scope.spawn(move || pacer.run(feed, t0_ns, stop, book)))
            .collect();
        let feeder = scope.spawn(move || {
            let fed = Feeder::new(threads, ops, names).run(reader, &senders);
            if fed.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            drop(senders);
            fed
        });
        collector::collect(&closed, threads, &returned, listener);
        let outcomes = engines.into_iter().filter_map(|e| e.join().ok()).collect::<Vec<_>>();
        let fed = feeder.join().unwrap_or_else(|_| Err("the feeder has panicked; report a bug".into()));
        let fed = if outcomes.len() == threads { fed } else { Err("an engine thread has panicked; report a bug".into()) };
        (outcomes, fed)
    })
}

/// Takes over an Arrow C stream (PyCapsule interface).
fn open_stream(rows: &Bound<'_, PyAny>) -> PyResult<ArrowArrayStreamReader> {
    let capsule = rows
        .call_method0("__arrow_c_stream__")
        .map_err(|_| PyValueError::new_err("rows: expected an Arrow stream (an object with __arrow_c_stream__)"))?;
    let capsule = capsule.downcast_into::<PyCapsule>().map_err(|_| PyValueError::new_err("rows: not an Arrow stream capsule"))?;
    let pointer = capsule.pointer().cast::<FFI_ArrowArrayStream>();
    // SAFETY: the capsule protocol says that the pointer is a valid stream; from_raw moves it out and leaves it released.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer) };
    ArrowArrayStreamReader::try_new(stream).map_err(|e| PyValueError::new_err(format!("rows: {e}")))
}

fn decode(bytes: &[u8]) -> PyResult<Histogram<u64>> {
    Deserializer::new()
        .deserialize(&mut std::io::Cursor::new(bytes))
        .map_err(|e| PyValueError::new_err(format!("not an HdrHistogram V2: {e:?}")))
}

/// Adds histograms exactly.
#[pyfunction]
fn hdr_merge(py: Python<'_>, parts: Vec<PyBackedBytes>) -> PyResult<Py<PyBytes>> {
    let mut whole: Histogram<u64> =
        Histogram::new_with_bounds(1, 120_000_000_000, 3).map_err(|e| PyValueError::new_err(e.to_string()))?;
    for part in parts {
        whole.add(decode(&part)?).map_err(|e| PyValueError::new_err(e.to_string()))?;
    }
    Ok(PyBytes::new(py, &collector::encode(&whole)).unbind())
}

#[pyfunction]
fn hdr_quantiles(hdr: &[u8], quantiles: Vec<f64>) -> PyResult<Vec<u64>> {
    let histogram = decode(hdr)?;
    Ok(quantiles.iter().map(|q| histogram.value_at_quantile(*q)).collect())
}

#[pyfunction]
fn hdr_count(hdr: &[u8]) -> PyResult<u64> {
    Ok(decode(hdr)?.len())
}

/// How many recorded values are at or below each bound.
#[pyfunction]
fn hdr_counts_below(hdr: &[u8], bounds: Vec<u64>) -> PyResult<Vec<u64>> {
    let histogram = decode(hdr)?;
    Ok(bounds.iter().map(|b| histogram.count_between(0, *b)).collect())
}

#[pyfunction]
fn hdr_mean(hdr: &[u8]) -> PyResult<f64> {
    Ok(decode(hdr)?.mean())
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

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Interval>()?;
    m.add_class::<EngineSecond>()?;
    m.add_class::<Totals>()?;
    m.add_class::<Replay>()?;
    m.add_function(wrap_pyfunction!(hdr_merge, m)?)?;
    m.add_function(wrap_pyfunction!(hdr_quantiles, m)?)?;
    m.add_function(wrap_pyfunction!(hdr_count, m)?)?;
    m.add_function(wrap_pyfunction!(hdr_counts_below, m)?)?;
    m.add_function(wrap_pyfunction!(hdr_mean, m)?)?;
    m.add_function(wrap_pyfunction!(monotonic_ns, m)?)?;
    m.add_function(wrap_pyfunction!(key_text, m)?)
}
