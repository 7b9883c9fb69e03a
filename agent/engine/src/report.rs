//! What a run tells Python while it goes on and at its end. Holds the GIL only while a callback runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::collector::{encode, IntervalReport, Listener, WallReport};
use crate::feed::SlotNames;
use crate::pacer::Outcome;
use crate::tally::{Counts, End, LogRow, ERROR_KINDS};

#[pyclass(frozen, get_all, module = "agent._engine")]
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
    output_tokens: u64,
    slip: Py<PyBytes>,
    service: Py<PyBytes>,
    response: Py<PyBytes>,
    ttft: Py<PyBytes>,
    tpot: Py<PyBytes>,
}

impl Interval {
    fn new(py: Python<'_>, report: &IntervalReport, names: &[Arc<str>]) -> Self {
        let bytes = |hdr: &[u8]| PyBytes::new(py, hdr).unbind();
        let counts = &report.counts;
        Interval {
            second: report.second,
            op: names[report.op].to_string(),
            scheduled: counts.scheduled,
            sent: counts.sent,
            completed: counts.completed,
            misses: counts.misses,
            timed_out: counts.timed_out,
            dropped: counts.dropped,
            unsent: counts.unsent,
            errors: errors(counts),
            bytes_sent: counts.bytes_sent,
            bytes_received: counts.bytes_received,
            output_tokens: counts.output_tokens,
            slip: bytes(&report.slip),
            service: bytes(&report.service),
            response: bytes(&report.response),
            ttft: bytes(&report.ttft),
            tpot: bytes(&report.tpot),
        }
    }
}

#[pyclass(frozen, get_all, module = "agent._engine")]
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
    gap_due: Py<PyBytes>,
    gap_sent: Py<PyBytes>,
    kernel_sent: Py<PyBytes>,
    kernel_read: Py<PyBytes>,
}

/// Requests that have ended, by column; each column is a buffer of native numbers.
#[pyclass(frozen, get_all, module = "agent._engine")]
pub struct RequestLog {
    rows: usize,
    row: Py<PyBytes>,
    due_ns: Py<PyBytes>,
    sent_ns: Py<PyBytes>,
    done_ns: Py<PyBytes>,
    op: Py<PyBytes>,
    end: Py<PyBytes>,
    ops: Vec<String>,
}

/// How the log writes an end: places in ENDS.
fn end_code(end: End) -> u8 {
    match end {
        End::Completed { miss: false } => 0,
        End::Completed { miss: true } => 1,
        End::TimedOut => 2,
        End::Dropped => 3,
        End::Unsent => 4,
        End::Error(kind) => 5 + kind as u8,
    }
}

fn ends() -> Vec<String> {
    let plain = ["completed", "miss", "timed_out", "dropped", "unsent"];
    plain.iter().chain(&ERROR_KINDS).map(|name| (*name).to_string()).collect()
}

impl RequestLog {
    fn new(py: Python<'_>, rows: &[LogRow], names: &[Arc<str>], t0_ns: i64) -> Self {
        let column = |of: &dyn Fn(&LogRow) -> [u8; 8]| PyBytes::new(py, &rows.iter().flat_map(of).collect::<Vec<u8>>()).unbind();
        // 0 is before any start: it stands for never.
        let after_t0 = |ns: i64| if ns == 0 { i64::MIN } else { ns - t0_ns };
        RequestLog {
            rows: rows.len(),
            row: column(&|r| r.row.to_ne_bytes()),
            due_ns: column(&|r| (r.due_ns - t0_ns).to_ne_bytes()),
            sent_ns: column(&|r| after_t0(r.stamps.sent_ns).to_ne_bytes()),
            done_ns: column(&|r| after_t0(r.stamps.done_ns).to_ne_bytes()),
            op: PyBytes::new(py, &rows.iter().map(|r| r.slot as u8).collect::<Vec<u8>>()).unbind(),
            end: PyBytes::new(py, &rows.iter().map(|r| end_code(r.end)).collect::<Vec<u8>>()).unbind(),
            ops: names.iter().map(ToString::to_string).collect(),
        }
    }
}

#[pyclass(frozen, get_all, module = "agent._engine")]
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

fn errors(counts: &Counts) -> BTreeMap<String, u64> {
    let kinds = ERROR_KINDS.iter().zip(counts.errors);
    kinds.filter(|(_, n)| *n > 0).map(|(kind, n)| ((*kind).to_string(), n)).collect()
}

impl Totals {
    fn of(counts: &Counts, outcomes: Vec<Outcome>, notes: Vec<String>) -> Self {
        Totals {
            scheduled: counts.scheduled,
            sent: counts.sent,
            completed: counts.completed,
            misses: counts.misses,
            timed_out: counts.timed_out,
            dropped: counts.dropped,
            unsent: counts.unsent,
            errors: errors(counts),
            first_send_ns: outcomes.iter().map(|o| o.first_send_ns).filter(|t| *t > 0).min().unwrap_or(0),
            last_due_ns: outcomes.iter().map(|o| o.last_due_ns).max().unwrap_or(0),
            stopped: outcomes.iter().any(|o| o.stopped),
            feed_starved: outcomes.iter().map(|o| o.feed_starved).sum(),
            notes: notes.into_iter().chain(outcomes.into_iter().flat_map(|o| o.notes)).collect(),
        }
    }
}

/// Passes a run's news on to Python.
pub struct Callbacks {
    names: SlotNames,
    on_interval: Option<PyObject>,
    on_second: Option<PyObject>,
    on_requests: Option<PyObject>,
    t0_ns: i64,
    stop: Arc<AtomicBool>,
    counts: Counts,
    failed: Option<PyErr>,
}

impl Callbacks {
    pub fn new(
        names: SlotNames,
        [on_interval, on_second, on_requests]: [Option<PyObject>; 3],
        t0_ns: i64,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Callbacks { names, on_interval, on_second, on_requests, t0_ns, stop, counts: Counts::default(), failed: None }
    }

    /// The end of the run; the error of a callback, if one has failed.
    pub fn totals(self, outcomes: Vec<Outcome>, notes: Vec<String>) -> PyResult<Totals> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(Totals::of(&self.counts, outcomes, notes)),
        }
    }

    /// A listener that fails must not lose data unseen: the run ends and raises.
    fn keep<T>(&mut self, result: PyResult<T>) {
        if let Err(error) = result {
            self.stop.store(true, Ordering::Relaxed);
            self.failed.get_or_insert(error);
        }
    }
}

impl Listener for Callbacks {
    fn intervals(&mut self, intervals: Vec<IntervalReport>) {
        for report in &intervals {
            self.counts.add(&report.counts);
        }
        let Some(callback) = self.on_interval.as_ref().filter(|_| self.failed.is_none()) else {
            return;
        };
        let names = self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let result = Python::with_gil(|py| {
            let made = intervals.iter().map(|r| Py::new(py, Interval::new(py, r, &names))).collect::<PyResult<Vec<_>>>()?;
            callback.call1(py, (PyList::new(py, made)?,))
        });
        self.keep(result);
    }

    fn wall(&mut self, report: &WallReport) {
        let Some(callback) = self.on_second.as_ref().filter(|_| self.failed.is_none()) else {
            return;
        };
        let wall = &report.wall;
        let gaps = wall.gaps.as_ref().map(|gaps| (encode(&gaps.due), encode(&gaps.sent))).unwrap_or_default();
        let kernel = wall.kernel.as_ref().map(|k| (encode(&k.sent), encode(&k.read))).unwrap_or_default();
        let result = Python::with_gil(|py| {
            let second = EngineSecond {
                second: wall.second,
                core: wall.core.map_or(-1, |core| core as i64),
                pinned: wall.core.is_some(),
                cpu_ns: wall.cpu_ns,
                run_delay_ns: report.run_delay_ns,
                steal_ns: report.steal_ns,
                inflight: wall.inflight,
                inflight_max: wall.inflight_max,
                backlog: wall.backlog,
                send_buffer_full: wall.send_buffer_full,
                reconnects: wall.reconnects,
                gap_due: PyBytes::new(py, &gaps.0).unbind(),
                gap_sent: PyBytes::new(py, &gaps.1).unbind(),
                kernel_sent: PyBytes::new(py, &kernel.0).unbind(),
                kernel_read: PyBytes::new(py, &kernel.1).unbind(),
            };
            callback.call1(py, (Py::new(py, second)?,))
        });
        self.keep(result);
    }

    fn requests(&mut self, rows: Vec<LogRow>) {
        let Some(callback) = self.on_requests.as_ref().filter(|_| self.failed.is_none()) else {
            return;
        };
        let names = self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let result = Python::with_gil(|py| {
            let log = RequestLog::new(py, &rows, &names, self.t0_ns);
            callback.call1(py, (Py::new(py, log)?,))
        });
        self.keep(result);
    }

    fn idle(&mut self) {
        // Ctrl-C must end a run that has no callbacks, too.
        if self.failed.is_none() {
            self.keep(Python::with_gil(|py| py.check_signals()));
        }
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Interval>()?;
    m.add_class::<EngineSecond>()?;
    m.add_class::<RequestLog>()?;
    m.add("ENDS", ends())?;
    m.add_class::<Totals>()
}
