//! Sensors: what starts a run when something outside has changed.
//!
//! Each new *content* is one event: a file that is touched, a command that prints the same again, a server that answers
//! with another header and the same validator start nothing. What a sensor saw last is stored in the batch with the run
//! that it starts, so that a restart neither loses an event nor tells it twice. The first look only learns what there is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cairn_dag::Glob;
use cairn_executor::isolation::{Limits, NoAnswer, ask};
use cairn_executor::{DiskWorld, Project};
use cairn_model::{Digest, Domain, DropReason, Name, ProjectPath, RunId, Sensor, SensorKind, Timestamp};
use cairn_scheduler::definition::{default_shell, kept_back};
use cairn_scheduler::launch::Asked;
use cairn_store::{Batch, Trigger, TriggerKind};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use crate::carry_out::blocking;
use crate::catalog::Entry;
use crate::daemon::{Daemon, StoreError, lock};
use crate::fire::Missed;
use crate::hub::Change;
use crate::submit::{Order, SubmitError, enter};
use crate::trouble::{PassedOver, Trouble};

/// How long a sensor's command or request may take.
const WITHIN: Duration = Duration::from_mins(1);
/// How far a sensor's command is listened to.
const LIMITS: Limits = Limits { within: WITHIN, bytes: 64 << 10 };
/// Bytes of an answer that count.
const ANSWER_MAX: u64 = 16 << 20;
/// Sensors that look at once. Each has a thread of those that the daemon itself needs, up to [`WITHIN`] where nobody answers.
const AT_ONCE: usize = 16;
/// A file's stamp tells that it is the same when it is at least so old: filesystems tell times in steps of up to 2 s.
const STAMP_COUNTS_AFTER: Duration = Duration::from_secs(2);
/// Calls in vain that are written down one by one while a pipeline is paused; all later ones are one more.
const MISSED_MAX: usize = 100;

/// The places of those that look: files do not wait for systems outside.
struct Places {
    files: Arc<Semaphore>,
    outside: Arc<Semaphore>,
}

/// The files that a sensor has read, so that they are read again only when they have changed.
type Read = HashMap<ProjectPath, (Stamp, blake3::Hash)>;

/// What changes when a file does: its filesystem, number and size, and both its times in seconds and nanoseconds.
type Stamp = (u64, u64, u64, [i64; 4]);

fn stamp_of(meta: &Metadata) -> Stamp {
    let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
    (meta.dev(), meta.ino(), meta.len(), times)
}

impl Daemon {
    /// Looks at what sensors look at, for ever.
    pub async fn keep_sensors(self: &Arc<Self>) {
        let mut watching: BTreeMap<(Name, String), JoinHandle<()>> = BTreeMap::new();
        let mut changes = self.hub.listen();
        let [files, outside] = [AT_ONCE; 2].map(|places| Arc::new(Semaphore::new(places)));
        let places = Arc::new(Places { files, outside });
        loop {
            let wanted = self.wanted_sensors();
            watching.retain(|key, task| {
                let stays = wanted.contains_key(key) && !task.is_finished();
                if !stays {
                    task.abort();
                }
                stays
            });
            let named = |(entry, sensor): &(Arc<Entry>, Sensor)| (entry.name.clone(), name_of(&sensor.kind));
            self.troubles.keep(&wanted.values().map(named).collect::<BTreeSet<_>>());
            for (key, (entry, sensor)) in wanted {
                watching.entry(key.clone()).or_insert_with(|| {
                    let (daemon, places) = (Arc::clone(self), Arc::clone(&places));
                    tokio::spawn(async move { daemon.keep_sensor(&entry, &sensor, &places).await })
                });
            }
            loop {
                match changes.recv().await {
                    Ok(Change::Run { .. }) => {}
                    // Something changed, or was missed: all is looked at anew.
                    Ok(Change::Pipelines) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                }
            }
        }
    }

    /// Returns the sensors that are to look, by pipeline and by what they say: one that was edited is another.
    fn wanted_sensors(&self) -> BTreeMap<(Name, String), (Arc<Entry>, Sensor)> {
        let mut wanted = BTreeMap::new();
        for entry in self.catalog().entries() {
            let sensors = entry.schedule.iter().flat_map(|schedule| &schedule.sensors);
            for sensor in sensors.filter(|sensor| !matches!(sensor.kind, SensorKind::Webhook { .. })) {
                let key = format!("{sensor:?} in {}", entry.located.file.display());
                wanted.insert((entry.name.clone(), key), (Arc::clone(entry), sensor.clone()));
            }
        }
        wanted
    }

    async fn keep_sensor(self: &Arc<Self>, entry: &Arc<Entry>, sensor: &Sensor, places: &Places) {
        let name = name_of(&sensor.kind);
        let mut read = Read::new();
        loop {
            let looked = look(entry, &sensor.kind, &mut read, places).await;
            self.tell_trouble(&entry.name, &name, &looked);
            if let Ok(Look { seen: Some(seen), .. }) = looked {
                let (daemon, pipeline, name) = (Arc::clone(self), entry.name.clone(), name.clone());
                let sensed = blocking(move || daemon.sensed(&pipeline, &name, seen, None)).await;
                if let Err(error) = sensed {
                    tracing::error!(%error, "what a sensor saw cannot be written down; it looks again");
                }
            }
            tokio::time::sleep(Duration::from_millis(sensor.poll_ms.max(100))).await;
        }
    }

    /// Says once what is in a sensor's way, and has it shown until it is out of it.
    fn tell_trouble(&self, pipeline: &Name, sensor: &str, looked: &Result<Look, String>) {
        let trouble = match looked {
            Ok(look) => Trouble { cannot_look: None, passed_over: look.passed_over.clone() },
            Err(why) => Trouble { cannot_look: Some(why.clone()), passed_over: PassedOver::default() },
        };
        if !self.troubles.met(pipeline, sensor, &trouble) {
            return;
        }
        match looked {
            Err(why) => tracing::warn!(%pipeline, sensor, %why, "a sensor cannot look"),
            Ok(look) if look.passed_over.count == 0 => {
                tracing::info!(%pipeline, sensor, "a sensor looks again");
            }
            Ok(look) => {
                let PassedOver { named, count } = &look.passed_over;
                tracing::warn!(%pipeline, sensor, count, files = ?named, "a sensor passes files over");
            }
        }
        self.hub.tell(Change::Pipelines);
    }

    /// Starts a run when a sensor saw something new.
    fn sensed(
        &self,
        pipeline: &Name,
        sensor: &str,
        seen: Seen,
        params: Option<Vec<(String, String)>>,
    ) -> Result<Option<RunId>, StoreError> {
        let _deciding = lock(&self.deciding);
        // As it is now: it may have been edited since the sensor began to look.
        let Some(entry) = &self.catalog().get(pipeline).cloned() else { return Ok(None) };
        let mut standing = self.store.schedule(&entry.name)?;
        let digest = match seen {
            Seen::Content(digest) => digest,
            Seen::Nothing => Domain::Tree.digest(b"nothing"),
        };
        if standing.seen.get(sensor) == Some(&digest) {
            return Ok(None);
        }
        if let Some((since, _)) = standing.paused {
            if params.is_some() {
                self.call_missed(pipeline, sensor, &digest, since)?;
            } else {
                tracing::debug!(%pipeline, sensor, "it is paused: what a sensor saw counts once it goes on");
            }
            return Ok(None);
        }
        let first = standing.seen.insert(sensor.to_owned(), digest).is_none();
        let mut batch = Batch::new();
        batch.put_schedule(&entry.name, &standing);
        // A webhook that calls is news; what lies there already is not, and neither is that something went.
        if (first && params.is_none()) || seen == Seen::Nothing {
            self.commit(batch)?;
            return Ok(None);
        }
        let now = self.clock.now();
        let run = RunId::generate(&*self.clock);
        let order = Order {
            pipeline: entry.name.clone(),
            asked: Asked { params: params.unwrap_or_default(), ..Asked::default() },
            logical_time: None,
            priority: entry.schedule.as_ref().map_or(0, |schedule| schedule.priority),
            trigger: Trigger { kind: TriggerKind::Sensor, detail: sensor.to_owned() },
            not_before: None,
        };
        let waiting = enter(&mut batch, run, entry, &order, now);
        self.commit(batch)?;
        self.has_waiting(waiting);
        Ok(Some(run))
    }

    /// Writes down that a webhook was called in vain: once a content, however often who calls tries again; and of very many
    /// contents that there are more.
    fn call_missed(
        &self,
        pipeline: &Name,
        sensor: &str,
        content: &Digest,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        let what = format!("{sensor} {}", &content.to_string()[..8]);
        let reason = DropReason::Paused;
        let now = self.clock.now();
        let known = self.store.occurrences(pipeline, MISSED_MAX)?;
        let known: Vec<_> = known.into_iter().filter(|(_, _, known)| known.decided >= since).collect();
        let what = if known.len() < MISSED_MAX { what } else { format!("{sensor} and more") };
        let missed = Missed { pipeline, what: &what, at: now, interval: None, reason };
        let fate = missed.fate();
        if known.iter().any(|(_, _, known)| known.fate == fate) {
            return Ok(());
        }
        let mut batch = Batch::new();
        self.miss(&mut batch, &missed, now);
        // Nothing follows from it: what tells of it may wait for the next sync.
        let _ = self.write(batch)?;
        Ok(())
    }

    /// Takes a call of a webhook: its body is the content. Returns the run that it starts, none where it came before.
    pub fn called(&self, hook: &Name, body: &[u8]) -> Result<Vec<RunId>, SubmitError> {
        let listens = |entry: &&Arc<Entry>| {
            let mut sensors = entry.schedule.iter().flat_map(|schedule| &schedule.sensors);
            sensors.any(|sensor| matches!(&sensor.kind, SensorKind::Webhook { name } if name == hook))
        };
        let entries: Vec<_> = self.catalog().entries().filter(listens).cloned().collect();
        if entries.is_empty() {
            return Err(SubmitError::UnknownHook { name: hook.to_string() });
        }
        let digest = Domain::File.digest(body);
        let name = name_of(&SensorKind::Webhook { name: hook.clone() });
        let mut runs = Vec::new();
        for entry in entries {
            runs.extend(self.sensed(&entry.name, &name, Seen::Content(digest), Some(Vec::new()))?);
        }
        Ok(runs)
    }
}

/// What a sensor saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// There is nothing.
    Nothing,
    /// This.
    Content(Digest),
}

/// What a look gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Look {
    /// What is there; `None`: it is not settled.
    seen: Option<Seen>,
    /// Files that cannot be looked at, beside those that were.
    passed_over: PassedOver,
}

impl From<Seen> for Look {
    fn from(seen: Seen) -> Self {
        Self { seen: Some(seen), passed_over: PassedOver::default() }
    }
}

/// What a sensor is called where it is stored and shown.
fn name_of(kind: &SensorKind) -> String {
    match kind {
        SensorKind::Files { pattern, .. } => format!("files {pattern}"),
        SensorKind::Command { text } => format!("command {text}"),
        SensorKind::Http { url } => format!("http {url}"),
        SensorKind::Webhook { name } => format!("webhook {name}"),
    }
}

/// Looks once.
async fn look(
    entry: &Arc<Entry>,
    kind: &SensorKind,
    read: &mut Read,
    places: &Places,
) -> Result<Look, String> {
    let places = match kind {
        SensorKind::Files { .. } => &places.files,
        SensorKind::Command { .. } | SensorKind::Http { .. } => &places.outside,
        SensorKind::Webhook { .. } => return Ok(Look::default()),
    };
    // It goes with the thread: one whose sensor is given up has its place until it is back.
    let place = Arc::clone(places).acquire_owned().await.map_err(|error| error.to_string())?;
    let folder = entry.located.file.parent().unwrap_or(Path::new("/")).to_owned();
    match kind {
        SensorKind::Files { pattern, settle_ms } => {
            let (root, pattern) = (entry.located.root.clone(), pattern.clone());
            let settle = Duration::from_millis(*settle_ms);
            let mut known = std::mem::take(read);
            let (looked, known) = blocking(move || {
                let _place = place;
                (look_at_files((&folder, &root), &pattern, settle, &mut known), known)
            })
            .await;
            *read = known;
            looked
        }
        SensorKind::Command { text } => {
            let (root, state) = (entry.located.root.clone(), entry.located.state.clone());
            let (state_id, text) = (Project::new(root, state, folder.clone()).state_id(), text.clone());
            blocking(move || {
                let _place = place;
                look_at_command(&folder, &state_id, &text)
            })
            .await
        }
        SensorKind::Http { url } => {
            let url = url.clone();
            blocking(move || {
                let _place = place;
                look_at_url(&url)
            })
            .await
        }
        SensorKind::Webhook { .. } => Ok(Look::default()),
    }
}

/// A digest over the names and the bytes of the files; none while one of them may still be written. What stands in `read`
/// is not read again. What no pipeline could have as an input is passed over.
fn look_at_files(
    (folder, root): (&Path, &Path),
    pattern: &str,
    settle: Duration,
    read: &mut Read,
) -> Result<Look, String> {
    let glob = Glob::parse(pattern).map_err(|error| error.to_string())?;
    let world = DiskWorld::new(folder.to_owned(), root.to_owned());
    let (paths, odd) = world.matches_and_odd(&glob).map_err(|error| error.to_string())?;
    let odd = odd.iter().map(|odd| odd.to_string().replace(char::is_control, "?"));
    let passed_over = PassedOver::of(odd.collect());
    let mut hasher = Domain::Tree.hasher();
    let there: HashSet<&ProjectPath> = paths.iter().collect();
    read.retain(|path, _| there.contains(path));
    let mut any = false;
    for path in &paths {
        let file = path.below(folder);
        let failed = |error: std::io::Error| format!("`{path}`: {error}");
        let meta = std::fs::metadata(&file).map_err(failed)?;
        let looked = now();
        let age = meta.modified().ok().and_then(|modified| looked.duration_since(modified).ok());
        // One of the future has no age; it is not looked at for ever.
        if age.is_some_and(|age| age < settle) {
            return Ok(Look { seen: None, passed_over });
        }
        let stamp = stamp_of(&meta);
        let bytes = match read.get(path) {
            Some((of, bytes)) if *of == stamp => *bytes,
            _ => {
                let mut bytes = blake3::Hasher::new();
                bytes.update_reader(std::fs::File::open(&file).map_err(failed)?).map_err(failed)?;
                let after = std::fs::metadata(&file).map_err(failed)?;
                if stamp_of(&after) != stamp {
                    return Ok(Look { seen: None, passed_over });
                }
                bytes.finalize()
            }
        };
        if is_settled(&meta, looked) {
            read.insert(path.clone(), (stamp, bytes));
        }
        hasher.update(&(path.as_str().len() as u64).to_be_bytes()).update(path.as_str().as_bytes());
        hasher.update(bytes.as_bytes());
        any = true;
    }
    let seen = if any { Seen::Content(hasher.finalize().into()) } else { Seen::Nothing };
    Ok(Look { seen: Some(seen), passed_over })
}

/// Returns whether a file's stamp tells any later change of it.
fn is_settled(meta: &Metadata, looked: SystemTime) -> bool {
    let changed = u64::try_from(meta.mtime().max(meta.ctime())).map(Duration::from_secs);
    let changed = changed.ok().and_then(|changed| SystemTime::UNIX_EPOCH.checked_add(changed));
    let age = changed.and_then(|changed| looked.duration_since(changed).ok());
    // The seconds are rounded down.
    age.is_some_and(|age| age > STAMP_COUNTS_AFTER + Duration::from_secs(1))
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is compared with the stamps of files, which are of the same clock"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// What a command prints; nothing, or another status than 0, is no event.
fn look_at_command(folder: &Path, state_id: &str, text: &str) -> Result<Look, String> {
    let mut argv = default_shell();
    argv.push(text.to_owned());
    let mut command = std::process::Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(folder);
    if let Some(variable) = kept_back() {
        command.env_remove(variable);
    }
    let output = ask(&mut command, state_id, LIMITS).map_err(|no_answer| match no_answer {
        NoAnswer::TooMuch(_) => format!("it {no_answer}: have it print a digest (`… | sha256sum`)"),
        _ => format!("it {no_answer}"),
    })?;
    let printed = output.status.success() && !output.stdout.is_empty();
    Ok(if printed { Seen::Content(Domain::File.digest(&output.stdout)) } else { Seen::Nothing }.into())
}

/// The validator of an address, else the digest of what is there.
fn look_at_url(url: &str) -> Result<Look, String> {
    use std::io::Read as _;
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(WITHIN)).http_status_as_error(true).build().into();
    let mut response = agent.get(url).call().map_err(|error| error.to_string())?;
    for header in ["etag", "last-modified"] {
        if let Some(validator) = response.headers().get(header) {
            let text = [header.as_bytes(), b" ", validator.as_bytes()].concat();
            return Ok(Seen::Content(Domain::File.digest(&text)).into());
        }
    }
    let mut bytes = Vec::new();
    let reader = response.body_mut().as_reader();
    reader.take(ANSWER_MAX).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Seen::Content(Domain::File.digest(&bytes)).into())
}

#[cfg(test)]
mod tests {
    use cairn_model::FixedClock;

    use super::*;
    use crate::fire::simulate::idle_daemon;

    #[test]
    fn of_very_many_calls_of_a_paused_pipeline_only_so_many_are_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[schedule]\nsensors = [{ webhook = 'w' }]\n[stages.a]\nrun = 'true'\noutputs = []\n";
        std::fs::write(folder.path().join("p.toml"), text).unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp(0)));
        let daemon = idle_daemon(folder.path(), Arc::clone(&clock));
        let (pipeline, hook) = ("p".parse().unwrap(), "w".parse().unwrap());
        daemon.pause(&pipeline, "a test".to_owned()).unwrap();
        for call in 0..MISSED_MAX + 20 {
            clock.advance(1000);
            for _ in 0..2 {
                assert_eq!(daemon.called(&hook, call.to_string().as_bytes()).unwrap(), []);
            }
        }
        let known = daemon.store.occurrences(&pipeline, 1000).unwrap();
        let more = cairn_store::Fate::Dropped(format!("webhook w and more: {}", DropReason::Paused));
        assert_eq!(known.len(), MISSED_MAX + 1);
        assert_eq!(known.iter().filter(|(_, _, known)| known.fate == more).count(), 1);
    }

    #[test]
    fn files_count_by_what_is_in_them_once_they_are_settled() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let look =
            |settle| look_at_files((&folder, &folder), "*.csv", settle, &mut Read::new()).unwrap().seen;
        assert_eq!(look(Duration::ZERO), Some(Seen::Nothing), "there is none");
        std::fs::write(folder.join("a.csv"), "1").unwrap();
        assert_eq!(look(Duration::from_hours(1)), None, "it may still be written");
        let one = look(Duration::ZERO).unwrap();
        std::fs::write(folder.join("a.csv"), "1").unwrap();
        assert_eq!(look(Duration::ZERO), Some(one), "touched");
        std::fs::write(folder.join("a.csv"), "2").unwrap();
        let two = look(Duration::ZERO).unwrap();
        assert_ne!(one, two);
        std::fs::remove_file(folder.join("a.csv")).unwrap();
        std::fs::write(folder.join("b.csv"), "2").unwrap();
        assert_ne!(look(Duration::ZERO), Some(two), "another name");
    }

    #[test]
    fn what_cannot_be_looked_at_is_passed_over_and_told() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let look = || look_at_files((&folder, &folder), "*.csv", Duration::ZERO, &mut Read::new()).unwrap();
        std::fs::write(folder.join("a.csv"), "1").unwrap();
        let one = look();
        std::os::unix::fs::symlink("/etc/passwd", folder.join("out.csv")).unwrap();
        std::os::unix::fs::symlink("loop.csv", folder.join("loop.csv")).unwrap();
        std::fs::write(folder.join("a\nb.csv"), "1").unwrap();
        std::fs::write(folder.join(std::ffi::OsStr::from_bytes(b"\xff.csv")), "1").unwrap();
        let with = look();
        assert_eq!(with.seen, one.seen, "it is no event");
        assert_eq!(with.passed_over.count, 4, "{with:?}");
        assert!(with.passed_over.named.iter().any(|why| why.contains("a?b.csv")), "{with:?}");
        std::fs::write(folder.join("b.csv"), "1").unwrap();
        assert_ne!(look().seen, one.seen, "another file beside them is");
    }

    #[test]
    fn a_file_whose_stamp_stays_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let mut read = Read::new();
        let look = |read: &mut Read| {
            look_at_files((&folder, &folder), "*.csv", Duration::ZERO, read).unwrap().seen.unwrap()
        };
        for name in ["a.csv", "b.csv"] {
            std::fs::write(folder.join(name), "1").unwrap();
        }
        let one = look(&mut read);
        read.clear();
        // As if it had been read when it was settled.
        let (a, of) =
            (ProjectPath::parse("a.csv").unwrap(), stamp_of(&folder.join("a.csv").metadata().unwrap()));
        read.insert(a.clone(), (of, blake3::hash(b"2")));
        assert_ne!(look(&mut read), one, "what is known of it counts");
        read.insert(a.clone(), ((of.0, of.1, of.2 + 1, of.3), blake3::hash(b"2")));
        assert_eq!(look(&mut read), one, "another stamp: it was read");
        std::fs::remove_file(folder.join("a.csv")).unwrap();
        look(&mut read);
        assert!(!read.contains_key(&a), "what is gone is forgotten");
    }

    #[test]
    fn a_file_is_settled_when_any_later_change_would_show() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let meta = file.path().metadata().unwrap();
        let changed = meta.modified().unwrap();
        assert!(!is_settled(&meta, changed + Duration::from_secs(1)));
        assert!(is_settled(&meta, changed + Duration::from_secs(5)));
    }

    #[test]
    fn a_command_counts_by_what_it_prints() {
        let folder = Path::new("/");
        let one = look_at_command(folder, "test", "echo 1").unwrap();
        assert!(matches!(one.seen, Some(Seen::Content(_))));
        assert_eq!(look_at_command(folder, "test", "echo 1; echo x >&2").unwrap(), one);
        assert_ne!(look_at_command(folder, "test", "echo 2").unwrap(), one);
        assert_eq!(look_at_command(folder, "test", "true").unwrap(), Seen::Nothing.into());
        assert_eq!(look_at_command(folder, "test", "echo 1; exit 3").unwrap(), Seen::Nothing.into());
        assert_eq!(
            look_at_command(folder, "test", "exec yes").unwrap_err(),
            "it prints more than 64 KiB: have it print a digest (`… | sha256sum`)"
        );
        let [one, other] = ["1", "2"].map(|word| {
            look_at_command(folder, "test", &format!("head -c 99999 /dev/zero | tr '\\0' {word} | sha256sum"))
                .unwrap()
        });
        assert_ne!(one, other, "what the help says does");
    }
}
