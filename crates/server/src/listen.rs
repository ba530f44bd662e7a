//! Listens on TCP and on the socket in the state folder, and serves what comes in.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use crate::gate::Way;

/// Connections that are served at once; more wait.
const CONNECTIONS_MAX: usize = 512;
/// How long a client may take for the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Name of the socket in the state folder.
const SOCKET: &str = "daemon.sock";
/// Bytes that a socket's path may have on the systems we know.
const PATH_MAX: usize = 103;

/// Returns where the daemon of a state folder listens, as far as the path is short enough for a socket: else a link in the
/// system's folder for such things, named by the state folder, leads there.
pub fn socket_path(state: &Path) -> PathBuf {
    let path = state.join(SOCKET);
    if path.as_os_str().len() <= PATH_MAX {
        return path;
    }
    let name = blake3::hash(state.as_os_str().as_encoded_bytes()).to_hex();
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    folder.join(format!("cairn-{}.sock", &name[..16]))
}

/// Opens the socket of a state folder. Who holds the store may take the place of one that a killed daemon left.
pub fn bind_socket(state: &Path) -> io::Result<UnixListener> {
    let path = socket_path(state);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves what comes in by TCP, for ever.
pub async fn serve_tcp(listener: TcpListener, router: Router) {
    let router = router.layer(Extension(Way::Tcp));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve_one(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => refused(&error).await,
        }
    }
}

/// Serves what comes in by the socket, for ever.
pub async fn serve_socket(listener: UnixListener, router: Router) {
    let router = router.layer(Extension(Way::Socket));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(serve_one(stream, router));
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

async fn serve_one(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
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
