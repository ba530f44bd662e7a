//! Keeps the live lines moving, and lets other writers to standard error write above them.

use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two frames: ten a second is what an eye follows and costs nothing.
const FRAME: Duration = Duration::from_millis(100);

/// What others want to write while live lines stand at the bottom; `None` when there are none.
///
/// A queue of its own, not a lock on the drawing: a tracing event may be written by code that holds that lock.
static ABOVE: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Writes whole lines to standard error, above the live lines where there are some. Errors are passed over: there is
/// nobody left to tell.
pub(crate) fn write_above(bytes: &[u8]) {
    match lock(&ABOVE).as_mut() {
        Some(queue) => queue.extend_from_slice(bytes),
        None => drop(std::io::stderr().write_all(bytes)),
    }
}

/// A thread that draws a frame ten times a second until it is dropped.
#[derive(Debug)]
pub(crate) struct Frames {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Frames {
    /// Starts to call `draw` with what others wrote meanwhile.
    pub(crate) fn start(draw: impl Fn(&str) + Send + 'static) -> Self {
        *lock(&ABOVE) = Some(Vec::new());
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = Arc::clone(&stop);
        let frames = move || {
            loop {
                let guard = lock(&stopped.0);
                let waited = stopped.1.wait_timeout_while(guard, FRAME, |stop| !*stop);
                if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                    return;
                }
                let others = lock(&ABOVE).as_mut().map(std::mem::take).unwrap_or_default();
                draw(&String::from_utf8_lossy(&others));
            }
        };
        // Without a thread the lines stand still, and what is finished is written at the end.
        let thread = std::thread::Builder::new().name("frames".to_owned()).spawn(frames).ok();
        Self { stop, thread }
    }

    /// Ends the thread and returns what others wrote since the last frame.
    pub(crate) fn stop(mut self) -> String {
        self.end();
        let others = lock(&ABOVE).take().unwrap_or_default();
        String::from_utf8_lossy(&others).into_owned()
    }

    fn end(&mut self) {
        *lock(&self.stop.0) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported by the hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.end();
        // After `stop` there is nothing; without it, as on the way out of a failure, nothing may be lost.
        if let Some(others) = lock(&ABOVE).take() {
            let _ = std::io::stderr().write_all(&others);
        }
    }
}

/// Locks, also after a panic elsewhere: what is guarded here is text to show.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
