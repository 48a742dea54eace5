//! A connection that registers its socket with reactors while another thread lets go of it.

use std::{io, sync::Arc};

use crate::{
    check,
    closing::AtomicClosing,
    connection::{
        byte_stream::ByteStream,
        reactor::{ReactorToken, Registration, Remote},
        OnceLock,
    },
    locks::lock,
    protocol::closing::Closing,
    sync::{thread, Mutex},
};

#[path = "../../src/connection/transport/registrations.rs"]
mod real;

/// The fields of the real one that registrations need.
#[derive(Default)]
struct Transport {
    socket: Mutex<Option<Arc<dyn ByteStream>>>,
    closing: AtomicClosing,
    registration: OnceLock<Registration>,
    registrations: Mutex<Vec<Arc<Registration>>>,
}

#[derive(Debug)]
struct Socket;

impl ByteStream for Socket {}

impl Transport {
    fn closing(&self) -> Closing {
        self.closing.get()
    }

    /// As `Transport::finish` does.
    fn finish(&self) {
        let Some(_socket) = lock(&self.socket).take() else { return };
        self.closing.update(Closing::release_stream);
        if let Some(registration) = self.registration.get() {
            registration.end(None);
        }
        for registration in &*lock(&self.registrations) {
            registration.end(None);
        }
    }

    fn register(&self, reactor: &Arc<Remote>) -> io::Result<ReactorToken> {
        self.token(reactor, |_: &dyn ByteStream| Ok(Registration::new(reactor)))
    }
}

#[test]
fn no_registration_outlives_its_connection() {
    check(|| {
        let transport = Arc::new(Transport {
            socket: Mutex::new(Some(Arc::new(Socket))),
            ..Default::default()
        });
        let reactors = [Arc::new(Remote::default()), Arc::new(Remote::default())];
        // the handler's own thread, another thread of the same reactor, and a task elsewhere
        let threads: Vec<_> = [0, 0, 1]
            .into_iter()
            .map(|number: usize| {
                let (transport, reactor) = (transport.clone(), reactors[number].clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        if let Ok(token) = transport.register(&reactor) {
                            assert!(reactor.knows(token));
                        }
                    }
                })
            })
            .collect();
        let end = thread::spawn({
            let transport = transport.clone();
            move || transport.finish()
        });
        for thread in threads {
            thread.join().unwrap();
        }
        end.join().unwrap();
        assert!(reactors.iter().all(|reactor| reactor.live() == 0), "{reactors:?}");
        assert!(transport.register(&reactors[0]).is_err() || reactors[0].live() == 0);
    });
}

#[test]
fn each_reactor_registers_a_connection_once() {
    check(|| {
        let transport = Arc::new(Transport {
            socket: Mutex::new(Some(Arc::new(Socket))),
            ..Default::default()
        });
        let reactors = [Arc::new(Remote::default()), Arc::new(Remote::default())];
        let threads: Vec<_> = [0, 1]
            .into_iter()
            .map(|number: usize| {
                let (transport, reactor) = (transport.clone(), reactors[number].clone());
                thread::spawn(move || {
                    let first = transport.register(&reactor).unwrap();
                    assert_eq!(transport.register(&reactor).unwrap(), first);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(reactors.iter().all(|reactor| reactor.live() == 1));
        let homes =
            reactors.iter().filter(|reactor| transport.is_in_handlers_reactor(reactor)).count();
        assert_eq!(homes, 1);
    });
}
