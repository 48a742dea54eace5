//! `echo`: throughput and latency.

use std::time::Duration;

use anyhow::Result;
use mio::Poll;
use serde::Serialize;

use crate::{
    conn::{open_all, Plan},
    message::Messages,
    process::{now_ns, tree},
    reply::Window,
    report::{CpuMeter, CpuUse, Errors, Percentiles},
    worker::Worker,
};

/// How to load a server.
pub struct Echo {
    pub plan: Plan,
    pub messages: Messages,
    pub connections: u32,
    /// Messages each connection keeps under way: each reply is answered with the next message.
    pub pipeline: u32,
    pub seconds: Duration,
    pub warmup: Duration,
    /// Spin instead of sleeping.
    pub busy_poll: bool,
    pub pid: Option<i32>,
}

#[derive(Serialize)]
pub struct Report {
    mode: &'static str,
    connections: u64,
    seconds: f64,
    messages: u64,
    messages_per_s: f64,
    /// Payload bytes, one way, in units of 10^6 bytes.
    mb_per_s: f64,
    latency_us: Percentiles,
    cpu: CpuUse,
    /// Bytes received per message, and the share of replies that are compressed.
    wire_bytes_per_reply: f64,
    compressed_share: f64,
    /// The `Sec-WebSocket-Extensions` that the server answered with.
    extensions: Option<String>,
    open_seconds: f64,
    open_latency_us: Percentiles,
    unanswered: u64,
    errors: Errors,
    pub error_count: u64,
}

/// How long connections may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the last replies may take.
const DRAIN_NS: u64 = 2_000_000_000;

/// Loads a server and reports on it.
pub fn run(echo: &Echo) -> Result<Report> {
    let pids = echo.pid.map(tree).unwrap_or_default();
    let mut errors = Errors::default();
    let mut poll = Poll::new()?;
    let opened = open_all(&mut poll, &echo.plan, echo.connections, OPEN_TIMEOUT, &mut errors)?;
    let (open_seconds, open_latency) = (opened.seconds, opened.latency.percentiles());
    let mut worker = Worker::new(&echo.messages, poll, opened, errors);
    let (connections, extensions) = (worker.alive(), worker.extensions());

    let from = now_ns() + echo.warmup.as_nanos() as u64;
    let to = from + echo.seconds.as_nanos() as u64;
    worker.window = Window { from, to, refill: true };
    let cpu = drive(echo, &mut worker, &pids)?;
    worker.drain(now_ns() + DRAIN_NS)?;
    worker.close_all();

    let counts = worker.counts;
    let seconds = echo.seconds.as_secs_f64();
    let each = |total: u64| total as f64 / counts.messages.max(1) as f64;
    let messages_per_s = counts.messages as f64 / seconds;
    Ok(Report {
        mode: "echo",
        connections,
        seconds,
        messages: counts.messages,
        messages_per_s,
        mb_per_s: messages_per_s * echo.messages.payload_len() as f64 / 1e6,
        latency_us: counts.latency.percentiles(),
        cpu,
        wire_bytes_per_reply: each(counts.wire_bytes),
        compressed_share: each(counts.compressed),
        extensions,
        open_seconds,
        open_latency_us: open_latency,
        unanswered: counts.unanswered,
        error_count: counts.errors.total(),
        errors: counts.errors,
    })
}

/// Keeps the messages coming until the window ends, and takes processor times over it.
fn drive(echo: &Echo, worker: &mut Worker, pids: &[i32]) -> Result<CpuUse> {
    for i in 0..worker.len() {
        worker.begin(i);
        worker.send_messages(i, echo.pipeline);
    }
    let Window { from, to, .. } = worker.window;
    let (mut now, mut idle) = (now_ns(), 0);
    let mut started = None;
    while now < to && worker.any_alive() {
        if now >= from && started.is_none() {
            started = Some((CpuMeter::start(pids), now, worker.counts.messages));
            idle = 0;
        }
        let edge = if started.is_none() { from } else { to };
        let timeout = if echo.busy_poll { 0 } else { edge.saturating_sub(now) };
        let busy = worker.turn(Duration::from_nanos(timeout))?;
        let before = std::mem::replace(&mut now, now_ns());
        if !busy {
            idle += now - before;
        }
    }
    // If all connections failed before the window, nothing is reported over no time.
    let (meter, since, already) = started.unwrap_or_else(|| (CpuMeter::start(pids), now, 0));
    let idle = echo.busy_poll.then_some(idle);
    Ok(meter.stop(worker.counts.messages - already, now - since, idle))
}
