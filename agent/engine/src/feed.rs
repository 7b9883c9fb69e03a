//! From an Arrow stream to compact rows: the feeder thread reads ahead by a few chunks, so memory does not grow with the trace.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch, RecordBatchReader};
use arrow_schema::{DataType, Schema};
use crossbeam_channel::{bounded, Receiver, Sender, TrySendError};

use crate::columns::{integers, lists, text, FeedError, Text};
use crate::driver::Reads;

/// One request, as the engine needs it. Zero means "not given" for ttl and sizes.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Nanoseconds after T0.
    pub due_ns: i64,
    /// Place in the stream.
    pub number: u64,
    pub key_id: u64,
    pub resp_bytes: u64,
    pub ttl_ms: u64,
    /// Place on a block device.
    pub offset: u64,
    pub target: Option<Arc<[u8]>>,
    pub llm: Option<Box<Llm>>,
    pub req_bytes: u32,
    pub key_bytes: u32,
    /// Requests of one session keep to one lane, in order; 0: of none.
    pub session: u32,
    /// Index into the names of the ops as they were met.
    pub op: u16,
    /// Index into the names by which figures are split.
    pub slot: u16,
}

/// What only inferences have.
#[derive(Clone, Debug, Default)]
pub struct Llm {
    pub prompt_tokens: u32,
    pub output_tokens: u32,
    pub prefix_hashes: Box<[u64]>,
}

/// Figures are split by this many ops at most; the rest share the last place.
const MOST_SLOTS: usize = 64;
/// The name of that last place.
const OTHER: &str = "other";
/// What a request of a stream without ops is called.
const UNNAMED: &str = "request";
/// Redis takes no larger value, and a request must fit in memory.
const MOST_REQUEST_BYTES: u64 = 512 << 20;
const MOST_KEY_BYTES: u64 = 1 << 20;
/// A prompt must fit in memory; ten million tokens are ten times the longest context there is.
const MOST_TOKENS: u64 = 10_000_000;
const ROWS_PER_CHUNK: usize = 4096;
/// Chunks read ahead for each engine thread: 128 Ki rows, 160 ms at 800 k/s.
const CHUNKS_AHEAD: usize = 32;
/// Targets are shared between rows while the table of known ones is smaller than this; then it is begun anew.
const MOST_KNOWN_TARGETS: usize = 1 << 16;

/// Rows for one engine thread, with the names of ops that it has not been told yet.
#[derive(Default)]
pub struct Chunk {
    pub rows: Vec<Row>,
    pub new_ops: Vec<Arc<str>>,
}

/// The engine thread's end: chunks come, their emptied memory goes back.
pub struct Feed {
    pub chunks: Receiver<Chunk>,
    pub used: Sender<Vec<Row>>,
    /// Rows that are not in the channel yet are due no earlier than this.
    pub floor_ns: Arc<AtomicI64>,
}

/// The feeder's end of one thread.
struct Lane {
    chunks: Sender<Chunk>,
    used: Receiver<Vec<Row>>,
    rows: Vec<Row>,
    told_ops: usize,
    floor_ns: Arc<AtomicI64>,
}

/// Names by which figures are split, for whoever reports them.
pub type SlotNames = Arc<Mutex<Vec<Arc<str>>>>;

/// Op names: as the wire needs them, and as the figures are split.
struct Ops {
    known: HashMap<Box<str>, (u16, u16)>,
    names: Vec<Arc<str>>,
    slots: Vec<Arc<str>>,
    /// The caller gave the names to split by; others share one place.
    given: bool,
    published: SlotNames,
}

impl Ops {
    fn new(given: &[String], published: SlotNames) -> Self {
        let slots = given.iter().take(MOST_SLOTS - 1).map(|name| name.as_str().into()).collect();
        Ops { known: HashMap::new(), names: Vec::new(), slots, given: !given.is_empty(), published }
    }

    fn slot(&mut self, name: &str) -> u16 {
        if let Some(at) = self.slots.iter().position(|s| &**s == name) {
            return at as u16;
        }
        let own = !self.given && self.slots.len() < MOST_SLOTS - 1;
        let name = if own { name } else { OTHER };
        let at = self.slots.iter().position(|s| &**s == name).unwrap_or_else(|| {
            self.slots.push(name.into());
            self.slots.len() - 1
        });
        at as u16
    }

    /// Number and figures' place of a name.
    fn index(&mut self, name: &str) -> Option<(u16, u16)> {
        if let Some(&both) = self.known.get(name) {
            return Some(both);
        }
        let both = (u16::try_from(self.names.len()).ok()?, self.slot(name));
        self.known.insert(name.into(), both);
        self.names.push(name.into());
        self.published.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone_from(&self.slots);
        Some(both)
    }
}

/// Reads a stream to its end and hands chunks to the threads. After a stop the threads take chunks only to count them.
pub struct Feeder {
    lanes: Vec<Lane>,
    ops: Ops,
    reads: Reads,
    targets: HashMap<Box<str>, Arc<[u8]>>,
    row: u64,
    last_ns: i64,
}

/// The ops of one batch: those of a dictionary are looked up once each.
struct OpColumn<'a> {
    column: Option<Text<'a>>,
    by_key: Vec<Option<(u16, u16)>>,
    last: Option<(&'a str, (u16, u16))>,
}

impl<'a> OpColumn<'a> {
    fn new(column: Option<Text<'a>>) -> Self {
        OpColumn { column, by_key: Vec::new(), last: None }
    }

    /// The op of a row; None: there are too many different ones.
    fn of(&mut self, row: usize, ops: &mut Ops) -> Option<(u16, u16)> {
        let Some(column) = &self.column else {
            return self.named(UNNAMED, ops);
        };
        let Some(key) = column.key(row) else {
            let name = column.get(row).unwrap_or(UNNAMED);
            return self.named(name, ops);
        };
        if let Some(Some(known)) = self.by_key.get(key) {
            return Some(*known);
        }
        let found = ops.index(column.get(row).unwrap_or(UNNAMED))?;
        if self.by_key.len() <= key {
            self.by_key.resize(key + 1, None);
        }
        self.by_key[key] = Some(found);
        Some(found)
    }

    fn named(&mut self, name: &'a str, ops: &mut Ops) -> Option<(u16, u16)> {
        if let Some((_, known)) = self.last.filter(|(last, _)| *last == name) {
            return Some(known);
        }
        let found = ops.index(name)?;
        self.last = Some((name, found));
        Some(found)
    }
}

impl Feeder {
    /// `ops`: names by which figures are split; empty: as met.
    pub fn new(threads: usize, ops: &[String], published: SlotNames, reads: Reads) -> (Self, Vec<Feed>) {
        let lane = |_| {
            let (chunks, come) = bounded(CHUNKS_AHEAD);
            let (used, back) = bounded(CHUNKS_AHEAD);
            let floor_ns = Arc::new(AtomicI64::new(i64::MIN));
            let rows = Vec::with_capacity(ROWS_PER_CHUNK);
            let feed = Feed { chunks: come, used, floor_ns: floor_ns.clone() };
            (Lane { chunks, used: back, rows, told_ops: 0, floor_ns }, feed)
        };
        let (lanes, feeds) = (0..threads).map(lane).unzip();
        (Feeder { lanes, ops: Ops::new(ops, published), reads, targets: HashMap::new(), row: 0, last_ns: i64::MIN }, feeds)
    }

    /// Which columns the stream must have; checked before anything is sent.
    pub fn check(schema: &Schema) -> Result<(), FeedError> {
        match schema.field_with_name("arrival_ns") {
            Ok(field) if *field.data_type() == DataType::Int64 => Ok(()),
            Ok(field) => Err(format!("column arrival_ns: type {}; expected int64 nanoseconds", field.data_type())),
            Err(_) => Err("column arrival_ns is missing; expected int64 nanoseconds from the start".into()),
        }
    }

    /// Runs to the end of the stream; the threads see the end when the feeder is dropped.
    pub fn run(mut self, reader: &mut dyn RecordBatchReader) -> Result<(), FeedError> {
        for batch in reader {
            let batch = batch.map_err(|e| format!("row {}: the stream broke: {e}", self.row))?;
            self.batch(&batch)?;
            // Whoever has run dry gets what there is: a full chunk may be far away.
            for lane in 0..self.lanes.len() {
                if self.lanes[lane].chunks.is_empty() {
                    self.offer(lane)?;
                }
            }
            self.tell_floors();
        }
        (0..self.lanes.len()).try_for_each(|lane| self.hand_over(lane))
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), FeedError> {
        Self::check(&batch.schema())?;
        let arrival = batch.column_by_name("arrival_ns").ok_or("column arrival_ns is missing")?;
        let due = arrival.as_primitive::<Int64Type>();
        let keys = integers("key_id", batch)?;
        let key_bytes = integers("key_bytes", batch)?;
        let req = integers("req_bytes", batch)?;
        let resp = integers("resp_bytes", batch)?;
        let ttl = integers("ttl_ms", batch)?;
        let offset = integers("offset_bytes", batch)?;
        let sessions = integers("session_id", batch)?;
        let mut ops = OpColumn::new(text("op", batch)?);
        let targets = if self.reads.targets { text("target", batch)? } else { None };
        let inferences = if self.reads.tokens { Some(Inferences::of(batch)?) } else { None };
        let lanes = self.lanes.len() as u64;
        for i in 0..batch.num_rows() {
            if due.is_null(i) {
                return Err(format!("column arrival_ns: row {} is null; every request needs its time", self.row));
            }
            let due_ns = due.value(i);
            if due_ns < self.last_ns {
                return Err(format!(
                    "column arrival_ns: row {} ({due_ns}) lies before the row above it ({}); sort the trace by arrival_ns",
                    self.row, self.last_ns
                ));
            }
            self.last_ns = due_ns;
            let (op, slot) = ops
                .of(i, &mut self.ops)
                .ok_or_else(|| format!("column op: row {}: over {} different ops; map them to fewer", self.row, u16::MAX))?;
            let most = |name: &str, value: u64, most: u64| {
                let over =
                    || format!("column {name}: row {}: {value} bytes, at most {most} can be sent; cap the sizes", self.row);
                if value <= most {
                    Ok(value as u32)
                } else {
                    Err(over())
                }
            };
            let session = sessions.get(i);
            let row = Row {
                due_ns,
                number: self.row,
                key_id: keys.or_zero(i),
                resp_bytes: resp.or_zero(i),
                ttl_ms: ttl.or_zero(i),
                offset: offset.or_zero(i),
                target: None,
                llm: inferences.as_ref().map(|columns| Box::new(columns.at(i))),
                req_bytes: most("req_bytes", req.or_zero(i), MOST_REQUEST_BYTES)?,
                key_bytes: most("key_bytes", key_bytes.or_zero(i), MOST_KEY_BYTES)?,
                session: session.map_or(0, |id| (mix(id) as u32).max(1)),
                op,
                slot,
            };
            let target = targets.as_ref().and_then(|t| t.get(i)).map(|t| self.shared(t));
            // Requests of one session, else of one key, share a thread; those without either are spread.
            let lane = match lanes {
                1 => 0,
                _ => (mix(session.or_else(|| keys.get(i)).unwrap_or(self.row)) % lanes) as usize,
            };
            self.lanes[lane].rows.push(Row { target, ..row });
            self.row += 1;
            if self.lanes[lane].rows.len() >= ROWS_PER_CHUNK {
                self.hand_over(lane)?;
            }
        }
        Ok(())
    }

    fn shared(&mut self, target: &str) -> Arc<[u8]> {
        let known = &mut self.targets;
        if let Some(shared) = known.get(target) {
            return shared.clone();
        }
        if known.len() >= MOST_KNOWN_TARGETS {
            known.clear();
        }
        let shared: Arc<[u8]> = target.as_bytes().into();
        known.insert(target.into(), shared.clone());
        shared
    }

    fn chunk(&mut self, lane: usize) -> Chunk {
        let lane = &mut self.lanes[lane];
        let mut fresh = lane.used.try_recv().unwrap_or_else(|_| Vec::with_capacity(ROWS_PER_CHUNK));
        fresh.clear();
        let new_ops = self.ops.names[lane.told_ops..].to_vec();
        lane.told_ops = self.ops.names.len();
        Chunk { rows: std::mem::replace(&mut lane.rows, fresh), new_ops }
    }

    /// Says up to where each lane has been given all there is, so that a thread without rows does not hold up the figures.
    fn tell_floors(&self) {
        for lane in &self.lanes {
            let floor = lane.rows.first().map_or(self.last_ns, |row| row.due_ns);
            lane.floor_ns.store(floor, Ordering::Release);
        }
    }

    fn gone(&self) -> FeedError {
        format!("row {}: an engine thread has died; report a bug", self.row)
    }

    /// Hands over what a lane has, if there is room.
    fn offer(&mut self, lane: usize) -> Result<(), FeedError> {
        if self.lanes[lane].rows.is_empty() || self.lanes[lane].chunks.is_full() {
            return Ok(());
        }
        let chunk = self.chunk(lane);
        // Nobody else sends, so there is still room.
        self.lanes[lane].chunks.try_send(chunk).map_err(|_| self.gone())
    }

    /// Hands over what a lane has, and waits for room if need be.
    fn hand_over(&mut self, lane: usize) -> Result<(), FeedError> {
        if self.lanes[lane].rows.is_empty() {
            return Ok(());
        }
        let chunk = self.chunk(lane);
        match self.lanes[lane].chunks.try_send(chunk) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(_)) => Err(self.gone()),
            Err(TrySendError::Full(chunk)) => {
                // While this one has plenty, the others must not starve for rows that lie here.
                (0..self.lanes.len()).filter(|other| *other != lane).try_for_each(|other| self.offer(other))?;
                self.tell_floors();
                self.lanes[lane].chunks.send(chunk).map_err(|_| self.gone())
            }
        }
    }
}

/// The columns of inferences in one batch.
struct Inferences<'a> {
    prompt: crate::columns::Integers<'a>,
    output: crate::columns::Integers<'a>,
    prefixes: Option<crate::columns::Lists<'a>>,
}

impl<'a> Inferences<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, FeedError> {
        Ok(Inferences {
            prompt: integers("prompt_tokens", batch)?,
            output: integers("output_tokens", batch)?,
            prefixes: lists("prefix_hashes", batch)?,
        })
    }

    fn at(&self, row: usize) -> Llm {
        let tokens = |n: u64| n.min(MOST_TOKENS) as u32;
        Llm {
            prompt_tokens: tokens(self.prompt.or_zero(row)),
            output_tokens: tokens(self.output.or_zero(row)),
            prefix_hashes: self.prefixes.as_ref().map(|lists| lists.get(row)).unwrap_or_default(),
        }
    }
}

/// SplitMix64's finaliser: spreads keys over threads without regard to their structure.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
