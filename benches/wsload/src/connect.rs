//! `connect`: opening and closing handshakes.

use std::{
    io::{ErrorKind, Read, Write},
    time::Duration,
};

use anyhow::{bail, Context, Result};
use mio::{event::Event, Events, Poll};
use serde::Serialize;

use crate::{
    conn::{poll_once, Conn, Plan},
    frame::{client_frame, op, Decoder, Sink},
    process::{now_ns, tree},
    report::{CpuMeter, CpuUse, Errors, Latency, Percentiles},
};

/// How to go about it.
pub struct Connect {
    pub plan: Plan,
    /// Connections under way at once.
    pub concurrency: usize,
    pub seconds: Duration,
    /// Spin instead of sleeping.
    pub busy_poll: bool,
    pub pid: Option<i32>,
}

#[derive(Serialize)]
pub struct Report {
    mode: &'static str,
    handshakes: u64,
    seconds: f64,
    /// Connections opened and closed in full, a second.
    handshakes_per_s: f64,
    /// From `connect()` to the checked response.
    open_latency_us: Percentiles,
    /// From the close frame to the end of the stream.
    close_latency_us: Percentiles,
    /// From `connect()` to the end of the stream.
    total_latency_us: Percentiles,
    cpu: CpuUse,
    /// Connections that the server left open for [`LINGER_NS`] after its close frame.
    left_open: u64,
    errors: Errors,
    pub error_count: u64,
}

/// How long a server may take to close after its close frame (RFC 6455 7.1.1 has it close first).
const LINGER_NS: u64 = 1_000_000_000;
/// How long any one connection may take.
const PATIENCE_NS: u64 = 10_000_000_000;
/// How often connections are looked through for those that take too long.
const SWEEP_NS: u64 = 100_000_000;

struct Slot {
    conn: Conn,
    decoder: Decoder,
    opened_ns: u64,
    /// When the server's close frame came.
    close_ns: Option<u64>,
}

/// Notes the close frame and ignores everything else.
struct Closing<'a>(&'a mut Option<u64>);

impl Sink for Closing<'_> {
    fn begin(&mut self, _opcode: u8, _rsv1: bool) -> Result<(), &'static str> {
        Ok(())
    }
    fn data(&mut self, _chunk: &[u8]) -> Result<(), &'static str> {
        Ok(())
    }
    fn end(&mut self) -> Result<(), &'static str> {
        Ok(())
    }
    fn control(&mut self, opcode: u8, _payload: &[u8]) -> Result<(), &'static str> {
        if opcode == op::CLOSE {
            *self.0 = Some(now_ns());
        }
        Ok(())
    }
}

impl Slot {
    fn new(conn: Conn) -> Self {
        Self { conn, decoder: Decoder::new(), opened_ns: 0, close_ns: None }
    }

    /// Goes on; true when the connection has ended as it should.
    fn advance(&mut self, plan: &Plan, event: &Event, buffer: &mut [u8]) -> Result<bool> {
        if !self.conn.is_open() {
            if !self.conn.advance(plan, event)? {
                return Ok(false);
            }
            self.opened_ns = now_ns();
            let early = std::mem::take(&mut self.conn.early);
            self.feed(&early)?;
            let close = client_frame(op::CLOSE, false, &1000_u16.to_be_bytes());
            self.conn.sock.write_all(&close).context("sending the close frame")?;
        }
        loop {
            match self.conn.sock.read(buffer) {
                Ok(0) if self.close_ns.is_some() => return Ok(true),
                Ok(0) => bail!("closed without a close frame"),
                Ok(n) => self.feed(&buffer[..n])?,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e).context("read"),
            }
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.decoder.feed(bytes, &mut Closing(&mut self.close_ns)).map_err(anyhow::Error::msg)
    }
}

/// Opens and closes connections and reports on it.
pub fn run(connect: &Connect) -> Result<Report> {
    let pids = connect.pid.map(tree).unwrap_or_default();
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut slots: Vec<Option<Slot>> = (0..connect.concurrency).map(|_| None).collect();
    let mut buffer = vec![0; 64 * 1024];
    let mut counts = Counts::new();

    let meter = CpuMeter::start(&pids);
    let started = now_ns();
    let deadline = started + connect.seconds.as_nanos() as u64;
    let timeout = Duration::from_millis(if connect.busy_poll { 0 } else { 50 });
    let (mut begun, mut swept, mut idle) = (0, started, 0);
    while now_ns() < deadline {
        for (i, slot) in slots.iter_mut().enumerate().filter(|(_, slot)| slot.is_none()) {
            begun += 1;
            match Conn::start(poll.registry(), &connect.plan, i as u32, begun) {
                Ok(conn) => *slot = Some(Slot::new(conn)),
                Err(error) => counts.errors.add(format!("open: {error:#}")),
            }
        }
        let before = now_ns();
        poll_once(&mut poll, &mut events, timeout)?;
        if events.is_empty() {
            idle += now_ns() - before;
        }
        for event in &events {
            let slot = &mut slots[event.token().0];
            let Some(current) = slot.as_mut() else { continue };
            match current.advance(&connect.plan, event, &mut buffer) {
                Ok(false) => continue,
                Ok(true) => counts.finished(current),
                Err(error) => counts.errors.add(format!("{error:#}")),
            }
            *slot = None;
        }
        let now = now_ns();
        if now - swept > SWEEP_NS {
            swept = now;
            for slot in &mut slots {
                counts.give_up(slot, now);
            }
        }
    }
    let ns = now_ns() - started;
    let seconds = ns as f64 / 1e9;
    Ok(Report {
        mode: "connect",
        handshakes: counts.handshakes,
        seconds,
        handshakes_per_s: counts.handshakes as f64 / seconds,
        open_latency_us: counts.open.percentiles(),
        close_latency_us: counts.close.percentiles(),
        total_latency_us: counts.total.percentiles(),
        cpu: meter.stop(counts.handshakes, ns, connect.busy_poll.then_some(idle)),
        left_open: counts.left_open,
        error_count: counts.errors.total(),
        errors: counts.errors,
    })
}

/// What became of the connections.
struct Counts {
    handshakes: u64,
    left_open: u64,
    open: Latency,
    close: Latency,
    total: Latency,
    errors: Errors,
}

impl Counts {
    fn new() -> Self {
        Self {
            handshakes: 0,
            left_open: 0,
            open: Latency::new(),
            close: Latency::new(),
            total: Latency::new(),
            errors: Errors::default(),
        }
    }

    fn finished(&mut self, slot: &Slot) {
        let now = now_ns();
        self.handshakes += 1;
        self.open.record(slot.opened_ns - slot.conn.started_ns);
        self.close.record(now - slot.opened_ns);
        self.total.record(now - slot.conn.started_ns);
    }

    /// Empties a slot whose connection takes too long.
    fn give_up(&mut self, slot: &mut Option<Slot>, now: u64) {
        let Some(current) = slot.as_ref() else { return };
        if current.close_ns.is_some_and(|at| now.saturating_sub(at) > LINGER_NS) {
            self.left_open += 1;
        } else if now.saturating_sub(current.conn.started_ns) > PATIENCE_NS {
            self.errors.add("timed out".into());
        } else {
            return;
        }
        *slot = None;
    }
}
