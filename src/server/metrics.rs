//! Metrics for the operator, in Prometheus' text format, on a port of their own.
//!
//! Sending and receiving only increment counters of their connection. For a request of the metrics,
//! the server adds up the counters of all open connections, and the sums that ended connections
//! have left in the registry.

mod http;
mod process;
mod text;
pub(super) mod totals;

pub(super) use self::http::serve;
use self::{
    text::{Family, Text},
    totals::{Handshake, Totals},
};
use super::{
    admission::{arrivals::Arrivals, permit},
    log::panics,
    registry::{HttpVersion, RegistrySnapshot},
    routes::Concurrency,
    state::{HandlerCounts, ServerState},
};
use crate::{
    connection::{Phase, Traffic, Volume},
    protocol::{closing::Side, handshake::opens},
    system::{Native, System},
    topics::{BackplaneStatistics, Statistics},
};

/// Writes all metrics.
pub(super) fn describe(state: &ServerState) -> String {
    let mut text = Text::default();
    text.gauge("fastwsh_build_info", "The version of the server.")
        .labelled(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    write_arrivals(&mut text, &state.arrivals);
    let snapshot = state.registry.snapshot();
    write_connections(&mut text, &snapshot);
    write_totals(&mut text, &snapshot.totals);
    write_handler_counts(&mut text, state.acceptor.handler_counts());
    write_topics(&mut text, state.broker.statistics());
    if let Some(backplane) = state.broker.backplane_statistics() {
        write_backplane(&mut text, backplane);
    }
    text.counter(
        "fastwsh_internal_errors_total",
        "Mistakes of the server itself that it survived.",
    )
    .value(panics::count());
    process::write(&mut text, &Native::usage());
    text.into_string()
}

fn write_arrivals(text: &mut Text, arrivals: &Arrivals) {
    text.counter("fastwsh_connections_accepted_total", "Connections that were accepted.")
        .value(arrivals.accepted());
    let mut family = text.counter(
        "fastwsh_connections_refused_total",
        "Connections that were refused because too many were open, by the option that says so.",
    );
    for limit in [permit::TOTAL, permit::PER_ADDRESS] {
        let label = limit.trim_start_matches('-');
        family.labelled(&[("limit", label)], arrivals.refused(limit));
    }
}

fn write_connections(text: &mut Text, snapshot: &RegistrySnapshot) {
    let mut family = text.gauge(
        "fastwsh_connections",
        "Connections to handlers, by where the handlers run and whether the opening handshake is done.",
    );
    for (concurrency, name) in CONCURRENCIES {
        for (is_open, phase) in [(false, "opening"), (true, "open")] {
            let count =
                snapshot.connections.get(&(concurrency, is_open)).copied().unwrap_or_default();
            family.labelled(&[("concurrency", name), ("state", phase)], count);
        }
    }
    text.gauge(
        "fastwsh_http_connections",
        "Connections on which plain HTTP is spoken, and all of HTTP/2 and HTTP/3, by the version of HTTP.",
    )
    .labelled(&[("version", "1.1")], snapshot.http_connections[HttpVersion::One as usize])
    .labelled(&[("version", "2")], snapshot.http_connections[HttpVersion::Two as usize])
    .labelled(&[("version", "3")], snapshot.http_connections[HttpVersion::Three as usize]);
}

const CONCURRENCIES: [(Concurrency, &str); 3] =
    [(Concurrency::Threads, "threads"), (Concurrency::Hub, "hub"), (Concurrency::Loop, "loop")];

fn write_totals(text: &mut Text, totals: &Totals) {
    let mut family = text.counter(
        "fastwsh_handshakes_total",
        "Opening handshakes by result, and the status that they were answered with.",
    );
    for (result, count) in &totals.handshakes {
        let (name, status) = match result {
            Handshake::Answered(status) if opens(*status) => ("accepted", status.to_string()),
            Handshake::Answered(status) => ("refused", status.to_string()),
            Handshake::NoHandler => ("no_handler", String::new()),
            Handshake::Unanswered => ("unanswered", String::new()),
        };
        family.labelled(&[("result", name), ("status", &status)], count);
    }
    write_traffic(text, totals);
    let mut family = text.counter(
        "fastwsh_closes_total",
        "Open connections that have ended, by the code of the first close frame (1006: there was none) and who sent it.",
    );
    for ((code, side), count) in &totals.closes {
        let code = code.map_or_else(|| "other".to_owned(), |code| code.to_string());
        let initiator = match side {
            Side::Client => "client",
            Side::Server => "server",
        };
        family.labelled(&[("code", &code), ("initiator", initiator)], count);
    }
    let mut family = text.counter(
        "fastwsh_handler_errors_total",
        "Handlers that ended with an exception which was not meant for the connection.",
    );
    for ((path, phase), count) in &totals.failures {
        let phase = match phase {
            Phase::Handshake => "handshake",
            Phase::Transfer => "transfer",
        };
        let path = path.as_deref().unwrap_or("other");
        family.labelled(&[("handler", path), ("phase", phase)], count);
    }
}

fn write_traffic(text: &mut Text, totals: &Totals) {
    let directions = [("received", totals.received), ("sent", totals.sent)];
    let by_type = |mut family: Family<'_>, number: fn(Volume) -> u64| {
        for (direction, traffic) in directions {
            for (name, volume) in [("text", traffic.text), ("binary", traffic.binary)] {
                let labels = [("direction", direction), ("type", name)];
                family.labelled(&labels, number(volume));
            }
        }
    };
    by_type(text.counter("fastwsh_messages_total", "Whole messages."), |volume| volume.messages);
    by_type(
        text.counter(
            "fastwsh_message_bytes_total",
            "Bytes of messages, before they are compressed.",
        ),
        |volume| volume.bytes,
    );
    let mut family = text.counter(
        "fastwsh_wire_bytes_total",
        "Bytes of handlers' connections behind the request's head, without those of TLS.",
    );
    for (direction, Traffic { wire, .. }) in directions {
        family.labelled(&[("direction", direction)], wire);
    }
}

fn write_topics(text: &mut Text, topics: Statistics) {
    text.gauge("fastwsh_topics", "Topics with subscribers.").value(topics.topics);
    text.gauge("fastwsh_topic_subscriptions", "Subscriptions to topics.")
        .value(topics.subscriptions);
    text.counter("fastwsh_topic_messages_published_total", "Messages published to topics.")
        .value(topics.published);
    text.counter(
        "fastwsh_topic_messages_delivered_total",
        "Messages of topics that were handed to a connection.",
    )
    .value(topics.delivered);
    text.counter(
        "fastwsh_topic_messages_dropped_total",
        "Messages of topics that a slow connection did not get.",
    )
    .value(topics.dropped);
    text.counter(
        "fastwsh_topic_slow_closes_total",
        "Connections that were closed because they were slow to read messages of topics.",
    )
    .value(topics.closed);
}

fn write_backplane(text: &mut Text, backplane: BackplaneStatistics) {
    text.gauge("fastwsh_backplane_connected", "Whether other servers can be reached: 1 or 0.")
        .value(u8::from(backplane.is_connected));
    let mut count = |name, help, count: u64| {
        text.counter(name, help).value(count);
    };
    count(
        "fastwsh_backplane_messages_sent_total",
        "Messages of topics for other servers.",
        backplane.sent,
    );
    count(
        "fastwsh_backplane_messages_received_total",
        "Messages of topics of other servers.",
        backplane.received,
    );
    count(
        "fastwsh_backplane_messages_missed_total",
        "Messages of topics of other servers that have not arrived.",
        backplane.missed,
    );
    count(
        "fastwsh_backplane_messages_lost_total",
        "Messages of topics for other servers that were not sent.",
        backplane.lost,
    );
}

fn write_handler_counts(text: &mut Text, counts: HandlerCounts) {
    text.gauge("fastwsh_handler_threads", "Threads that run handlers, one connection each.")
        .labelled(&[("state", "busy")], counts.busy_threads)
        .labelled(&[("state", "idle")], counts.idle_threads);
    text.counter("fastwsh_hub_slices_total", "Turns that handlers had in the hub's thread.")
        .value(counts.turns);
    text.counter("fastwsh_hub_stalls_total", "Turns in the hub's thread that took 100 ms or more.")
        .value(counts.stalls);
}
