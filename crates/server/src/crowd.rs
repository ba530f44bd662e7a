//! Connections by TCP: how many there are at once.
//!
//! | who | at once | beyond that |
//! | --- | --- | --- |
//! | brought the token, or the cookie, with a request | [`KNOWN_MAX`] | the request is answered 503 |
//! | has not yet | [`STRANGERS_MAX`] | the connection is answered 503 |
//!
//! Who has not is answered once and has the connection ended, so that nobody keeps a place by saying little, or by asking
//! for what is public.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::daemon::lock;

/// Connections over which the token came, at once.
pub(crate) const KNOWN_MAX: usize = 512;
/// Other connections at once.
pub(crate) const STRANGERS_MAX: usize = 256;
/// Connections that are waited for, at once, until they heard that there is no place; what is beyond is ended.
const TURNED_AWAY_MAX: usize = 32;
/// How long such a one may take to hear it.
const HEARS_WITHIN: Duration = Duration::from_secs(1);

/// What such a one is told.
const NO_PLACE: &str = "{\"status\":503,\"title\":\"Service Unavailable\",\"detail\":\"there are too many connections\",\
                        \"help\":\"ask again in a moment\"}";

/// The connections that there are.
#[derive(Debug)]
pub(crate) struct Crowd {
    known: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
}

impl Default for Crowd {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            known: places(KNOWN_MAX),
            strangers: places(STRANGERS_MAX),
            turned_away: places(TURNED_AWAY_MAX),
        }
    }
}

impl Crowd {
    /// Lets a connection in, as a stranger's; `None` where there is no place.
    pub(crate) fn enter(&self) -> Option<Arc<Standing>> {
        let place = Arc::clone(&self.strangers).try_acquire_owned().ok()?;
        Some(Arc::new(Standing { known: Arc::clone(&self.known), place: Mutex::new((false, place)) }))
    }

    /// Answers a connection that there is no place for.
    pub(crate) fn turn_away(&self, mut stream: TcpStream) {
        let length = NO_PLACE.len();
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{NO_PLACE}"
        );
        // Beyond so many that are being told, one is ended without a word.
        let Ok(place) = Arc::clone(&self.turned_away).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let told = async {
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await?;
                // Ended before what it sends was read, it would not hear the answer.
                let mut rest = [0; 1024];
                while stream.read(&mut rest).await? > 0 {}
                Ok::<_, std::io::Error>(())
            };
            // Whether it heard it makes no difference here.
            let _ = tokio::time::timeout(HEARS_WITHIN, told).await;
            drop(place);
        });
    }
}

/// How a connection stands. Its place is free again once it ended.
#[derive(Debug)]
pub(crate) struct Standing {
    known: Arc<Semaphore>,
    /// Whether it is one of those that are known, and the place among them, or among the strangers.
    place: Mutex<(bool, OwnedSemaphorePermit)>,
}

impl Standing {
    /// Counts it among those that are known from now on; returns whether there is a place among them.
    pub(crate) fn become_known(&self) -> bool {
        let mut place = lock(&self.place);
        if place.0 {
            return true;
        }
        let Ok(known) = Arc::clone(&self.known).try_acquire_owned() else { return false };
        *place = (true, known);
        true
    }

    /// Returns whether it is one of those that are known.
    pub(crate) fn is_known(&self) -> bool {
        lock(&self.place).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_take_no_place_of_those_that_are_known() {
        let crowd = Crowd::default();
        let mut all: Vec<_> = (0..STRANGERS_MAX).map(|_| crowd.enter().unwrap()).collect();
        assert!(crowd.enter().is_none());
        let known: Vec<_> = all.drain(..2).collect();
        assert!(
            known
                .iter()
                .all(|standing| standing.become_known() && standing.become_known() && standing.is_known())
        );
        assert_eq!(crowd.known.available_permits(), KNOWN_MAX - 2);
        all.extend([crowd.enter().unwrap(), crowd.enter().unwrap()]);
        assert!(crowd.enter().is_none());
        drop(known);
        assert_eq!(crowd.known.available_permits(), KNOWN_MAX);
        assert!(crowd.enter().is_none(), "they were no strangers any more");
        let taken =
            Arc::clone(&crowd.known).try_acquire_many_owned(u32::try_from(KNOWN_MAX).unwrap()).unwrap();
        assert!(!all[0].become_known() && !all[0].is_known());
        drop((taken, all));
        assert!(crowd.enter().is_some());
    }
}
