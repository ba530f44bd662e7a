//! The callers' side.

use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::protocol::{Hello, PROTOCOL, Reply, Request, receive, send};

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

/// A conversation.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    hello: Option<Hello>,
}

impl Client {
    /// Calls the run that an attempt belongs to.
    pub fn of_attempt(socket: &Path, token: String, epoch: u64, scope: Option<String>) -> io::Result<Self> {
        Ok(Self::new(UnixStream::connect(socket)?, Some((token, epoch)), scope))
    }

    /// Calls whichever process holds the store of a state folder, from outside of any attempt.
    pub fn of_scope(state: &Path, state_id: &str, scope: String) -> io::Result<Self> {
        Ok(Self::new(super::place::connect(state, state_id)?, None, Some(scope)))
    }

    fn new(stream: UnixStream, attempt: Option<(String, u64)>, scope: Option<String>) -> Self {
        let hello = Hello { protocol: PROTOCOL, attempt, scope };
        Self { stream: BufReader::new(stream), hello: Some(hello) }
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ClientError> {
        let answered = self.exchange(request).map_err(ClientError::Gone)?;
        match answered {
            Reply::Refused { error, help, store } => Err(ClientError::Refused { error, help, store }),
            reply => Ok(reply),
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

impl Drop for Client {
    /// Ends the conversation, whoever else has the socket: who ends it says so, and a process that its command left behind
    /// is not waited for.
    fn drop(&mut self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
    }
}
