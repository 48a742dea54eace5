//! A lean WebSocket load generator, for loopback only.
//!
//! One thread with epoll, frames masked in advance, replies verified as they come in and never
//! stored. It reports its own processor time beside the server's, which tells which of the two was
//! measured. Reports are JSON on stdout; the exit status is 2 if they have errors in them.

mod conn;
mod connect;
mod echo;
mod frame;
mod handshake;
mod idle;
mod message;
mod process;
mod reply;
mod report;
mod sender;
mod worker;

use std::{process::ExitCode, time::Duration};

use anyhow::{ensure, Result};
use clap::{Args, Parser, Subcommand};

use crate::{
    conn::{allow_files, Plan},
    handshake::Target,
    message::Messages,
};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Send messages and have them echoed: throughput and latency
    Echo(EchoArgs),
    /// Open and close connections: handshakes per second
    Connect(ConnectArgs),
    /// Hold connections open: memory per connection
    Idle(IdleArgs),
}

#[derive(Args)]
struct Server {
    /// ws://HOST:PORT/PATH, on loopback
    #[arg(long)]
    url: String,
    /// The server's process: its processor time or memory, with that of its children
    #[arg(long)]
    pid: Option<i32>,
}

#[derive(Args)]
struct Shape {
    /// Payload bytes
    #[arg(long, default_value_t = 32)]
    size: usize,
    /// Send binary messages instead of text
    #[arg(long)]
    binary: bool,
    /// Offer permessage-deflate and send compressed, JSON-like messages
    #[arg(long)]
    deflate: bool,
}

#[derive(Args)]
struct EchoArgs {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    shape: Shape,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Messages each connection keeps under way
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pipeline: u32,
    /// Length of the measured stretch
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Time before it
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Spin instead of sleeping: the client need not be woken; give it a core of its own
    #[arg(long)]
    busy_poll: bool,
}

#[derive(Args)]
struct ConnectArgs {
    #[command(flatten)]
    server: Server,
    /// Connections under way at once
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Length of the run
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Spin instead of sleeping
    #[arg(long)]
    busy_poll: bool,
}

#[derive(Args)]
struct IdleArgs {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    shape: Shape,
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Seconds to hold the connections
    #[arg(long, default_value_t = 3.0)]
    hold: f64,
    /// Connections to try at the end
    #[arg(long, default_value_t = 100)]
    sample: usize,
}

fn main() -> ExitCode {
    match run(Cli::parse().mode) {
        Ok(0) => ExitCode::SUCCESS,
        // The report names the errors.
        Ok(_) => ExitCode::from(2),
        Err(error) => {
            eprintln!("wsload: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs and prints; returns the number of errors.
fn run(mode: Mode) -> Result<u64> {
    match mode {
        Mode::Echo(args) => {
            allow_files(args.connections.into())?;
            let report = echo::run(&echo::Echo {
                plan: args.server.plan(args.shape.deflate, args.connections)?,
                messages: args.shape.messages()?,
                connections: args.connections,
                pipeline: args.pipeline,
                seconds: duration(args.seconds)?,
                warmup: duration(args.warmup)?,
                busy_poll: args.busy_poll,
                pid: args.server.pid,
            })?;
            report::print(&report)?;
            Ok(report.error_count)
        }
        Mode::Connect(args) => {
            allow_files(args.concurrency as u64)?;
            let report = connect::run(&connect::Connect {
                // Each socket is closed before its address is needed again, but not for the kernel:
                // TIME_WAIT keeps it for a minute.
                plan: args.server.plan(false, MANY_HANDSHAKES)?,
                concurrency: args.concurrency,
                seconds: duration(args.seconds)?,
                busy_poll: args.busy_poll,
                pid: args.server.pid,
            })?;
            report::print(&report)?;
            Ok(report.error_count)
        }
        Mode::Idle(args) => {
            allow_files(args.connections.into())?;
            let report = idle::run(&idle::Idle {
                plan: args.server.plan(args.shape.deflate, args.connections)?,
                messages: args.shape.messages()?,
                connections: args.connections,
                hold: duration(args.hold)?,
                sample: args.sample,
                pid: args.server.pid,
            })?;
            report::print(&report)?;
            Ok(report.error_count)
        }
    }
}

/// More than any server makes in a minute.
const MANY_HANDSHAKES: u32 = 1_000_000;

impl Server {
    fn plan(&self, deflate: bool, connections: u32) -> Result<Plan> {
        let offer = deflate.then_some("permessage-deflate; client_max_window_bits");
        Ok(Plan::new(Target::parse(&self.url)?, offer, connections))
    }
}

impl Shape {
    fn messages(&self) -> Result<Messages> {
        ensure!(self.size <= 256 << 20, "--size is {}; the limit is 256 MiB", self.size);
        Messages::new(self.size, self.binary, self.deflate)
    }
}

/// No run may be longer than an hour.
fn duration(seconds: f64) -> Result<Duration> {
    ensure!((0.0..=3600.0).contains(&seconds), "{seconds} s is not from 0 to 3600 s");
    Ok(Duration::from_secs_f64(seconds))
}
