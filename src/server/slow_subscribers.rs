//! Tells the operator of subscribers of topics that read too slowly.

use std::sync::Arc;

use super::{
    config::Config,
    log::{
        event::{describe, EventSink, Level, SERVER_LOG},
        repeated::{and_more, RepeatedEvent},
    },
};
use crate::{
    connection::SlowPolicy,
    topics::{Broker, SlowSubscriber},
};

/// Makes the broker of a server.
pub(super) fn make_broker(config: &Config, events: Arc<EventSink>) -> Broker {
    let slow = RepeatedEvent::default();
    Broker::new(config.topics, move |SlowSubscriber { peer, policy }| {
        let Some(count) = slow.happened() else { return };
        let done = match policy {
            SlowPolicy::Close => "connection closed",
            SlowPolicy::DropNewest => "message dropped",
            SlowPolicy::DropOldest => "oldest message dropped",
        };
        events.line(Level::Warning, SERVER_LOG, || {
            let (peer, more) = (describe(peer), and_more(count));
            format!("{peer} is too slow for its topics (--topic-queue-bytes): {done}{more}")
        });
    })
}
