//! What is reported: latencies, errors, processor time.

use std::collections::BTreeMap;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::process::{cpu_ns, own_cpu_ns};

/// A histogram of nanoseconds.
pub struct Latency(Histogram<u64>);

impl Latency {
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("the bounds are in order"))
    }

    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns.max(1));
    }

    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max() as f64 / 1e3,
            mean: self.0.mean() / 1e3,
        }
    }
}

/// Microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
    mean: f64,
}

/// Errors by message, with counts.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Errors(BTreeMap<String, u64>);

impl Errors {
    pub fn add(&mut self, message: String) {
        *self.0.entry(message).or_default() += 1;
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Processor time of both sides over a measured stretch.
#[derive(Clone, Debug, Serialize)]
pub struct CpuUse {
    /// Microseconds per message (or handshake).
    client_us: f64,
    server_us: Option<f64>,
    /// Of the process of the server that used most.
    server_busiest_us: Option<f64>,
    /// Cores in use: 1.0 is one core.
    client_cores: f64,
    server_cores: Option<f64>,
    /// The share of the time in which the client waited for the server, asleep or spinning.
    client_idle: f64,
    /// The client hardly waited and the server did not use a whole core: the figures say more about
    /// the client than about the server.
    client_bound: bool,
}

/// Takes processor times at the start and the end of a stretch.
pub struct CpuMeter<'a> {
    pids: &'a [i32],
    server_ns: Vec<u64>,
    client_ns: u64,
}

impl<'a> CpuMeter<'a> {
    pub fn start(pids: &'a [i32]) -> Self {
        Self { pids, server_ns: cpu_ns(pids), client_ns: own_cpu_ns() }
    }

    /// Ends a stretch of `ns` with `count` messages. A client that spins has to tell how long it did so
    /// in vain; one that sleeps idled whenever it used no processor time.
    pub fn stop(&self, count: u64, ns: u64, idle_ns: Option<u64>) -> CpuUse {
        let client = own_cpu_ns().saturating_sub(self.client_ns) as f64;
        let now = cpu_ns(self.pids);
        let used = || now.iter().zip(&self.server_ns).map(|(now, then)| now.saturating_sub(*then));
        let (server, busiest) = (used().sum::<u64>() as f64, used().max().unwrap_or(0) as f64);
        let (known, ns) = (!self.pids.is_empty(), ns.max(1) as f64);
        let us_each = |total_ns: f64| total_ns / 1e3 / count.max(1) as f64;
        let client_idle = idle_ns.map_or((1.0 - client / ns).max(0.0), |idle| idle as f64 / ns);
        let server_cores = known.then_some(server / ns);
        let server_waited = server_cores.is_some_and(|cores| cores < 0.9);
        CpuUse {
            client_us: us_each(client),
            server_us: (known && count > 0).then(|| us_each(server)),
            server_busiest_us: (known && count > 0).then(|| us_each(busiest)),
            client_cores: client / ns,
            server_cores,
            client_idle,
            client_bound: count > 0 && client_idle < 0.05 && server_waited,
        }
    }
}

/// Prints a report as JSON.
pub fn print(report: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(report)?);
    Ok(())
}
