//! What the echo servers have in common: one thread, and a listening socket on loopback.

use std::{future::Future, io, net::Ipv4Addr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Runs `serve` on every connection to the port that is the only argument.
pub fn run<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F,
) -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let port = port.ok_or_else(|| io::Error::other("the argument is no port"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = listen(port)?;
        loop {
            // What fails is one connection, not the server.
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream));
        }
    })
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(4096)
}
