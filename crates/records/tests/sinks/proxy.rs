//! A connection that breaks at a chosen word.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// On which side of the word the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server never gets it.
    Before,
    /// The server gets it; its answer is lost.
    After,
}

/// Forwards connections to a port of 127.0.0.1. Once armed, it breaks the first one that sends the word.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    armed: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn start(to: u16, word: &'static str, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let armed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&armed);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", to)).unwrap());
                forward(client, server, word, cut, &flag);
            }
        });
        Self { port, armed }
    }

    pub(crate) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }
}

fn forward(client: TcpStream, server: TcpStream, word: &'static str, cut: Cut, armed: &Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (armed, breaks) = (Arc::clone(armed), Arc::clone(&broken));
    std::thread::spawn(move || {
        let mut bytes = vec![0; 65536];
        while let Ok(length @ 1..) = from_client.read(&mut bytes) {
            let has_word = bytes[..length].windows(word.len()).any(|part| part == word.as_bytes());
            let now = has_word && armed.swap(false, Ordering::SeqCst);
            if now {
                breaks.store(true, Ordering::SeqCst);
            }
            if (!now || cut == Cut::After) && to_server.write_all(&bytes[..length]).is_err() {
                break;
            }
            if now {
                let _ = from_client.shutdown(Shutdown::Both);
                break;
            }
        }
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    std::thread::spawn(move || {
        let mut bytes = vec![0; 65536];
        while let Ok(length @ 1..) = from_server.read(&mut bytes) {
            if broken.load(Ordering::SeqCst) || to_client.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
}
