//! What a run tells Python while it goes on and at its end. Holds the GIL only while a callback runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::collector::{IntervalReport, Listener, WallReport};
use crate::feed::SlotNames;
use crate::pacer::Outcome;
use crate::tally::{Counts, ERROR_KINDS};

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
    slip: Py<PyBytes>,
    service: Py<PyBytes>,
    response: Py<PyBytes>,
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
            slip: bytes(&report.slip),
            service: bytes(&report.service),
            response: bytes(&report.response),
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
    stop: Arc<AtomicBool>,
    counts: Counts,
    failed: Option<PyErr>,
}

impl Callbacks {
    pub fn new(names: SlotNames, on_interval: Option<PyObject>, on_second: Option<PyObject>, stop: Arc<AtomicBool>) -> Self {
        Callbacks { names, on_interval, on_second, stop, counts: Counts::default(), failed: None }
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
        };
        let result = Python::with_gil(|py| callback.call1(py, (Py::new(py, second)?,)));
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
    m.add_class::<Totals>()
}
