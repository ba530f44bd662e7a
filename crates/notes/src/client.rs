//! A caller.

use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::protocol::{Hello, PROTOCOL, Reply, Request, receive, send};

/// Why a caller is not served.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server says why.
    #[error("{error}")]
    Refused {
        /// Why.
        error: String,
        /// What to do.
        help: Option<String>,
        /// Whether the store is what failed.
        store: bool,
    },
    /// Nobody answers.
    #[error("the process that holds the store does not answer")]
    Gone(#[source] io::Error),
}

/// How long an attempt waits for the process that takes it over, when the one that started it has ended.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// A conversation.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    hello: Option<Hello>,
    /// How to begin anew; only within attempts, which may outlive a process.
    again: Option<(PathBuf, Hello)>,
}

impl Client {
    /// Calls the run that an attempt belongs to; waits for a while where nobody listens: the attempt is about to be taken
    /// over.
    pub fn of_attempt(socket: &Path, token: String, epoch: u64, scope: Option<String>) -> io::Result<Self> {
        let mut client = Self::new(connect(socket)?, Some((token, epoch)), scope);
        client.again = client.hello.clone().map(|hello| (socket.to_owned(), hello));
        Ok(client)
    }

    /// Calls the process that holds the store, which listens at the other end of `stream`, from outside of any attempt.
    pub fn of_scope(stream: UnixStream, scope: String) -> Self {
        Self::new(stream, None, Some(scope))
    }

    fn new(stream: UnixStream, attempt: Option<(String, u64)>, scope: Option<String>) -> Self {
        let hello = Hello { protocol: PROTOCOL, attempt, scope };
        Self { stream: BufReader::new(stream), hello: Some(hello), again: None }
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ClientError> {
        let answered = self.exchange(request).or_else(|gone| self.ask_again(request, gone));
        match answered.map_err(ClientError::Gone)? {
            Reply::Refused { error, help, store } => Err(ClientError::Refused { error, help, store }),
            reply => Ok(reply),
        }
    }

    /// Asks the next process, where it can be asked the same.
    fn ask_again(&mut self, request: &Request, gone: io::Error) -> io::Result<Reply> {
        let Some((socket, hello)) = self.again.clone().filter(|_| request.is_repeatable()) else {
            return Err(gone);
        };
        // It may be about to end, and still listen.
        let began = Instant::now();
        loop {
            self.stream = BufReader::new(connect(&socket)?);
            self.hello = Some(hello.clone());
            match self.exchange(request) {
                Err(_) if began.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                answered => return answered,
            }
        }
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Reply> {
        let stream = self.stream.get_ref();
        let greeted = match self.hello.take() {
            Some(hello) => send(stream, &hello),
            None => Ok(()),
        };
        let sent = greeted.and_then(|()| send(stream, request));
        // One that was refused at the greeting finds the answer there although it could not send on.
        match receive(&mut self.stream) {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(sent.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    }

    /// Has commands that are started from here on hold the conversation open: should this process be killed, it ends when
    /// the last of them does.
    pub fn share_with_commands(&self) -> io::Result<()> {
        let stream = self.stream.get_ref().as_fd();
        Ok(rustix::io::fcntl_setfd(stream, rustix::io::FdFlags::empty())?)
    }
}

/// Connects to a socket, at which there may be nobody for a while.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let began = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
                    && began.elapsed() < PATIENCE =>
            {
                std::thread::sleep(PAUSE);
            }
            connected => return connected,
        }
    }
}

impl Drop for Client {
    /// Ends the conversation, whoever else has the socket: who ends it says so, and a process that its command left behind
    /// is not waited for.
    fn drop(&mut self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
    }
}
