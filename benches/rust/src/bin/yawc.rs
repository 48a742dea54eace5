//! yawc behind hyper: a descendant of fastwebsockets with permessage-deflate. Replies to messages that
//! came in together are flushed together.

use std::io;

use futures_util::{FutureExt, SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
    Request, Response,
};
use hyper_util::rt::TokioIo;
use yawc::{frame::OpCode, Options, UpgradeFut, WebSocket};

fn main() -> io::Result<()> {
    echo_servers::run(|stream| async move {
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        let _ = connection.with_upgrades().await;
    })
}

async fn answer(mut request: Request<Incoming>) -> yawc::Result<Response<Empty<Bytes>>> {
    let options = Options::default()
        .with_limits(64 << 20, 128 << 20)
        .with_utf8()
        .with_balanced_compression()
        .with_client_max_window_bits(15)
        .with_server_max_window_bits(15);
    let (response, upgraded) = WebSocket::upgrade_with_options(&mut request, options)?;
    tokio::spawn(echo(upgraded));
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) {
    let Ok(mut ws) = upgraded.await else { return };
    while let Some(frame) = ws.next().await {
        let mut frame = Some(frame);
        while let Some(reply) =
            frame.take().filter(|f| matches!(f.opcode(), OpCode::Text | OpCode::Binary))
        {
            if ws.feed(reply).await.is_err() {
                return;
            }
            if let Some(next) = ws.next().now_or_never() {
                frame = next;
            }
        }
        if ws.flush().await.is_err() {
            return;
        }
    }
}
