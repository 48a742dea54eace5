//! tokio-tungstenite. Replies to messages that came in together are flushed together.

use std::io;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio_tungstenite::accept_async;

fn main() -> io::Result<()> {
    echo_servers::run(|stream| async move {
        let Ok(mut ws) = accept_async(stream).await else { return };
        while let Some(Ok(message)) = ws.next().await {
            let mut message = Some(message);
            while let Some(reply) = message.take().filter(|m| m.is_text() || m.is_binary()) {
                if ws.feed(reply).await.is_err() {
                    return;
                }
                if let Some(Some(Ok(next))) = ws.next().now_or_never() {
                    message = Some(next);
                }
            }
            if ws.flush().await.is_err() {
                return;
            }
        }
    })
}
