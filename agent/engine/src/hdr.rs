//! HdrHistogram V2 blobs: exact merge, quantiles, count. What the engine writes, and what other HDR tools write.

use hdrhistogram::serialization::Deserializer;
use hdrhistogram::Histogram;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::collector::encode;
use crate::tally::LONGEST_NS;

fn decode(bytes: &[u8]) -> Result<Histogram<u64>, String> {
    let histogram: Histogram<u64> = Deserializer::new()
        .deserialize(&mut std::io::Cursor::new(bytes))
        .map_err(|e| format!("not an HdrHistogram V2 of {} bytes: {e}", bytes.len()))?;
    Ok(histogram)
}

fn merge(parts: &[PyBackedBytes]) -> Result<Vec<u8>, String> {
    let mut whole: Histogram<u64> = Histogram::new_with_bounds(1, LONGEST_NS, 3).map_err(|e| e.to_string())?;
    whole.auto(true);
    for (i, part) in parts.iter().enumerate() {
        let part = decode(part).map_err(|e| format!("part {i}: {e}"))?;
        if part.sigfig() != 3 || part.low() != 1 {
            let (digits, low) = (part.sigfig(), part.low());
            return Err(format!("part {i}: {digits} digits from {low}; only 3 digits from 1 add up exactly"));
        }
        whole.add(part).map_err(|e| format!("part {i}: {e}"))?;
    }
    Ok(encode(&whole))
}

/// Adds histograms exactly.
#[pyfunction]
fn hdr_merge(py: Python<'_>, parts: Vec<PyBackedBytes>) -> PyResult<Py<PyBytes>> {
    let whole = py.allow_threads(|| merge(&parts)).map_err(PyValueError::new_err)?;
    Ok(PyBytes::new(py, &whole).unbind())
}

#[pyfunction]
fn hdr_quantiles(py: Python<'_>, hdr: PyBackedBytes, quantiles: Vec<f64>) -> PyResult<Vec<u64>> {
    if let Some(wrong) = quantiles.iter().find(|q| !(0.0..=1.0).contains(*q)) {
        return Err(PyValueError::new_err(format!("quantile {wrong}: expected 0 to 1")));
    }
    let histogram = py.allow_threads(|| decode(&hdr)).map_err(PyValueError::new_err)?;
    Ok(quantiles.iter().map(|q| histogram.value_at_quantile(*q)).collect())
}

#[pyfunction]
fn hdr_count(py: Python<'_>, hdr: PyBackedBytes) -> PyResult<u64> {
    let histogram = py.allow_threads(|| decode(&hdr)).map_err(PyValueError::new_err)?;
    Ok(histogram.len())
}

/// How many recorded values are at or below each bound.
#[pyfunction]
fn hdr_counts_below(py: Python<'_>, hdr: PyBackedBytes, bounds: Vec<u64>) -> PyResult<Vec<u64>> {
    let histogram = py.allow_threads(|| decode(&hdr)).map_err(PyValueError::new_err)?;
    Ok(bounds.iter().map(|b| histogram.count_between(0, *b)).collect())
}

#[pyfunction]
fn hdr_mean(py: Python<'_>, hdr: PyBackedBytes) -> PyResult<f64> {
    let histogram = py.allow_threads(|| decode(&hdr)).map_err(PyValueError::new_err)?;
    Ok(histogram.mean())
}

/// The largest difference of two cumulative distributions (Kolmogorov, Smirnov), values below `floor` taken as one.
fn ks(a: &Histogram<u64>, b: &Histogram<u64>, floor: u64) -> f64 {
    let (n, m) = (a.len() as f64, b.len() as f64);
    if n == 0.0 || m == 0.0 {
        return 0.0;
    }
    let steps = |h: &Histogram<u64>| -> Vec<(u64, u64)> {
        h.iter_recorded().map(|step| (step.value_iterated_to().max(floor), step.count_since_last_iteration())).collect()
    };
    let (a, b) = (steps(a), steps(b));
    let (mut i, mut j, mut below_a, mut below_b, mut worst) = (0, 0, 0u64, 0u64, 0f64);
    while i < a.len() || j < b.len() {
        let value = a.get(i).map_or(u64::MAX, |s| s.0).min(b.get(j).map_or(u64::MAX, |s| s.0));
        while a.get(i).is_some_and(|s| s.0 == value) {
            below_a += a[i].1;
            i += 1;
        }
        while b.get(j).is_some_and(|s| s.0 == value) {
            below_b += b[j].1;
            j += 1;
        }
        worst = worst.max((below_a as f64 / n - below_b as f64 / m).abs());
    }
    worst
}

#[pyfunction]
fn hdr_ks(py: Python<'_>, a: PyBackedBytes, b: PyBackedBytes, floor: u64) -> PyResult<f64> {
    py.allow_threads(|| Ok(ks(&decode(&a)?, &decode(&b)?, floor))).map_err(PyValueError::new_err::<String>)
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(hdr_merge, m)?)?;
    m.add_function(wrap_pyfunction!(hdr_quantiles, m)?)?;
    m.add_function(wrap_pyfunction!(hdr_count, m)?)?;
    m.add_function(wrap_pyfunction!(hdr_counts_below, m)?)?;
    m.add_function(wrap_pyfunction!(hdr_mean, m)?)?;
    m.add_function(wrap_pyfunction!(hdr_ks, m)?)
}
