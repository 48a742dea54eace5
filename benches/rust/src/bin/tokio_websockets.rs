//! tokio-websockets. Replies to messages that came in together are flushed together; asking for the
//! next message flushes, so they are collected first.

use std::io;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio_websockets::{Config, Limits, ServerBuilder};

const BATCH: usize = 64;

fn main() -> io::Result<()> {
    echo_servers::run(|stream| async move {
        let builder = ServerBuilder::new()
            .config(Config::default().frame_size(usize::MAX))
            .limits(Limits::unlimited());
        let Ok((_request, mut ws)) = builder.accept(stream).await else { return };
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(Ok(message)) = ws.next().await {
            batch.push(message);
            while batch.len() < BATCH {
                let Some(Some(Ok(message))) = ws.next().now_or_never() else { break };
                batch.push(message);
            }
            for reply in batch.drain(..).filter(|m| m.is_text() || m.is_binary()) {
                if ws.feed(reply).await.is_err() {
                    return;
                }
            }
            if ws.flush().await.is_err() {
                return;
            }
        }
    })
}
