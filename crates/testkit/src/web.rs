//! An HTTP server that remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, empty without one.
    pub body: String,
}

impl Request {
    /// Returns a header's value by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered: status line and headers without line ends behind the last one, and a body; `None`: the connection is
/// closed without an answer.
pub type Reply = Option<(String, String)>;

/// Makes an answer of its head and its body.
pub fn reply(head: &str, body: &str) -> Reply {
    Some((head.to_owned(), body.to_owned()))
}

/// The server; its threads end with the test's process.
pub struct Web {
    /// Its port of 127.0.0.1.
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    most_at_once: Arc<AtomicUsize>,
}

impl Web {
    /// Starts one that gives each request the answer that the function makes.
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let web = Self {
            port: listener.local_addr().expect("it listens").port(),
            requests: Arc::default(),
            most_at_once: Arc::default(),
        };
        let (requests, most) = (Arc::clone(&web.requests), Arc::clone(&web.most_at_once));
        let (answer, at_once) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
                std::thread::spawn(move || {
                    serve(client.expect("a connection"), |request| {
                        most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        requests.lock().expect("nobody panics with it").push(request.clone());
                        // Long enough for others to come meanwhile.
                        std::thread::sleep(Duration::from_millis(2));
                        let reply = answer(request);
                        at_once.fetch_sub(1, Ordering::SeqCst);
                        reply
                    });
                });
            }
        });
        web
    }

    /// Returns an address of it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/in", self.port)
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("nobody panics with it").clone()
    }

    /// Returns the most requests that it has had at once.
    pub fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }
}

/// Answers requests of one connection until it ends.
fn serve(client: TcpStream, mut answer: impl FnMut(&Request) -> Reply) {
    let mut writer = client.try_clone().expect("a second handle");
    let mut reader = BufReader::new(client);
    while let Some(request) = read(&mut reader) {
        let Some((head, body)) = answer(&request) else { return };
        let text = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if writer.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut request = Request { method, path, headers, body: String::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).expect("UTF-8");
    Some(request)
}
