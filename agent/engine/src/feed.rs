//! From an Arrow stream to compact rows: the feeder thread reads ahead by a few chunks, so memory does not grow with the trace.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch, RecordBatchReader};
use arrow_schema::{DataType, Schema};
use crossbeam_channel::{bounded, Receiver, Sender, TrySendError};

use crate::columns::{integers, text, FeedError};

/// One request, as the engine needs it. Zero means "not given" for ttl and sizes.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Nanoseconds after T0.
    pub due_ns: i64,
    pub key_id: u64,
    pub req_bytes: u64,
    pub resp_bytes: u64,
    pub ttl_ms: u64,
    pub target: Option<Arc<[u8]>>,
    pub key_bytes: u32,
    /// Index into the names of the ops as they were met.
    pub op: u16,
    /// Index into the names by which figures are split.
    pub slot: u16,
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
    /// None: the driver has no use for targets.
    targets: Option<HashMap<Box<str>, Arc<[u8]>>>,
    row: u64,
    last_ns: i64,
}

impl Feeder {
    /// `ops`: names by which figures are split; empty: as met.
    pub fn new(threads: usize, ops: &[String], published: SlotNames, with_targets: bool) -> (Self, Vec<Feed>) {
        let lane = |_| {
            let (chunks, come) = bounded(CHUNKS_AHEAD);
            let (used, back) = bounded(CHUNKS_AHEAD);
            let floor_ns = Arc::new(AtomicI64::new(i64::MIN));
            let rows = Vec::with_capacity(ROWS_PER_CHUNK);
            let feed = Feed { chunks: come, used, floor_ns: floor_ns.clone() };
            (Lane { chunks, used: back, rows, told_ops: 0, floor_ns }, feed)
        };
        let (lanes, feeds) = (0..threads).map(lane).unzip();
        let targets = with_targets.then(HashMap::new);
        (Feeder { lanes, ops: Ops::new(ops, published), targets, row: 0, last_ns: i64::MIN }, feeds)
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
        let ops = text("op", batch)?;
        let targets = if self.targets.is_some() { text("target", batch)? } else { None };
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
            let name = ops.as_ref().and_then(|o| o.get(i)).unwrap_or(UNNAMED);
            let (op, slot) = self
                .ops
                .index(name)
                .ok_or_else(|| format!("column op: row {}: over {} different ops; map them to fewer", self.row, u16::MAX))?;
            let most = |name: &str, value: u64, most: u64| {
                let over =
                    || format!("column {name}: row {}: {value} bytes, at most {most} can be sent; cap the sizes", self.row);
                (value <= most).then_some(value).ok_or_else(over)
            };
            let row = Row {
                due_ns,
                key_id: keys.or_zero(i),
                req_bytes: most("req_bytes", req.or_zero(i), MOST_REQUEST_BYTES)?,
                resp_bytes: resp.or_zero(i),
                ttl_ms: ttl.or_zero(i),
                target: None,
                key_bytes: most("key_bytes", key_bytes.or_zero(i), MOST_KEY_BYTES)? as u32,
                op,
                slot,
            };
            let target = targets.as_ref().and_then(|t| t.get(i)).map(|t| self.shared(t));
            // Requests of one key share a thread; those without a key are spread.
            let lane = (mix(keys.get(i).unwrap_or(self.row)) % self.lanes.len() as u64) as usize;
            self.lanes[lane].rows.push(Row { target, ..row });
            self.row += 1;
            if self.lanes[lane].rows.len() >= ROWS_PER_CHUNK {
                self.hand_over(lane)?;
            }
        }
        Ok(())
    }

    fn shared(&mut self, target: &str) -> Arc<[u8]> {
        let known = self.targets.get_or_insert_with(HashMap::new);
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

/// SplitMix64's finaliser: spreads keys over threads without regard to their structure.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
