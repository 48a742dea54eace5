//! `idle`: what open connections cost in memory.

use std::time::Duration;

use anyhow::Result;
use mio::Poll;
use serde::Serialize;

use crate::{
    conn::{open_all, Plan},
    message::Messages,
    process::{now_ns, tree, Memory},
    reply::Window,
    report::{Errors, Percentiles},
    worker::Worker,
};

/// How to go about it.
pub struct Idle {
    pub plan: Plan,
    pub messages: Messages,
    pub connections: u32,
    pub hold: Duration,
    /// Connections that are tried at the end; the others were not forgotten, only left alone.
    pub sample: usize,
    pub pid: Option<i32>,
}

#[derive(Serialize)]
pub struct Report {
    mode: &'static str,
    connections: u64,
    open_seconds: f64,
    open_latency_us: Percentiles,
    /// KiB before anything was opened.
    before_kib: Memory,
    /// KiB per connection: after the handshakes, after one message was echoed on each, and at the
    /// end of the hold. Kernel memory is the whole machine's, so it includes the client's end of
    /// each connection.
    opened: PerConnection,
    echoed: PerConnection,
    held: PerConnection,
    /// KiB over the start after everything was closed again.
    closed_kib: Memory,
    alive: u64,
    sample_ok: u64,
    unanswered: u64,
    errors: Errors,
    pub error_count: u64,
}

#[derive(Serialize)]
struct PerConnection {
    rss: f64,
    pss: f64,
    anonymous: f64,
    threads: f64,
    kernel_stack: f64,
    page_tables: f64,
    slab: f64,
    tcp: f64,
}

impl PerConnection {
    fn new(memory: Memory, connections: u64) -> Self {
        let per = |kib: i64| kib as f64 / connections.max(1) as f64;
        Self {
            rss: per(memory.rss),
            pss: per(memory.pss),
            anonymous: per(memory.anonymous),
            threads: per(memory.threads),
            kernel_stack: per(memory.kernel_stack),
            page_tables: per(memory.page_tables),
            slab: per(memory.slab),
            tcp: per(memory.tcp),
        }
    }
}

/// Time for allocations to settle before memory is read.
const SETTLE: Duration = Duration::from_secs(1);
/// How long connections may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(120);
/// Messages under way at once while every connection is tried.
const BATCH: usize = 64;
/// How long the answers to one batch may take.
const BATCH_NS: u64 = 5_000_000_000;

/// Opens connections, holds them, and reports on the server's memory.
pub fn run(idle: &Idle) -> Result<Report> {
    let memory = || Memory::of(&idle.pid.map(tree).unwrap_or_default());
    let before = memory();
    let mut errors = Errors::default();
    let mut poll = Poll::new()?;
    let opened = open_all(&mut poll, &idle.plan, idle.connections, OPEN_TIMEOUT, &mut errors)?;
    let (open_seconds, open_latency) = (opened.seconds, opened.latency.percentiles());
    let mut worker = Worker::new(&idle.messages, poll, opened, errors);
    let connections = worker.alive();
    let per = |memory: Memory| PerConnection::new(memory.since(before), connections);

    wait(&mut worker, SETTLE)?;
    let after_open = per(memory());
    let all: Vec<usize> = (0..worker.len()).collect();
    echo(&mut worker, &all)?;
    wait(&mut worker, SETTLE)?;
    let after_echo = per(memory());
    wait(&mut worker, idle.hold)?;
    let after_hold = per(memory());

    let step = (worker.len() / idle.sample.max(1)).max(1);
    let sample: Vec<usize> = all.iter().copied().step_by(step).take(idle.sample).collect();
    let sample_ok = echo(&mut worker, &sample)?;
    let alive = worker.alive();
    worker.close_all();
    std::thread::sleep(2 * SETTLE);
    Ok(Report {
        mode: "idle",
        connections,
        open_seconds,
        open_latency_us: open_latency,
        before_kib: before,
        opened: after_open,
        echoed: after_echo,
        held: after_hold,
        closed_kib: memory().since(before),
        alive,
        sample_ok,
        unanswered: worker.counts.unanswered,
        error_count: worker.counts.errors.total(),
        errors: worker.counts.errors,
    })
}

/// Lets time pass, handling events.
fn wait(worker: &mut Worker, time: Duration) -> Result<()> {
    let end = now_ns() + time.as_nanos() as u64;
    while let Some(left) = end.checked_sub(now_ns()) {
        worker.turn(Duration::from_nanos(left))?;
    }
    Ok(())
}

/// Echoes one message on each of `which`; returns how many came back.
fn echo(worker: &mut Worker, which: &[usize]) -> Result<u64> {
    worker.window = Window { from: 0, to: u64::MAX, refill: false };
    let before = worker.counts.messages;
    for batch in which.chunks(BATCH) {
        for &i in batch {
            worker.send_messages(i, 1);
        }
        worker.drain(now_ns() + BATCH_NS)?;
    }
    Ok(worker.counts.messages - before)
}
