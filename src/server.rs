//! The server: listeners, request heads, connections, and plain HTTP as the fallback for requests
//! without a handler. No Python types.
//!
//! tokio accepts and reads the request head. A connection for a handler leaves tokio and becomes a
//! [`crate::connection::Transport`] that the handler's own thread reads and writes; every other one
//! is answered by the fallback.

mod admission;
mod config;
mod http;
mod http2;
mod keepalive;
mod limits;
mod listen;
mod log;
mod metrics;
mod opening;
mod registry;
mod routes;
mod run;
mod slow_subscribers;
mod state;

pub use self::{
    admission::{client_address::Proxies, shared_counts::SharedCounts},
    config::{CgiConfig, Config, FindContentTypes, IsExecutable},
    http::{
        alternative::ALT_SVC,
        refusal::{Content, Refusal},
    },
    http2::AnswerSlot,
    limits::{ConnectionLimits, Keepalive},
    listen::server::Server,
    log::event::{Event, EventSink, Level, SERVER_LOG},
    registry::Registry,
    routes::{Concurrency, Destination, Routes},
    run::{
        job_queue::JobQueue,
        threads::{Executor, ThreadJob, Threads},
        watchdog::{Heartbeat, Watchdog},
    },
    state::{Acceptor, HandlerCounts, PendingConnection},
};
#[cfg(feature = "fuzzing")]
pub(crate) use self::{http::fuzzing, http2::fuzzing as http2_fuzzing};
