//! Listens on TCP and on the socket in the state folder, and serves what comes in.

use std::fs::Metadata;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use cairn_executor::Project;
use cairn_executor::notes::place::{candidates, is_ours, listen};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::crowd::{Crowd, Standing};
use crate::gate::Way;

/// How long a client may take for the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether the socket is still there.
const LOOK: Duration = Duration::from_secs(1);
/// The socket's name, and the one that it has while it is made.
const SOCKET: &str = "daemon.sock";
const PART: &str = "daemon.part";

/// A place for the socket: in the state folder; or, where its path would be too long for one or there can be none, in a
/// folder of the user's own in `/tmp`. Both follow from the state folder's path, whatever the environment says.
struct Place {
    /// A folder that only its user can enter, where it is made.
    folder: PathBuf,
    socket: PathBuf,
}

/// Returns the places of a state folder, the one to be preferred first.
fn places(state: &Path) -> Vec<Place> {
    let state_id = Project::new(state.to_owned(), state.to_owned(), state.to_owned()).state_id();
    let place = |folder: PathBuf| {
        let socket = if folder.starts_with(state) { state.join(SOCKET) } else { folder.join(SOCKET) };
        Place { folder, socket }
    };
    candidates(state, &state_id, SOCKET.len().max(PART.len())).into_iter().map(place).collect()
}

/// Returns the socket of the daemon of a state folder; `None` where nobody listens.
pub fn find_socket(state: &Path) -> Option<PathBuf> {
    let listens = |place: &Place| {
        // In `/tmp` anybody could pose as the daemon.
        let is_safe = place.socket.starts_with(state) || is_ours(&place.folder).unwrap_or(false);
        // A socket that nobody listens to was left by a daemon that was killed.
        is_safe && StdStream::connect(&place.socket).is_ok()
    };
    places(state).into_iter().find(listens).map(|place| place.socket)
}

/// Returns where a daemon of a state folder listens, unless it has to elsewhere.
pub fn expected_socket(state: &Path) -> PathBuf {
    places(state).into_iter().next().map_or_else(|| state.join(SOCKET), |place| place.socket)
}

/// A socket that was bound: who connects waits until it is served.
#[derive(Debug)]
pub struct Socket {
    listener: StdListener,
    path: PathBuf,
    /// The state folder that it is for.
    state: PathBuf,
}

impl Socket {
    /// Opens the socket of a state folder. Who holds the store may take the place of one that a killed daemon left.
    pub fn bind(state: &Path) -> io::Result<Self> {
        let mut failed = io::Error::from(io::ErrorKind::InvalidInput);
        for place in places(state) {
            let bound = listen(&place.folder, PART, &place.socket).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            match bound {
                Ok(listener) => return Ok(Self { listener, path: place.socket, state: state.to_owned() }),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns it for [`serve_socket`]; within a runtime.
    pub fn into_listening(self) -> io::Result<Listening> {
        let Self { listener, path, state } = self;
        let (socket, folder) = (identity(path.symlink_metadata()), identity(state.metadata()));
        Ok(Listening { listener: UnixListener::from_std(listener)?, path, state, socket, folder })
    }
}

/// A socket that is served.
#[derive(Debug)]
pub struct Listening {
    listener: UnixListener,
    path: PathBuf,
    state: PathBuf,
    /// Which file the socket is, and which folder the state folder.
    socket: Option<(u64, u64)>,
    folder: Option<(u64, u64)>,
}

impl Listening {
    /// Returns what looks after the socket.
    fn place(&self) -> Watched {
        let Self { listener: _, path, state, socket, folder } = self;
        Watched { path: path.clone(), state: state.clone(), socket: *socket, folder: *folder }
    }
}

/// Where a socket that is served has to be.
struct Watched {
    path: PathBuf,
    state: PathBuf,
    socket: Option<(u64, u64)>,
    folder: Option<(u64, u64)>,
}

impl Watched {
    /// Opens the socket anew where somebody removed it. In a state folder that took the place of its own it is another
    /// daemon's to listen. Within a runtime; it looks at files.
    fn mend(&self) -> io::Result<Option<Listening>> {
        let is_there = identity(self.path.symlink_metadata()) == self.socket;
        if is_there || identity(self.state.metadata()) != self.folder {
            return Ok(None);
        }
        let anew = Socket::bind(&self.state)?.into_listening()?;
        tracing::warn!(socket = %anew.path.display(), "the socket was gone: it is made anew");
        Ok(Some(anew))
    }
}

/// Returns what tells a file from all others.
fn identity(of: io::Result<Metadata>) -> Option<(u64, u64)> {
    of.ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Returns the address by which a listener is called from this machine: one that is bound to all is called by the
/// loopback's.
pub fn called(mut bound: SocketAddr) -> SocketAddr {
    match bound.ip() {
        IpAddr::V4(address) if address.is_unspecified() => bound.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(address) if address.is_unspecified() => bound.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    bound
}

/// Serves what comes in by TCP, for ever.
pub async fn serve_tcp(listener: TcpListener, router: Router) {
    let router = router.layer(Extension(Way::Tcp));
    let crowd = Crowd::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match crowd.enter() {
                Some(standing) => {
                    let router = router.clone();
                    tokio::spawn(serve_one(stream, router, Some(standing)));
                }
                None => crowd.turn_away(stream),
            },
            Err(error) => refused(&error).await,
        }
    }
}

/// Serves what comes in by the socket, for ever.
pub async fn serve_socket(mut listening: Listening, router: Router) {
    let router = router.layer(Extension(Way::Socket));
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_told = false;
    // A disk that does not answer holds up nobody who calls meanwhile.
    let mut looking = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listening.listener.accept() => accepted,
            _ = look.tick(), if looking.is_empty() => {
                let watched = listening.place();
                looking.spawn_blocking(move || watched.mend());
                continue;
            }
            Some(looked) = looking.join_next() => {
                let looked = looked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                if let Err(error) = &looked
                    && !is_told
                {
                    tracing::error!(%error, socket = %listening.path.display(), "the socket is gone, and cannot be made");
                }
                is_told = looked.is_err();
                if let Ok(Some(anew)) = looked {
                    listening = anew;
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(serve_one(stream, router, None));
            }
            Err(error) => refused(&error).await,
        }
    }
}

/// Out of descriptors, perhaps: others have to end first.
async fn refused(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn serve_one(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    standing: Option<Arc<Standing>>,
) {
    let inner = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        if let Some(standing) = &standing {
            request.extensions_mut().insert(Arc::clone(standing));
        }
        inner.call(request)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        // Clients come and go.
        tracing::debug!(%error, "a connection ended");
    }
}

/// Opens a TCP port for the API and the pages.
pub async fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_socket_is_found_where_it_is_and_is_its_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["s".to_owned(), "s".repeat(100)] {
            let state = folder.path().join(&name);
            std::fs::create_dir(&state).unwrap();
            assert_eq!(find_socket(&state), None);
            drop(Socket::bind(&state).unwrap());
            assert_eq!(find_socket(&state), None, "what a killed daemon left");
            let socket = Socket::bind(&state).unwrap();
            let path = socket.path().to_owned();
            assert_eq!(path == state.join("daemon.sock"), name.len() == 1);
            assert_eq!(find_socket(&state), Some(path.clone()));
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            let place = places(&state).pop().unwrap();
            if path == place.socket {
                // One that others can enter, or that is somewhere else, is not trusted.
                std::fs::set_permissions(&place.folder, std::fs::Permissions::from_mode(0o755)).unwrap();
                assert_eq!(find_socket(&state), None);
                assert!(Socket::bind(&state).is_err());
                for entry in std::fs::read_dir(&place.folder).unwrap() {
                    std::fs::remove_file(entry.unwrap().path()).unwrap();
                }
                std::fs::remove_dir(&place.folder).unwrap();
                symlink(folder.path(), &place.folder).unwrap();
                assert!(Socket::bind(&state).is_err());
                std::fs::remove_file(&place.folder).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_removed_is_made_anew_and_not_in_a_folder_that_took_the_place_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("s");
        std::fs::create_dir(&state).unwrap();
        let mend = |listening: &mut Listening| {
            if let Some(anew) = listening.place().mend().unwrap() {
                *listening = anew;
            }
        };
        let mut listening = Socket::bind(&state).unwrap().into_listening().unwrap();
        std::fs::remove_file(&listening.path).unwrap();
        mend(&mut listening);
        assert!(find_socket(&state).is_some());
        std::fs::remove_file(&listening.path).unwrap();
        std::fs::write(&listening.path, "something else").unwrap();
        mend(&mut listening);
        assert!(find_socket(&state).is_some());
        rustix::fs::rename(&state, folder.path().join("moved")).unwrap();
        mend(&mut listening);
        std::fs::create_dir(&state).unwrap();
        mend(&mut listening);
        assert_eq!(find_socket(&state), None, "another daemon may be about to listen there");
    }

    #[test]
    fn what_is_bound_to_all_addresses_is_called_by_the_loopbacks() {
        for (bound, by) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.168.1.2:80", "192.168.1.2:80"),
            ("127.0.0.2:80", "127.0.0.2:80"),
        ] {
            assert_eq!(called(bound.parse().unwrap()).to_string(), by);
        }
    }
}
