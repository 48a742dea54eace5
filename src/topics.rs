//! Topics: a message that is published once goes to every connection that has subscribed to its topic.
//!
//! A message is framed once, compressed at most once for each kind of connection, and sent by Rust
//! alone: the subscriber's handler may wait or compute meanwhile. A publisher never waits for a
//! subscriber: each connection has a bounded [`Outbox`](crate::connection::Outbox).
//!
//! The promise: at most once; messages of one publisher to one topic arrive in their order.

mod backplane;
mod backplane_queue;
mod broker;
mod delivery_thread;
mod message;
mod name;
mod subscribers;
#[cfg(test)]
mod tests;

pub use self::{
    backplane::{Backplane, BackplaneStatistics},
    backplane_queue::{BackplaneQueue, Change},
    broker::{Broker, QueueSettings, SlowSubscriber, Statistics},
    message::{Compression, Message, PublishError},
    name::{check_name, NameError, MAX_NAME_BYTES},
};
