//! One server, one queue, first come first served over all connections: with Poisson arrivals an M/G/1 queue whose law is known.
//!
//! Between any two served requests, and while one is served, whatever has arrived is put into the queue in the order in which it
//! came. A service is a busy loop on the wall clock, so that it lasts what the law says however fast the machine is; reading and
//! writing come on top of it. They are not subtracted but measured: the truth of a run is the time that the server was seen busy.

use std::collections::VecDeque;
use std::io;

use crate::clock::now_ns;
use crate::sched;
use crate::server::{ask_for_short_slice, Mode};
use crate::service::Service;
use crate::stall::Stalls;

/// For `Intake::take`: as long as nothing comes.
pub const FOR_EVER: i32 = -1;
/// Beyond so many waiting requests nothing more is read: it waits in the kernel, and at last at the client.
pub const MOST_WAITING: usize = 1 << 20;

/// How often arrivals are looked for during a service: what comes on two connections within this time may change places.
const LOOK_EVERY_NS: i64 = 5_000;
/// The end of a service is left alone, so that no look makes it late.
const LEFT_ALONE_NS: i64 = 20_000;

/// A whole request that waits. Its bytes lie with its connection.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub client: usize,
    pub bytes: usize,
    pub told_ns: u64,
    /// When it was taken from the kernel.
    pub seen_ns: i64,
}

/// Where requests come from and answers go.
pub trait Intake {
    /// Puts what has arrived into the queue, in order; where nothing has, waits for it so many milliseconds. False: stop.
    fn take(&mut self, wait_ms: i32, queue: &mut VecDeque<Job>) -> io::Result<bool>;

    /// Whether nobody waits for the answer any more.
    fn is_gone(&self, job: &Job) -> bool;

    /// Answers the job, unless it is gone, and forgets it.
    fn finish(&mut self, job: Job);

    fn connections(&self) -> u64;
}

/// What was done, in nanoseconds. A job is busy from when it was seen and the server free until its answer was written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Truth {
    pub connections: u64,
    pub jobs: u64,
    pub busy: f64,
    pub busy_squared: f64,
    /// Sum of what the law drew, to tell what reading and writing cost.
    pub drawn: f64,
    /// CLOCK_MONOTONIC: the first job was seen, the last was answered; 0 without jobs.
    pub first_ns: i64,
    pub last_ns: i64,
}

impl Truth {
    fn add(&mut self, busy_ns: i64, drawn_ns: u64, done_ns: i64) {
        let busy = busy_ns as f64;
        self.jobs += 1;
        self.busy += busy;
        self.busy_squared += busy * busy;
        self.drawn += drawn_ns as f64;
        self.last_ns = done_ns;
    }
}

/// How a target is to serve.
pub struct Order {
    pub service: Service,
    pub stalls: Stalls,
    pub mode: Mode,
    pub core: Option<usize>,
}

/// Serves on the calling thread, pinned as ordered, until the intake is told to stop; what still waits then is not served.
pub fn serve(mut intake: impl Intake, order: Order) -> io::Result<Truth> {
    if let Some(core) = order.core {
        sched::pin(core)?;
    }
    if order.mode == Mode::Block {
        // A refusal leaves the slice that everybody has.
        ask_for_short_slice();
    }
    run(&mut intake, order.service, &order.stalls, order.mode)
}

fn run(intake: &mut impl Intake, mut service: Service, stalls: &Stalls, mode: Mode) -> io::Result<Truth> {
    let idle = if mode == Mode::Spin { 0 } else { FOR_EVER };
    let mut queue = VecDeque::with_capacity(4096);
    let mut truth = Truth::default();
    let mut free_ns = 0;
    let mut wait_ms = idle;
    while intake.take(wait_ms, &mut queue)? {
        let Some(job) = queue.front().copied() else {
            wait_ms = idle;
            continue;
        };
        wait_ms = 0;
        if truth.first_ns == 0 {
            truth.first_ns = job.seen_ns;
        }
        let now = now_ns();
        if let Some(ends) = stalls.ends(now - truth.first_ns) {
            free_ns = truth.first_ns.saturating_add(ends);
            // Rounded down: what is left of a millisecond is spun, because a sleep would end late.
            let left_ms = i32::try_from((free_ns - now) / 1_000_000).unwrap_or(i32::MAX);
            wait_ms = if mode == Mode::Spin { 0 } else { left_ms };
            continue;
        }
        queue.pop_front();
        if intake.is_gone(&job) {
            intake.finish(job);
            continue;
        }
        let drawn_ns = service.next_ns(job.told_ns);
        if !spin(intake, &mut queue, now.saturating_add_unsigned(drawn_ns))? {
            break;
        }
        intake.finish(job);
        let done = now_ns();
        truth.add(done - job.seen_ns.max(free_ns), drawn_ns, done);
        free_ns = done;
    }
    truth.connections = intake.connections();
    Ok(truth)
}

/// The service: busy until the end, with looks for arrivals so that they queue in order. False: stop.
fn spin(intake: &mut impl Intake, queue: &mut VecDeque<Job>, until_ns: i64) -> io::Result<bool> {
    let mut look_ns = 0;
    loop {
        let now = now_ns();
        if now >= until_ns {
            return Ok(true);
        }
        if now >= look_ns && until_ns - now > LEFT_ALONE_NS {
            if !intake.take(0, queue)? {
                return Ok(false);
            }
            look_ns = now_ns() + LOOK_EVERY_NS;
        }
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Law;

    /// Gives the jobs of a script once their time has come, then says stop.
    struct Script {
        jobs: VecDeque<Job>,
        done: Vec<(usize, i64)>,
        all: usize,
    }

    impl Script {
        fn new(count: usize, apart_ns: i64) -> Self {
            let begin = now_ns();
            let jobs =
                (0..count).map(|i| Job { client: i, bytes: 1, told_ns: 0, seen_ns: begin + i as i64 * apart_ns }).collect();
            Script { jobs, done: Vec::new(), all: count }
        }
    }

    impl Intake for Script {
        fn take(&mut self, _wait_ms: i32, queue: &mut VecDeque<Job>) -> io::Result<bool> {
            while self.jobs.front().is_some_and(|j| j.seen_ns <= now_ns()) {
                queue.extend(self.jobs.pop_front());
            }
            Ok(self.done.len() < self.all)
        }
        fn is_gone(&self, job: &Job) -> bool {
            job.client == 2
        }
        fn finish(&mut self, job: Job) {
            self.done.push((job.client, now_ns()));
        }
        fn connections(&self) -> u64 {
            1
        }
    }

    #[test]
    fn jobs_are_served_in_order_for_their_time_and_the_gone_are_passed_over() {
        let mut script = Script::new(10, 100_000);
        let truth = run(&mut script, Service::new(Law::Constant(200e3), 0), &Stalls::new(&[]), Mode::Spin).unwrap();
        assert_eq!(script.done.iter().map(|(client, _)| *client).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert_eq!(truth.jobs, 9);
        assert_eq!(truth.drawn, 9.0 * 200e3);
        assert!(truth.busy >= truth.drawn, "{truth:?}");
        assert!(truth.busy_squared >= 9.0 * 200e3 * 200e3, "{truth:?}");
        assert!(truth.last_ns - truth.first_ns >= 9 * 200_000);
    }

    #[test]
    fn nothing_is_served_in_a_stall_and_the_stall_is_not_busy() {
        let mut script = Script::new(4, 1_000_000);
        let stalls = Stalls::new(&[(500_000, 30_000_000)]);
        let truth = run(&mut script, Service::new(Law::Constant(0.0), 0), &stalls, Mode::Spin).unwrap();
        let after = |i: usize| script.done[i].1 - truth.first_ns;
        assert!(after(1) >= 30_500_000 && after(3) >= 30_500_000, "{:?}", script.done);
        assert!(truth.busy < 20e6, "{truth:?}");
    }
}
