//! Python's end of worker lanes: a Python thread takes a request, does it its own way, and says how it went. The stamps are taken here.

use std::sync::Mutex;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::driver::Answer;
use crate::lane::worker::{Bench, Job, Names};
use crate::lane::Way;
use crate::tally::ErrorKind;

use std::sync::Arc;

/// One request, as a Python driver sees it.
#[pyclass(frozen, get_all, module = "agent._engine")]
pub struct Request {
    op: String,
    key_id: u64,
    key_bytes: u32,
    req_bytes: u32,
    resp_bytes: u64,
    ttl_ms: u64,
    target: Option<String>,
}

impl Request {
    fn new(job: &Job, names: &Names) -> Self {
        let row = &job.row;
        Request {
            op: names.name(job.verb).to_string(),
            key_id: row.key_id,
            key_bytes: row.key_bytes,
            req_bytes: row.req_bytes,
            resp_bytes: row.resp_bytes,
            ttl_ms: row.ttl_ms,
            target: row.target.as_deref().map(|t| String::from_utf8_lossy(t).into_owned()),
        }
    }
}

/// One worker's place; for one thread.
#[pyclass(frozen, module = "agent._engine")]
pub struct Worker {
    bench: Mutex<Bench>,
    names: Arc<Names>,
}

#[pymethods]
impl Worker {
    /// Waits for the next request; None: there will be no more. `sent` is stamped when this returns.
    fn take(&self, py: Python<'_>) -> PyResult<Option<Request>> {
        let mut bench = self.bench.try_lock().map_err(|_| PyRuntimeError::new_err("a worker is for one thread"))?;
        if bench.is_at_work() {
            return Err(PyRuntimeError::new_err("take() before finish(): a worker does one request at a time"));
        }
        let Some(job) = py.allow_threads(|| bench.wait()) else {
            return Ok(None);
        };
        let request = Request::new(&job, &self.names);
        bench.begin(&job);
        Ok(Some(request))
    }

    /// The request is answered: "ok", "miss", "server", "reset", "closed" or "connect". `done` is stamped here.
    #[pyo3(signature = (answer="ok", bytes=0))]
    fn finish(&self, answer: &str, bytes: u64) -> PyResult<()> {
        let answer = match answer {
            "ok" => Ok(Answer::Ok),
            "miss" => Ok(Answer::Miss),
            "server" => Ok(Answer::Server),
            "reset" => Err(ErrorKind::Reset),
            "closed" => Err(ErrorKind::Closed),
            "connect" => Err(ErrorKind::Connect),
            other => {
                return Err(PyValueError::new_err(format!(
                    "answer {other:?}: expected ok, miss, server, reset, closed or connect"
                )))
            }
        };
        let mut bench = self.bench.try_lock().map_err(|_| PyRuntimeError::new_err("a worker is for one thread"))?;
        bench.finish(answer, bytes);
        Ok(())
    }
}

/// The places that a replay's lanes have left to be fetched.
pub fn fetch(way: &Way) -> Vec<Worker> {
    match way {
        Way::Workers { names, benches } => {
            let mut benches = benches.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            benches.drain(..).map(|bench| Worker { bench: Mutex::new(bench), names: names.clone() }).collect()
        }
        _ => Vec::new(),
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Request>()?;
    m.add_class::<Worker>()
}
