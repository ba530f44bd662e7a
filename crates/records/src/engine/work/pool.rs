//! Gives records to workers and takes their answers.
//!
//! Each worker has some records at once and answers them in any order. When one ends without having answered all, nobody
//! knows which record it was: those it had are *suspects*, each then given to a worker that has nothing else, so that the
//! end of that one tells. Only such an end counts as a try.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cairn_model::Records;

use super::answer::{self, Answer};
use super::{Process, Spawn};
use crate::engine::Hands;
use crate::engine::error::EngineError;
use crate::engine::item::{Fate, Finished};
use crate::fields::key_json;

/// Records that a worker has at once.
const WINDOW: usize = 64;
/// Records that wait for another try while more are read.
const DELAYED: usize = 10_000;
/// How long results wait for others before they are delivered.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often workers are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long a worker may take to end once its standard input is closed.
const ENDING: Duration = Duration::from_secs(10);
/// Workers that end before any has answered anything: so many are no accident.
const FALSE_STARTS: u32 = 3;
/// The longest line of a worker.
const LINE_MAX: usize = 64 << 20;

enum Event {
    /// Records to work on.
    Input(Vec<Finished>),
    /// There are no more.
    InputEnded,
    Line {
        worker: usize,
        start: u64,
        line: Vec<u8>,
    },
    Ended {
        worker: usize,
        start: u64,
        how: Option<String>,
    },
}

/// A record that is being worked on.
struct Task {
    finished: Finished,
    key: String,
}

struct Worker {
    /// Which start of it this is: events of an earlier one are of no interest.
    start: u64,
    requests: Option<Sender<Vec<u8>>>,
    kill: Box<dyn Fn() + Send>,
    has: HashMap<String, Task>,
    /// Whether it has one suspect and nothing else.
    alone: bool,
    /// When it last took or answered something.
    moved: Instant,
    timed_out: bool,
}

/// What a pool works with.
pub(super) struct Pool<'p> {
    spawn: &'p dyn Spawn,
    records: &'p Records,
    hands: &'p Hands<'p>,
    most: usize,
    send: &'p mut dyn FnMut(Vec<Finished>) -> Result<(), EngineError>,
    workers: Vec<Option<Worker>>,
    starts: u64,
    false_starts: u32,
    answered: bool,
    queue: VecDeque<Task>,
    suspects: VecDeque<Task>,
    /// By when they are due, in milliseconds since 1970, and a number.
    delayed: BTreeMap<(i64, u64), Task>,
    delays: u64,
    done: Vec<Finished>,
    threads: Vec<JoinHandle<()>>,
}

impl<'p> Pool<'p> {
    pub(super) fn new(
        spawn: &'p dyn Spawn,
        records: &'p Records,
        hands: &'p Hands<'p>,
        most: usize,
        send: &'p mut dyn FnMut(Vec<Finished>) -> Result<(), EngineError>,
    ) -> Self {
        Self {
            spawn,
            records,
            hands,
            most,
            send,
            workers: (0..records.workers.max(1)).map(|_| None).collect(),
            starts: 0,
            false_starts: 0,
            answered: false,
            queue: VecDeque::new(),
            suspects: VecDeque::new(),
            delayed: BTreeMap::new(),
            delays: 0,
            done: Vec::new(),
            threads: Vec::new(),
        }
    }

    /// Works until the input has ended and everything is done.
    pub(super) fn run(mut self, work: Receiver<Vec<Finished>>) -> Result<(), EngineError> {
        let (events, inbox) = mpsc::channel();
        let (credit, credits) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let feed = events.clone();
            scope.spawn(move || {
                while credits.recv().is_ok() {
                    let Ok(input) = work.recv() else {
                        let _ = feed.send(Event::InputEnded);
                        return;
                    };
                    if feed.send(Event::Input(input)).is_err() {
                        return;
                    }
                }
            });
            let worked = self.turn(&events, &inbox, &credit);
            // Ends the feeder, if it waits for a credit; one that waits for input ends with whoever reads the source.
            drop(credit);
            let worked = worked.and_then(|()| self.close(&inbox));
            for worker in self.workers.iter().flatten() {
                (worker.kill)();
            }
            self.workers.clear();
            for thread in self.threads.drain(..) {
                let _ = thread.join();
            }
            worked
        })
    }

    fn turn(
        &mut self,
        events: &Sender<Event>,
        inbox: &Receiver<Event>,
        credit: &Sender<()>,
    ) -> Result<(), EngineError> {
        let (mut open, mut asked) = (true, false);
        let (mut flushed, mut checked) = (Instant::now(), Instant::now());
        loop {
            self.hands.check_stop()?;
            if checked.elapsed() >= TICK {
                // While others answer, one may hang.
                self.check_time();
                checked = Instant::now();
            }
            self.take_due();
            self.assign(events)?;
            let room = self.queue.len() < WINDOW * self.workers.len() && self.delayed.len() <= DELAYED;
            if open && !asked && room {
                asked = credit.send(()).is_ok();
            }
            let idle = self.workers.iter().flatten().all(|worker| worker.has.is_empty());
            let over =
                !open && idle && self.queue.is_empty() && self.suspects.is_empty() && self.delayed.is_empty();
            if self.done.len() >= self.most || over || (!self.done.is_empty() && flushed.elapsed() > PATIENCE)
            {
                flushed = Instant::now();
                if !self.done.is_empty() {
                    let before = Instant::now();
                    (self.send)(std::mem::take(&mut self.done))?;
                    // What that took is no worker's time: their answers were not read meanwhile.
                    let took = before.elapsed();
                    self.workers.iter_mut().flatten().for_each(|worker| worker.moved += took);
                }
                if over {
                    return Ok(());
                }
            }
            match inbox.recv_timeout(self.wait_for()) {
                Ok(Event::Input(input)) => {
                    asked = false;
                    self.take(input);
                }
                Ok(Event::InputEnded) => open = false,
                Ok(Event::Line { worker, start, line }) => self.answer(worker, start, &line)?,
                Ok(Event::Ended { worker, start, how }) => self.ended(worker, start, how)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(EngineError::Stopped),
            }
        }
    }

    fn wait_for(&self) -> Duration {
        let now = (self.hands.now)();
        let due = self.delayed.keys().next().map(|(at, _)| u64::try_from(at - now).unwrap_or(0));
        Duration::from_millis(due.unwrap_or(u64::MAX)).clamp(Duration::from_millis(1), TICK)
    }

    fn take(&mut self, input: Vec<Finished>) {
        let now = (self.hands.now)();
        for finished in input {
            // A tombstone carries nothing that could be worked on, and a bad record cannot be.
            if finished.item.tombstone || !matches!(finished.fate, Fate::Results(_)) {
                self.done.push(finished);
                continue;
            }
            let key = key_json(&finished.item.record, &self.records.key);
            let key = answer::canonical_key(&key).unwrap_or(key);
            // A clock that was set back makes no more of a pause than it was.
            let most = now.saturating_add_unsigned(
                self.records.retries.max_delay_ms.max(self.records.retries.delay_ms),
            );
            let due = finished.item.retry_at().filter(|at| *at > now).map(|at| at.min(most));
            let task = Task { finished, key };
            match due {
                Some(at) => self.delay(at, task),
                None => self.queue.push_back(task),
            }
        }
    }

    fn delay(&mut self, at: i64, task: Task) {
        self.delays += 1;
        self.delayed.insert((at, self.delays), task);
    }

    fn take_due(&mut self) {
        let now = (self.hands.now)();
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            self.queue.push_back(entry.remove());
        }
    }

    /// Gives tasks to workers that have room.
    fn assign(&mut self, events: &Sender<Event>) -> Result<(), EngineError> {
        for number in 0..self.workers.len() {
            loop {
                let (has, alone) = self.workers[number]
                    .as_ref()
                    .map_or((0, false), |worker| (worker.has.len(), worker.alone));
                let suspect = has == 0 && !self.suspects.is_empty();
                let task = if suspect {
                    self.suspects.pop_front()
                } else if alone || has >= WINDOW {
                    None
                } else {
                    self.queue.pop_front()
                };
                let Some(task) = task else { break };
                if self.workers[number].is_none() {
                    self.start(number, events)?;
                }
                let worker = self.workers[number].as_mut().expect("it was just started");
                if worker.has.contains_key(&task.key) {
                    // Another version of the same key: one after the other.
                    self.queue.push_front(task);
                    break;
                }
                let item = &task.finished.item;
                let tries = usize::from(item.tries()) + task.finished.attempts.len();
                let attempt = u32::try_from(tries).unwrap_or(u32::MAX).saturating_add(1);
                let line = answer::request(&task.key, attempt, &item.record);
                // A worker that has ended takes nothing; what it was given are then suspects.
                let _ = worker.requests.as_ref().map(|requests| requests.send(line));
                if worker.has.is_empty() {
                    worker.moved = Instant::now();
                }
                worker.alone = suspect;
                worker.has.insert(task.key.clone(), task);
            }
        }
        Ok(())
    }

    fn start(&mut self, number: usize, events: &Sender<Event>) -> Result<(), EngineError> {
        let spawned = self.spawn.spawn(number);
        let Process { mut stdin, stdout, wait, kill } =
            spawned.map_err(|error| EngineError::Worker { error: error.to_string(), help: error.help })?;
        self.starts += 1;
        let (start, to) = (self.starts, events.clone());
        let (requests, lines) = mpsc::channel::<Vec<u8>>();
        // Those of workers that have ended: one that is started a million times would keep them all.
        self.threads.retain(|thread| !thread.is_finished());
        self.threads.push(std::thread::spawn(move || {
            for line in lines {
                if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
                    break;
                }
            }
        }));
        self.threads.push(std::thread::spawn(move || {
            let mut from = BufReader::with_capacity(256 << 10, stdout);
            loop {
                let mut line = Vec::new();
                let read = std::io::Read::take(&mut from, LINE_MAX as u64).read_until(b'\n', &mut line);
                if !matches!(read, Ok(1..)) {
                    break;
                }
                if to.send(Event::Line { worker: number, start, line }).is_err() {
                    break;
                }
            }
            drop(from);
            let how = wait();
            let _ = to.send(Event::Ended { worker: number, start, how });
        }));
        self.workers[number] = Some(Worker {
            start,
            requests: Some(requests),
            kill,
            has: HashMap::new(),
            alone: false,
            moved: Instant::now(),
            timed_out: false,
        });
        Ok(())
    }

    fn answer(&mut self, number: usize, start: u64, line: &[u8]) -> Result<(), EngineError> {
        let Some(worker) = self.workers[number].as_mut().filter(|worker| worker.start == start) else {
            return Ok(());
        };
        if line.len() >= LINE_MAX && !line.ends_with(b"\n") {
            return Err(EngineError::Worker {
                error: format!("the worker wrote an answer of more than {} MiB", LINE_MAX >> 20),
                help: Some(
                    "have it write large values to files of their own and name them in the record".to_owned(),
                ),
            });
        }
        if !line.ends_with(b"\n") && answer::is_cut_off(line) {
            // It ended in the middle of an answer: the record counts as one that it has not answered.
            return Ok(());
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let shown = || {
            let text: String = String::from_utf8_lossy(line).chars().take(200).collect();
            text.escape_debug().to_string()
        };
        let (key, answer) = answer::read(line).map_err(|why| EngineError::Worker {
            error: format!("the worker wrote `{}`: {why}", shown()),
            help: Some(
                "a worker's standard output carries answers alone, one JSON object a line; let it print anything else to standard error"
                    .to_owned(),
            ),
        })?;
        let Some(task) = worker.has.remove(&key) else {
            return Err(EngineError::Worker {
                error: format!("the worker answered the key {key}, which it does not have, in `{}`", shown()),
                help: Some("answer each key that was sent once, with the `key` as it was sent".to_owned()),
            });
        };
        worker.alone = false;
        worker.moved = Instant::now();
        self.answered = true;
        self.false_starts = 0;
        let Task { mut finished, key } = task;
        match answer {
            Answer::Records(records) => {
                finished.fate = Fate::Results(records);
                self.done.push(finished);
            }
            Answer::Drop => {
                finished.fate = Fate::Dropped;
                self.done.push(finished);
            }
            Answer::Error { error, retry } => self.fail(Task { finished, key }, error, retry),
        }
        Ok(())
    }

    /// Notes a try that failed: the record is tried again, or has failed for good.
    fn fail(&mut self, mut task: Task, error: String, retry: bool) {
        let now = (self.hands.now)();
        task.finished.attempts.push((now, error.clone()));
        let tries = u32::from(task.finished.item.tries())
            + u32::try_from(task.finished.attempts.len()).unwrap_or(u32::MAX);
        if !retry || tries >= self.records.retries.attempts {
            task.finished.fate = Fate::Failed { class: "worker", error };
            self.done.push(task.finished);
            return;
        }
        let delay = self.hands.delay_ms(&self.records.retries, tries);
        let at = now.saturating_add(i64::try_from(delay).unwrap_or(i64::MAX));
        self.done.push(Finished { fate: Fate::Retry { at }, ..task.finished.clone() });
        self.delay(at, task);
    }

    fn ended(&mut self, number: usize, start: u64, how: Option<String>) -> Result<(), EngineError> {
        let Some(worker) = self.workers[number].take_if(|worker| worker.start == start) else {
            return Ok(());
        };
        if worker.has.is_empty() {
            return Ok(());
        }
        let how_badly = how.is_some();
        let how = if worker.timed_out {
            format!("the worker did not answer within {} ms", self.records.worker_timeout_ms)
        } else {
            how.map_or_else(
                || "the worker ended without an answer".to_owned(),
                |how| format!("the worker {how}"),
            )
        };
        if !self.answered {
            self.false_starts += 1;
            // One that also ends badly with nothing to do is no victim of its records.
            let most = FALSE_STARTS.min(self.records.retries.attempts);
            let is_victim = self.false_starts >= most && how_badly && self.ends_well(number)?;
            self.answered |= is_victim;
            if self.false_starts >= most && !is_victim {
                return Err(EngineError::Worker {
                    error: format!("{how}, {most} times, before it answered anything"),
                    help: Some("see its standard error in `cairn logs`".to_owned()),
                });
            }
        }
        tracing::warn!(worker = number, records = worker.has.len(), "{how}");
        let alone = worker.alone || worker.has.len() == 1;
        for task in worker.has.into_values() {
            if alone {
                self.fail(task, how.clone(), true);
            } else {
                self.suspects.push_back(task);
            }
        }
        Ok(())
    }

    /// Starts a worker that is given nothing, and returns whether it ends well.
    fn ends_well(&self, number: usize) -> Result<bool, EngineError> {
        let spawned = self.spawn.spawn(number);
        let Process { stdin, mut stdout, wait, kill } =
            spawned.map_err(|error| EngineError::Worker { error: error.to_string(), help: error.help })?;
        drop(stdin);
        let (ended, end) = mpsc::channel();
        let waiting = std::thread::spawn(move || {
            let _ = std::io::copy(&mut stdout, &mut std::io::sink());
            let _ = ended.send(wait());
        });
        let until = Instant::now() + ENDING;
        let how = loop {
            let left = until.saturating_duration_since(Instant::now());
            match end.recv_timeout(left.min(Duration::from_millis(50))) {
                Err(RecvTimeoutError::Timeout) if !left.is_zero() && !(self.hands.stop)() => {}
                how => break how,
            }
        };
        kill();
        let _ = waiting.join();
        self.hands.check_stop()?;
        Ok(matches!(how, Ok(None)))
    }

    /// Ends workers that have taken too long.
    fn check_time(&mut self) {
        let most = Duration::from_millis(self.records.worker_timeout_ms);
        for worker in self.workers.iter_mut().flatten() {
            if !worker.has.is_empty() && !worker.timed_out && worker.moved.elapsed() > most {
                worker.timed_out = true;
                (worker.kill)();
            }
        }
    }

    /// Closes the workers' standard input and waits until they have ended.
    fn close(&mut self, inbox: &Receiver<Event>) -> Result<(), EngineError> {
        for worker in self.workers.iter_mut().flatten() {
            worker.requests = None;
        }
        let until = Instant::now() + ENDING;
        while self.workers.iter().any(Option::is_some) {
            let left = until.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(left.min(Duration::from_millis(50))) {
                Ok(Event::Ended { worker, start, how }) => {
                    let ended = self.workers[worker].take_if(|known| known.start == start);
                    if let (Some(_), Some(how)) = (ended, how) {
                        tracing::warn!(worker, "at its end the worker {how}");
                    }
                }
                Ok(Event::Line { worker, start, line }) => self.answer(worker, start, &line)?,
                Ok(Event::Input(_) | Event::InputEnded) => {}
                Err(_) if left.is_zero() => {
                    tracing::warn!(
                        "a worker does not end although its standard input is closed; it is killed"
                    );
                    return Ok(());
                }
                Err(_) => self.hands.check_stop()?,
            }
        }
        Ok(())
    }
}
