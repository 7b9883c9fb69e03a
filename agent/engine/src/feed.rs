//! From an Arrow stream to compact rows: the feeder thread reads ahead by a few chunks, so memory does not grow with the trace.

use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int16Type, Int32Type, Int64Type, Int8Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchReader};
use arrow_schema::{DataType, SchemaRef};
use crossbeam_channel::Sender;

/// One request, as the engine needs it. Zero means "not given" for ttl and sizes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// Nanoseconds after T0.
    pub due_ns: i64,
    pub key_id: u64,
    pub req_bytes: u64,
    pub resp_bytes: u64,
    pub ttl_ms: u64,
    pub key_bytes: u32,
    /// Index of the target among all that this thread was told; NO_TARGET: none.
    pub target: u32,
    /// Index into the ops of the run.
    pub op: u16,
}

pub const NO_TARGET: u32 = u32::MAX;
/// A run splits its figures by op; more names than this share the last place.
pub const MOST_OPS: usize = 32;
const MOST_TARGETS: usize = 1 << 20;
/// Small enough that counting a chunk after a stop takes no time worth speaking of.
const ROWS_PER_CHUNK: usize = 16 * 1024;
/// Chunks read ahead for each engine thread.
pub const CHUNKS_AHEAD: usize = 4;

/// Rows for one engine thread, with the names that appear in them for the first time.
#[derive(Default)]
pub struct Chunk {
    pub rows: Vec<Row>,
    pub new_ops: Vec<Arc<str>>,
    pub new_targets: Vec<Arc<[u8]>>,
}

/// A stream that cannot be replayed: which column, which row, why.
pub type FeedError = String;

/// Where a text column's values come from.
enum Text<'a> {
    Plain(&'a arrow_array::StringArray),
    Large(&'a arrow_array::LargeStringArray),
    Dictionary { keys: Vec<Option<usize>>, values: &'a arrow_array::StringArray },
}

impl<'a> Text<'a> {
    fn of(name: &str, column: &'a ArrayRef) -> Result<Text<'a>, FeedError> {
        let wrong =
            || format!("column {name}: type {} cannot be read; expected text or a dictionary of text", column.data_type());
        match column.data_type() {
            DataType::Utf8 => Ok(Text::Plain(column.as_string::<i32>())),
            DataType::LargeUtf8 => Ok(Text::Large(column.as_string::<i64>())),
            DataType::Dictionary(_, value) if **value == DataType::Utf8 => {
                let any = column.as_any_dictionary();
                // normalized_keys() makes a whole vector: taken once, not per row.
                let keys =
                    any.normalized_keys().into_iter().enumerate().map(|(i, k)| (!column.is_null(i)).then_some(k)).collect();
                Ok(Text::Dictionary { keys, values: any.values().as_string::<i32>() })
            }
            _ => Err(wrong()),
        }
    }

    fn get(&self, i: usize) -> Option<&str> {
        match self {
            Text::Plain(a) => (!a.is_null(i)).then(|| a.value(i)),
            Text::Large(a) => (!a.is_null(i)).then(|| a.value(i)),
            Text::Dictionary { keys, values } => keys[i].map(|k| values.value(k)),
        }
    }
}

/// An integer column of any width, read as u64; nulls and negatives as zero ("not given").
fn integers(name: &str, batch: &RecordBatch) -> Result<Option<Vec<u64>>, FeedError> {
    let Some(column) = batch.column_by_name(name) else {
        return Ok(None);
    };
    let at = |i: usize, v: i64| if column.is_null(i) { 0 } else { v.max(0) as u64 };
    let n = column.len();
    let read = match column.data_type() {
        DataType::Int64 => (0..n).map(|i| at(i, column.as_primitive::<Int64Type>().value(i))).collect(),
        DataType::Int32 => (0..n).map(|i| at(i, column.as_primitive::<Int32Type>().value(i).into())).collect(),
        DataType::Int16 => (0..n).map(|i| at(i, column.as_primitive::<Int16Type>().value(i).into())).collect(),
        DataType::Int8 => (0..n).map(|i| at(i, column.as_primitive::<Int8Type>().value(i).into())).collect(),
        DataType::UInt32 => (0..n).map(|i| at(i, column.as_primitive::<UInt32Type>().value(i).into())).collect(),
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>();
            (0..n).map(|i| if column.is_null(i) { 0 } else { values.value(i) }).collect()
        }
        DataType::Null => vec![0; n],
        other => return Err(format!("column {name}: type {other} cannot be read; expected an integer")),
    };
    Ok(Some(read))
}

/// Names met so far, in order of their first row.
#[derive(Default)]
struct Names {
    known: std::collections::HashMap<Box<str>, usize>,
    all: Vec<Arc<str>>,
}

impl Names {
    fn index(&mut self, name: &str) -> usize {
        if let Some(&at) = self.known.get(name) {
            return at;
        }
        let at = self.all.len();
        self.known.insert(name.into(), at);
        self.all.push(name.into());
        at
    }
}

/// Reads a stream to its end and hands chunks to the threads. After a stop the threads take chunks only to count them.
pub struct Feeder {
    ops: Names,
    targets: Names,
    told_ops: Vec<usize>,
    told_targets: Vec<usize>,
    chunks: Vec<Chunk>,
    row: u64,
    last_ns: i64,
    /// Where others read the ops' names.
    published: Arc<Mutex<Vec<Arc<str>>>>,
}

impl Feeder {
    pub fn new(threads: usize, ops: &[String], published: Arc<Mutex<Vec<Arc<str>>>>) -> Self {
        let mut names = Names::default();
        for op in ops {
            names.index(op);
        }
        Feeder {
            ops: names,
            targets: Names::default(),
            told_ops: vec![0; threads],
            told_targets: vec![0; threads],
            chunks: (0..threads).map(|_| Chunk::default()).collect(),
            row: 0,
            last_ns: i64::MIN,
            published,
        }
    }

    /// Which columns the stream must have; checked before anything is sent.
    pub fn check(schema: &SchemaRef) -> Result<(), FeedError> {
        match schema.field_with_name("arrival_ns") {
            Ok(field) if *field.data_type() == DataType::Int64 => Ok(()),
            Ok(field) => Err(format!("column arrival_ns: type {}; expected int64 nanoseconds", field.data_type())),
            Err(_) => Err("column arrival_ns is missing; expected int64 nanoseconds from the start".into()),
        }
    }

    /// Runs to the end of the stream; the threads see the end when the senders are dropped.
    pub fn run(mut self, reader: &mut dyn RecordBatchReader, senders: &[Sender<Chunk>]) -> Result<(), FeedError> {
        for batch in reader {
            let batch = batch.map_err(|e| format!("row {}: the stream broke: {e}", self.row))?;
            self.batch(&batch, senders)?;
        }
        (0..senders.len()).try_for_each(|thread| self.hand_over(thread, senders))
    }

    fn batch(&mut self, batch: &RecordBatch, senders: &[Sender<Chunk>]) -> Result<(), FeedError> {
        Self::check(&batch.schema())?;
        let arrival = batch.column_by_name("arrival_ns").ok_or("column arrival_ns is missing")?;
        let due = arrival.as_primitive::<Int64Type>();
        let keys = integers("key_id", batch)?;
        let key_bytes = integers("key_bytes", batch)?;
        let req = integers("req_bytes", batch)?;
        let resp = integers("resp_bytes", batch)?;
        let ttl = integers("ttl_ms", batch)?;
        let ops = batch.column_by_name("op").map(|c| Text::of("op", c)).transpose()?;
        let all_null = |c: &&ArrayRef| c.data_type() == &DataType::Null || c.null_count() == c.len();
        let targets = batch.column_by_name("target").filter(|c| !all_null(c)).map(|c| Text::of("target", c)).transpose()?;
        let get = |column: &Option<Vec<u64>>, i: usize| column.as_ref().map_or(0, |c| c[i]);
        for i in 0..batch.num_rows() {
            if due.is_null(i) {
                return Err(format!("row {}: arrival_ns is null; every request needs its time", self.row));
            }
            let due_ns = due.value(i);
            if due_ns < self.last_ns {
                return Err(format!(
                    "row {}: arrival_ns {} lies before the row above it ({}); sort the trace by arrival_ns",
                    self.row, due_ns, self.last_ns
                ));
            }
            self.last_ns = due_ns;
            let op = self.ops.index(ops.as_ref().and_then(|o| o.get(i)).unwrap_or("request")).min(MOST_OPS - 1);
            let target = match targets.as_ref().and_then(|t| t.get(i)) {
                Some(text) => {
                    let at = self.targets.index(text);
                    if at >= MOST_TARGETS {
                        return Err(format!("row {}: over {MOST_TARGETS} different targets; map them to keys", self.row));
                    }
                    at as u32
                }
                None => NO_TARGET,
            };
            let key_id = get(&keys, i);
            let entity = if keys.is_some() { key_id } else { self.row };
            let thread = (mix(entity) % senders.len() as u64) as usize;
            self.chunks[thread].rows.push(Row {
                due_ns,
                key_id,
                req_bytes: get(&req, i),
                resp_bytes: get(&resp, i),
                ttl_ms: get(&ttl, i),
                key_bytes: get(&key_bytes, i) as u32,
                target,
                op: op as u16,
            });
            self.row += 1;
            if self.chunks[thread].rows.len() >= ROWS_PER_CHUNK {
                self.hand_over(thread, senders)?;
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, thread: usize, senders: &[Sender<Chunk>]) -> Result<(), FeedError> {
        let mut chunk = std::mem::take(&mut self.chunks[thread]);
        if chunk.rows.is_empty() {
            return Ok(());
        }
        chunk.new_ops = self.ops.all[self.told_ops[thread]..].to_vec();
        if !chunk.new_ops.is_empty() {
            if let Ok(mut names) = self.published.lock() {
                names.clone_from(&self.ops.all);
            }
        }
        self.told_ops[thread] = self.ops.all.len();
        chunk.new_targets = self.targets.all[self.told_targets[thread]..].iter().map(|t| t.as_bytes().into()).collect();
        self.told_targets[thread] = self.targets.all.len();
        senders[thread].send(chunk).map_err(|_| format!("row {}: an engine thread has died", self.row))
    }
}

/// SplitMix64's finaliser: spreads keys over threads without regard to their structure.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
