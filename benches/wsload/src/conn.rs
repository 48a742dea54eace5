//! Connections: non-blocking sockets, the opening handshake on them, and opening many with a bounded
//! number under way.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::{bail, Context, Result};
use mio::{event::Event, net::TcpStream, Events, Interest, Poll, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    handshake::{check_response, Accepted, Target},
    process::now_ns,
    report::{Errors, Latency},
};

/// Connections from one source address; there are some 28,000 ephemeral ports.
const PER_SOURCE: u32 = 20_000;
/// Handshakes under way at once while many connections are opened.
const OPENING: usize = 32;

/// What all connections have in common.
pub struct Plan {
    target: Target,
    /// `Sec-WebSocket-Extensions` to offer.
    offer: Option<&'static str>,
    /// Source addresses to spread connections over; with one, the kernel picks.
    sources: u64,
}

impl Plan {
    pub fn new(target: Target, offer: Option<&'static str>, connections: u32) -> Self {
        Self { target, offer, sources: connections.div_ceil(PER_SOURCE).into() }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Connecting,
    Upgrading,
    Open,
}

pub struct Conn {
    pub sock: TcpStream,
    pub id: u32,
    pub accepted: Accepted,
    /// Frame data that came with the response.
    pub early: Vec<u8>,
    number: u64,
    state: State,
    response: Vec<u8>,
    pub started_ns: u64,
}

impl Conn {
    /// Starts connecting. `number` makes the key and the source address.
    pub fn start(registry: &Registry, plan: &Plan, id: u32, number: u64) -> Result<Self> {
        let started_ns = now_ns();
        let socket =
            Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).context("socket")?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if plan.sources > 1 {
            choose_port_late(&socket)?;
            let source = Ipv4Addr::new(127, 0, 0, 2 + (number % plan.sources) as u8);
            socket.bind(&SockAddr::from(SocketAddrV4::new(source, 0))).context("bind")?;
        }
        match socket.connect(&SockAddr::from(plan.target.addr)) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
                return Err(error).context("connect")
            }
            _ => {}
        }
        let mut sock = TcpStream::from_std(socket.into());
        registry.register(
            &mut sock,
            Token(id as usize),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(Self {
            sock,
            id,
            accepted: Accepted::default(),
            early: Vec::new(),
            number,
            state: State::Connecting,
            response: Vec::new(),
            started_ns,
        })
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Goes on with the opening; true when it is just finished.
    pub fn advance(&mut self, plan: &Plan, event: &Event) -> Result<bool> {
        if self.state == State::Connecting {
            if let Some(error) = self.sock.take_error()? {
                return Err(error).context("connect");
            }
            if !event.is_writable() {
                return Ok(false);
            }
            let request = plan.target.request(self.number, plan.offer);
            match self.sock.write(&request) {
                Ok(n) if n == request.len() => self.state = State::Upgrading,
                Ok(_) => bail!("the request did not fit in the socket buffer"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("sending the request"),
            }
        }
        if self.state == State::Upgrading {
            let mut buffer = [0; 4096];
            loop {
                match self.sock.read(&mut buffer) {
                    Ok(0) => bail!("closed during the handshake"),
                    Ok(n) => self.response.extend_from_slice(&buffer[..n]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error).context("reading the response"),
                }
                if let Some(accepted) = check_response(&self.response, self.number)? {
                    self.early = self.response.split_off(accepted.head_len);
                    self.response = Vec::new();
                    self.accepted = accepted;
                    self.state = State::Open;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Leaves the choice of the port to `connect()`, where one that is in use towards another server or
/// from another address will do.
fn choose_port_late(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    let (level, name) = (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
    let length = size_of_val(&on) as libc::socklen_t;
    // SAFETY: `on` is an int and outlives the call.
    let status = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), length)
    };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Raises the limit on open files so that `n` connections fit.
pub fn allow_files(n: u64) -> Result<()> {
    let wanted = n + 64;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        if limit.rlim_cur >= wanted {
            return Ok(());
        }
        limit.rlim_cur = wanted;
        limit.rlim_max = limit.rlim_max.max(wanted);
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            let error = io::Error::last_os_error();
            bail!("open files cannot be {wanted} ({error}): raise the limit with ulimit -n");
        }
    }
    Ok(())
}

/// Opened connections, in order of `id`; those that failed are missing.
pub struct Opened {
    pub conns: Vec<Option<Conn>>,
    pub latency: Latency,
    pub seconds: f64,
}

/// Opens `total` connections.
pub fn open_all(
    poll: &mut Poll,
    plan: &Plan,
    total: u32,
    timeout: Duration,
    errors: &mut Errors,
) -> Result<Opened> {
    let started = now_ns();
    let deadline = started + timeout.as_nanos() as u64;
    let mut conns: Vec<Option<Conn>> = Vec::with_capacity(total as usize);
    let mut latency = Latency::new();
    let mut events = Events::with_capacity(1024);
    let (mut under_way, mut begun) = (0, 0);
    while under_way > 0 || begun < total {
        while under_way < OPENING && begun < total {
            match Conn::start(poll.registry(), plan, begun, begun.into()) {
                Ok(conn) => {
                    conns.push(Some(conn));
                    under_way += 1;
                }
                Err(error) => {
                    errors.add(format!("open: {error:#}"));
                    conns.push(None);
                }
            }
            begun += 1;
        }
        let now = now_ns();
        if now >= deadline {
            for conn in conns.iter_mut().filter(|c| c.as_ref().is_some_and(|c| !c.is_open())) {
                *conn = None;
                errors.add("open: timed out".into());
            }
            for _ in begun..total {
                errors.add("open: not begun in time".into());
            }
            conns.resize_with(total as usize, || None);
            break;
        }
        if under_way > 0 {
            poll_once(poll, &mut events, Duration::from_nanos(deadline - now))?;
        } else {
            events.clear();
        }
        for event in &events {
            let slot = &mut conns[event.token().0];
            let Some(conn) = slot.as_mut().filter(|conn| !conn.is_open()) else { continue };
            match conn.advance(plan, event) {
                Ok(false) => continue,
                Ok(true) => latency.record(now_ns() - conn.started_ns),
                Err(error) => {
                    errors.add(format!("open: {error:#}"));
                    *slot = None;
                }
            }
            under_way -= 1;
        }
    }
    Ok(Opened { conns, latency, seconds: (now_ns() - started) as f64 / 1e9 })
}

/// Waits for events; being interrupted by a signal is no error.
pub fn poll_once(poll: &mut Poll, events: &mut Events, timeout: Duration) -> Result<()> {
    match poll.poll(events, Some(timeout)) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error).context("poll"),
        _ => Ok(()),
    }
}
