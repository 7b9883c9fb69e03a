//! Memory: paced streams through the bus, touches of a working set (cache lines, or pages for the TLB), page faults, and memory held.

use std::hint::black_box;
use std::io;
use std::ptr;

use super::{checked, Page, Work, LOOK_EVERY};
use crate::asked_to_stop;

const CHUNK_BYTES: usize = 64 * 1024;
const LINE_BYTES: usize = 64;
const SMALL_PAGE: usize = 4096;
const FAULT_REGION: usize = 16 << 20;
const HOLD_STEP: usize = 4 << 20;
const HUGE: usize = 2 << 20;

/// Anonymous memory of our own; its pages come with the first touch.
pub(crate) struct Region {
    at: *mut u8,
    bytes: usize,
    mapped: (*mut libc::c_void, usize),
}

// SAFETY: the mapping belongs to whoever owns the Region, and is not shared.
unsafe impl Send for Region {}

impl Region {
    /// `huge`: of huge pages where there are any (aligned for them); else of small pages, whatever the machine prefers.
    pub(crate) fn new(bytes: usize, huge: bool) -> io::Result<Self> {
        let whole = bytes.max(1).next_multiple_of(SMALL_PAGE);
        let length = whole + if huge { HUGE } else { 0 };
        // SAFETY: a new anonymous mapping; checked before use.
        let mapped = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let skip = if huge { (mapped as usize).next_multiple_of(HUGE) - mapped as usize } else { 0 };
        // SAFETY: advice on our own mapping; a kernel without huge pages refuses it, which changes nothing. `skip` lies within it.
        let at = unsafe {
            libc::madvise(mapped, length, if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE });
            mapped.cast::<u8>().add(skip)
        };
        Ok(Region { at, bytes: whole, mapped: (mapped, length) })
    }

    pub(crate) fn touch_all(&mut self) {
        for at in (0..self.bytes).step_by(SMALL_PAGE) {
            // SAFETY: within the mapping.
            unsafe { self.at.add(at).write_volatile(1) };
        }
    }

    fn forget(&self, from: usize, bytes: usize) -> io::Result<()> {
        // SAFETY: a range of our own mapping, which then reads as zeros.
        checked(unsafe { libc::madvise(self.at.add(from).cast(), bytes, libc::MADV_DONTNEED) }.into()).map(drop)
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the whole mapping, ours alone, zeroed by the kernel.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.bytes) }
    }
}

impl Region {
    /// The same as words of the machine; the kernel's zeros.
    pub(crate) fn as_mut_words(&mut self) -> &mut [usize] {
        // SAFETY: page aligned, the whole mapping, ours alone.
        unsafe { std::slice::from_raw_parts_mut(self.at.cast(), self.bytes / std::mem::size_of::<usize>()) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; no reference outlives the owner.
        unsafe { libc::munmap(self.mapped.0, self.mapped.1) };
    }
}

/// Streams through a buffer larger than the caches, reads and writes in turn. A unit is a byte.
pub struct Streams {
    buffer: Vec<u64>,
    chunk: usize,
    value: u64,
}

impl Streams {
    pub fn new(buffer_bytes: usize) -> Self {
        Streams { buffer: vec![1; buffer_bytes.max(4 * CHUNK_BYTES) / 8], chunk: 0, value: 0 }
    }
}

impl Work for Streams {
    fn quantum(&self) -> u64 {
        CHUNK_BYTES as u64
    }

    fn most(&self) -> u64 {
        16 * CHUNK_BYTES as u64
    }

    fn step(&mut self, units: u64) -> io::Result<u64> {
        let words = CHUNK_BYTES / 8;
        let chunks = self.buffer.len() / words;
        let count = units / CHUNK_BYTES as u64;
        for _ in 0..count {
            let from = (self.chunk % chunks) * words;
            let part = &mut self.buffer[from..from + words];
            if self.chunk % 2 == 0 {
                self.value = part.iter().fold(self.value, |sum, w| sum.wrapping_add(*w));
                black_box(self.value);
            } else {
                write_past_cache(part, self.value);
            }
            self.chunk += 1;
        }
        Ok(count * CHUNK_BYTES as u64)
    }
}

/// Stores that go to memory without filling the cache first, where the machine has them.
#[cfg(target_arch = "x86_64")]
fn write_past_cache(part: &mut [u64], value: u64) {
    use std::arch::x86_64::{_mm_sfence, _mm_stream_si64};
    for word in part.iter_mut() {
        // SAFETY: SSE2 is part of x86_64; the reference is valid and aligned for 8 bytes.
        unsafe { _mm_stream_si64((word as *mut u64).cast(), value as i64) };
    }
    // SAFETY: as above; orders the streamed stores before anything that follows.
    unsafe { _mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
fn write_past_cache(part: &mut [u64], value: u64) {
    part.fill(value);
}

/// Touches each line (or one line of each page) of a working set, again and again, in an order that prefetchers do not follow. A unit is a
/// touch.
pub struct Touches {
    region: Region,
    places: usize,
    stride: usize,
    at: usize,
    pages: bool,
}

impl Touches {
    /// Of cache lines: what they hold is cache.
    pub fn lines(set_bytes: usize) -> io::Result<Self> {
        Touches::new(set_bytes, LINE_BYTES, true)
    }

    /// Of small pages, one line each: what they hold is translations.
    pub fn pages(set_bytes: usize) -> io::Result<Self> {
        Touches::new(set_bytes, SMALL_PAGE, false)
    }

    fn new(set_bytes: usize, each: usize, huge: bool) -> io::Result<Self> {
        let mut region = Region::new(set_bytes, huge)?;
        region.touch_all();
        let places = (set_bytes / each).max(1);
        Ok(Touches { region, places, stride: spread(places), at: 0, pages: !huge })
    }
}

/// A stride near the golden section of `places` with no factor in common with it: it visits every place once before any again.
fn spread(places: usize) -> usize {
    let common = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let wanted = (places as f64 * 0.618_033_988_75) as usize;
    (wanted.max(1)..).find(|s| common(*s, places) == 1).unwrap_or(1) % places.max(2)
}

impl Work for Touches {
    fn most(&self) -> u64 {
        20_000
    }

    fn step(&mut self, units: u64) -> io::Result<u64> {
        let mut sum = 0u64;
        for _ in 0..units {
            self.at += self.stride;
            if self.at >= self.places {
                self.at -= self.places;
            }
            // Pages are touched in different lines each, so that they do not fall into one set of the cache.
            let offset = if self.pages { self.at * SMALL_PAGE + (self.at * 7 % 64) * LINE_BYTES } else { self.at * LINE_BYTES };
            // SAFETY: `at` is below `places`, which fit the region.
            sum = sum.wrapping_add(unsafe { self.region.at.add(offset).cast::<u64>().read_volatile() });
        }
        black_box(sum);
        Ok(units)
    }
}

/// Minor faults: pages touched for the first time, and given back once all are. A unit is a fault.
pub struct Faults {
    region: Region,
    page: usize,
}

impl Faults {
    pub fn new() -> io::Result<Self> {
        Ok(Faults { region: Region::new(FAULT_REGION, false)?, page: 0 })
    }
}

impl Work for Faults {
    fn most(&self) -> u64 {
        512
    }

    fn step(&mut self, units: u64) -> io::Result<u64> {
        for _ in 0..units {
            if self.page == FAULT_REGION / SMALL_PAGE {
                self.region.forget(0, FAULT_REGION)?;
                self.page = 0;
            }
            // SAFETY: below the region's length.
            unsafe { self.region.at.add(self.page * SMALL_PAGE).write_volatile(1) };
            self.page += 1;
        }
        Ok(units)
    }
}

/// Holds memory until asked to stop: as many bytes as the page's rate says, `most` at most, growing by `grow_per_s` (0: at once).
pub fn hold(page: &Page, most: usize, grow_per_s: f64, stop_fd: i32) -> io::Result<()> {
    let region = Region::new(most, false)?;
    let mut held = 0usize;
    let mut allowed = 0.0f64;
    let mut looked = std::time::Instant::now();
    page.say_ready();
    while !asked_to_stop(stop_fd) {
        let wanted = (page.rate().min(most as f64) as usize) & !(SMALL_PAGE - 1);
        allowed += looked.elapsed().as_secs_f64() * grow_per_s;
        looked = std::time::Instant::now();
        let until = if grow_per_s > 0.0 { wanted.min(allowed as usize & !(SMALL_PAGE - 1)) } else { wanted };
        if until < held {
            region.forget(until, held - until)?;
            held = until;
        }
        while held < until {
            let next = until.min(held + HOLD_STEP);
            for at in (held..next).step_by(SMALL_PAGE) {
                // SAFETY: below `most`, the region's length. The value differs by page, so that nothing merges equal pages.
                unsafe { region.at.add(at).cast::<u64>().write_volatile(at as u64 + 1) };
            }
            held = next;
            page.holds(held as u64);
            if asked_to_stop(stop_fd) {
                return Ok(());
            }
        }
        page.holds(held as u64);
        allowed = allowed.min(wanted as f64);
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_visits_every_place_once() {
        for places in [1usize, 2, 3, 10, 4096, 24_577, 49_152] {
            let stride = spread(places);
            let mut seen = vec![false; places];
            let mut at = 0;
            for _ in 0..places {
                at = (at + stride) % places;
                assert!(!std::mem::replace(&mut seen[at], true), "{places} by {stride}");
            }
        }
    }

    #[test]
    fn each_kind_does_what_it_counts() {
        assert_eq!(Streams::new(1 << 20).step(3 * CHUNK_BYTES as u64 + 5).unwrap(), 3 * CHUNK_BYTES as u64);
        assert_eq!(Touches::lines(100 * LINE_BYTES).unwrap().step(1000).unwrap(), 1000);
        assert_eq!(Touches::pages(100 * SMALL_PAGE).unwrap().step(1000).unwrap(), 1000);
        let mut faults = Faults::new().unwrap();
        for _ in 0..20 {
            assert_eq!(faults.step(512).unwrap(), 512);
        }
    }
}
