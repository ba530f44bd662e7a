//! The project's pipelines as the daemon knows them: read from their files, read again when these change.
//!
//! A file with errors does not take its pipeline away: the last text without errors stays in force, and what is wrong with
//! the new one is shown. Which text that is, is in the store, so that the next daemon has it in force too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cairn_dag::{ParamValue, Style, circle_text, circles};
use cairn_model::{Digest, Domain, Name, Schedule, Timestamp};
use cairn_scheduler::definition::{Definition, Given};

/// Where a pipeline file is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Located {
    /// The file, absolute.
    pub file: PathBuf,
    /// The file as people are shown it: relative to the project.
    pub shown: String,
    /// The project's folder.
    pub root: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// The pipeline's name where the file has none.
    pub default_name: String,
}

impl Located {
    /// Makes a definition of the file with a text.
    pub fn with_text(&self, bytes: Vec<u8>) -> Definition {
        Definition {
            root: self.root.clone(),
            state: self.state.clone(),
            file: self.file.clone(),
            shown: self.shown.clone(),
            default_name: self.default_name.clone(),
            bytes,
        }
    }
}

/// A pipeline, as its last text without errors says.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// What it is for; empty where the file does not say.
    pub description: String,
    /// Its file.
    pub located: Located,
    /// The text.
    pub text: Arc<[u8]>,
    /// The digest under which the store keeps the text.
    pub digest: Digest,
    /// Its params with their defaults.
    pub params: BTreeMap<String, ParamValue>,
    /// Its stages, in the order of the file.
    pub stages: Vec<Name>,
    /// How many instances they have.
    pub instances: usize,
    /// When it is run by itself.
    pub schedule: Option<Schedule>,
    /// Whether a run of it needs an interval.
    pub reads_interval: bool,
    /// Whether runs of it for different times differ.
    pub volatile: bool,
    /// What may not be as meant, as the command line draws it; empty where there is nothing.
    pub warnings: String,
    /// Where it follows itself by `after`: the pipelines of the circle, each of which follows the next; it is the first.
    pub circle: Vec<Name>,
    /// What is wrong with the text that is in the file now, where that is not the text in force.
    pub broken: Option<String>,
}

/// A file whose pipeline was never without errors.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The file.
    pub located: Located,
    /// What is wrong, as the command line draws it.
    pub report: String,
}

/// The pipelines, by their names.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    entries: BTreeMap<Name, Arc<Entry>>,
    broken: BTreeMap<PathBuf, Broken>,
    /// How each file looked when it was read.
    stamps: BTreeMap<PathBuf, Stamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

/// Findings are kept as text that a page or a terminal can show.
pub(crate) const PLAIN: Style = Style { ansi: false, width: 100 };

/// Bytes of the largest pipeline file that is read.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Catalog {
    /// Returns the pipelines in the order of their names.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// Returns the files of which there is no pipeline, because they have errors.
    pub fn broken(&self) -> impl Iterator<Item = &Broken> {
        self.broken.values()
    }

    /// Returns a pipeline.
    pub fn get(&self, name: &Name) -> Option<&Arc<Entry>> {
        self.entries.get(name)
    }

    /// Has a file read again, whether or not it looks as it did.
    pub fn forget(&mut self, file: &Path) {
        self.stamps.remove(file);
    }

    /// Reads what changed of the files that are there now. Returns the names of the pipelines that are new, changed or gone.
    pub fn reload(&mut self, located: &[Located], now: Timestamp) -> BTreeSet<Name> {
        let mut changed = BTreeSet::new();
        let there: BTreeSet<&PathBuf> = located.iter().map(|located| &located.file).collect();
        self.entries.retain(|name, entry| {
            let stays = there.contains(&entry.located.file);
            if !stays {
                changed.insert(name.clone());
            }
            stays
        });
        self.broken.retain(|file, _| there.contains(file));
        // One that was refused for its name may have it now.
        self.stamps.retain(|file, _| there.contains(file) && !self.broken.contains_key(file));
        for located in located {
            let stamp = match std::fs::metadata(&located.file) {
                Ok(meta) => Stamp { modified: meta.modified().ok(), bytes: meta.len() },
                Err(_) => Stamp { modified: None, bytes: 0 },
            };
            if self.stamps.get(&located.file) == Some(&stamp) {
                continue;
            }
            self.stamps.insert(located.file.clone(), stamp);
            changed.extend(self.read(located, now));
        }
        if !changed.is_empty() {
            changed.extend(self.find_circles());
        }
        changed
    }

    /// Has an earlier text of a file with errors be in force, of which there is no pipeline. Returns the names of the pipelines
    /// that are new or changed: none where that text has errors too by now.
    pub(crate) fn fall_back(&mut self, file: &Path, text: Vec<u8>, now: Timestamp) -> BTreeSet<Name> {
        let mut changed = BTreeSet::new();
        let Some(broken) = self.broken.get(file) else { return changed };
        let Ok(entry) = entry(&broken.located, text, now) else { return changed };
        if self.entries.contains_key(&entry.name) {
            return changed;
        }
        changed.insert(entry.name.clone());
        let entry = Entry { broken: Some(broken.report.clone()), ..entry };
        self.entries.insert(entry.name.clone(), Arc::new(entry));
        self.broken.remove(file);
        changed.extend(self.find_circles());
        changed
    }

    /// Says of what is wrong with files what `before` did not know.
    pub(crate) fn tell_news(&self, before: &Self) {
        for entry in self.entries.values().filter(|entry| entry.broken.is_some()) {
            let known = before.entries.get(&entry.name).is_some_and(|known| known.broken == entry.broken);
            if !known {
                let why = entry.broken.as_deref().map_or("", first_line);
                tracing::warn!(pipeline = %entry.name, file = entry.located.shown, why, "a file has errors: its last text without stays in force");
            }
        }
        for (file, broken) in &self.broken {
            if before.broken.get(file).is_none_or(|known| known.report != broken.report) {
                let why = first_line(&broken.report);
                tracing::warn!(
                    file = broken.located.shown,
                    why,
                    "a file has errors: there is no pipeline of it"
                );
            }
        }
    }

    /// Finds anew who follows itself. Returns the names of those of which that is another than before.
    fn find_circles(&mut self) -> Vec<Name> {
        let after = |entry: &Arc<Entry>| entry.schedule.as_ref().map(|schedule| schedule.after.clone());
        let after =
            self.entries.iter().filter_map(|(name, entry)| Some((name.clone(), after(entry)?))).collect();
        let mut circles = circles(&after);
        let mut changed = Vec::new();
        for (name, entry) in &mut self.entries {
            let circle = circles.remove(name).unwrap_or_default();
            if entry.circle == circle {
                continue;
            }
            if !circle.is_empty() {
                tracing::warn!(circle = %circle_text(&circle), "pipelines follow each other in a circle: none is run for that");
            }
            *entry = Arc::new(Entry { circle, ..Entry::clone(entry) });
            changed.push(name.clone());
        }
        changed
    }

    /// Reads one file. Returns the names whose pipelines are others now.
    fn read(&mut self, located: &Located, now: Timestamp) -> Vec<Name> {
        let before = self.entries.values().find(|entry| entry.located.file == located.file).cloned();
        let failed = |catalog: &mut Self, report: String| {
            if let Some(entry) = &before {
                let kept = Entry { broken: Some(report), ..Entry::clone(entry) };
                catalog.entries.insert(entry.name.clone(), Arc::new(kept));
                return vec![entry.name.clone()];
            }
            catalog.broken.insert(located.file.clone(), Broken { located: located.clone(), report });
            Vec::new()
        };
        let bytes = match read_text(located) {
            Ok(bytes) => bytes,
            Err(why) => return failed(self, format!("cannot read `{}`: {why}", located.shown)),
        };
        let entry = match entry(located, bytes, now) {
            Ok(entry) => entry,
            Err(report) => return failed(self, report),
        };
        if let Some(other) = self.entries.get(&entry.name)
            && other.located.file != located.file
        {
            let report = format!(
                "error: `{}` is called `{}`, as `{}` is\nhelp: give each pipeline a name of its own\n",
                located.shown, entry.name, other.located.shown
            );
            return failed(self, report);
        }
        self.broken.remove(&located.file);
        let mut changed = vec![entry.name.clone()];
        if let Some(before) = before.filter(|before| before.name != entry.name) {
            self.entries.remove(&before.name);
            changed.push(before.name.clone());
        }
        self.entries.insert(entry.name.clone(), Arc::new(entry));
        changed
    }
}

fn first_line(report: &str) -> &str {
    report.lines().next().unwrap_or_default()
}

fn read_text(located: &Located) -> Result<Vec<u8>, String> {
    let meta = std::fs::metadata(&located.file).map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if meta.len() > BYTES_MAX {
        return Err(format!("it has more than {BYTES_MAX} bytes"));
    }
    std::fs::read(&located.file).map_err(|error| error.to_string())
}

/// Checks a text; what is wrong with it comes as the command line draws it.
fn entry(located: &Located, bytes: Vec<u8>, now: Timestamp) -> Result<Entry, String> {
    let digest = Domain::Definition.digest(&bytes);
    let given = Given { params: Vec::new(), logical_time: now, interval: None, run: None };
    let text: Arc<[u8]> = bytes.as_slice().into();
    let checked = located
        .with_text(bytes)
        .check(&given)
        .map_err(|wrong| wrong.report.render(&wrong.definition.source(), PLAIN))?;
    let pipeline = &checked.pipeline;
    let warnings = if checked.warnings.diagnostics.is_empty() {
        String::new()
    } else {
        checked.warnings.render(&checked.definition.source(), PLAIN)
    };
    Ok(Entry {
        name: pipeline.name.clone(),
        description: pipeline.description.clone(),
        located: located.clone(),
        text,
        digest,
        params: pipeline.params.clone(),
        stages: pipeline.stages.iter().map(|stage| stage.name.clone()).collect(),
        instances: pipeline.instances.len(),
        schedule: pipeline.schedule.clone(),
        reads_interval: pipeline.reads_interval,
        volatile: pipeline.volatile,
        warnings,
        circle: Vec::new(),
        broken: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(folder: &std::path::Path, file: &str) -> Located {
        Located {
            file: folder.join(file),
            shown: file.to_owned(),
            root: folder.to_owned(),
            state: folder.join(".cairn"),
            default_name: file.trim_end_matches(".toml").to_owned(),
        }
    }

    fn write(folder: &std::path::Path, file: &str, text: &str) {
        std::fs::write(folder.join(file), text).unwrap();
    }

    const GOOD: &str = "[stages.a]\nrun = 'true'\noutputs = []\n";

    #[test]
    fn a_broken_edit_is_shown_and_the_last_good_text_stays() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let one = [located(&folder, "one.toml")];
        let name: Name = "one".parse().unwrap();
        let mut catalog = Catalog::default();
        write(&folder, "one.toml", GOOD);
        assert_eq!(catalog.reload(&one, Timestamp(0)), [name.clone()].into());
        assert!(catalog.reload(&one, Timestamp(0)).is_empty(), "nothing changed");
        write(&folder, "one.toml", "[stages.a]\nrunn = 'true'\n");
        assert_eq!(catalog.reload(&one, Timestamp(0)), [name.clone()].into());
        let entry = catalog.get(&name).unwrap();
        assert_eq!(&*entry.text, GOOD.as_bytes());
        assert!(entry.broken.as_ref().unwrap().contains("runn"), "{:?}", entry.broken);
        write(&folder, "one.toml", &GOOD.replace("true", "false"));
        catalog.reload(&one, Timestamp(0));
        assert_eq!(catalog.get(&name).unwrap().broken, None);
        assert_eq!(catalog.reload(&[], Timestamp(0)), [name.clone()].into());
        assert!(catalog.get(&name).is_none());
    }

    #[test]
    fn a_file_with_errors_falls_back_on_a_text_that_was_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let files = [located(&folder, "one.toml"), located(&folder, "two.toml")];
        write(&folder, "one.toml", "");
        write(&folder, "two.toml", GOOD);
        let mut catalog = Catalog::default();
        catalog.reload(&files, Timestamp(0));
        let fall_back = |catalog: &mut Catalog, file: usize, text: &str| {
            catalog.fall_back(&files[file].file, text.as_bytes().to_vec(), Timestamp(0)).len()
        };
        assert_eq!(fall_back(&mut catalog, 1, GOOD), 0, "it has no errors");
        assert_eq!(fall_back(&mut catalog, 0, "[stages.a]\n"), 0, "that text has errors too");
        assert_eq!(
            fall_back(&mut catalog, 0, &format!("[pipeline]\nname = 'two'\n{GOOD}")),
            0,
            "two of a name"
        );
        assert_eq!((fall_back(&mut catalog, 0, GOOD), catalog.broken().count()), (1, 0));
        let name: Name = "one".parse().unwrap();
        assert!(catalog.get(&name).unwrap().broken.is_some());
        assert!(catalog.reload(&files, Timestamp(0)).is_empty(), "nothing changed");
        write(&folder, "one.toml", &GOOD.replace("true", "false"));
        assert_eq!(catalog.reload(&files, Timestamp(0)), [name.clone()].into());
        assert_eq!(catalog.get(&name).unwrap().broken, None);
    }

    #[test]
    fn who_follows_itself_is_known_until_that_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let files = ["a.toml", "b.toml", "c.toml"].map(|file| located(&folder, file));
        let after = |name: &str| format!("[schedule]\nafter = ['{name}']\n{GOOD}");
        write(&folder, "a.toml", &after("b"));
        write(&folder, "b.toml", &after("a"));
        write(&folder, "c.toml", &after("a"));
        let mut catalog = Catalog::default();
        catalog.reload(&files, Timestamp(0));
        let circle =
            |catalog: &Catalog, name: &str| circle_text(&catalog.get(&name.parse().unwrap()).unwrap().circle);
        assert_eq!(circle(&catalog, "a"), "a → b → a");
        assert_eq!(circle(&catalog, "b"), "b → a → b");
        assert_eq!(circle(&catalog, "c"), "", "it follows them and is not in it");
        write(&folder, "b.toml", GOOD);
        let changed = catalog.reload(&files, Timestamp(0));
        assert_eq!(changed, ["a", "b"].map(|name| name.parse().unwrap()).into());
        assert_eq!(circle(&catalog, "a"), "");
        write(&folder, "b.toml", &after("b"));
        catalog.reload(&files, Timestamp(0));
        assert_eq!(circle(&catalog, "b"), "b → b");
    }

    #[test]
    fn one_that_was_never_good_and_a_name_given_twice_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let files =
            [located(&folder, "bad.toml"), located(&folder, "one.toml"), located(&folder, "two.toml")];
        write(&folder, "bad.toml", "[stages.a]\n");
        write(&folder, "one.toml", GOOD);
        write(&folder, "two.toml", &format!("[pipeline]\nname = 'one'\n{GOOD}"));
        let mut catalog = Catalog::default();
        catalog.reload(&files, Timestamp(0));
        assert_eq!(catalog.entries().count(), 1);
        let reports: Vec<&str> = catalog.broken().map(|broken| broken.report.as_str()).collect();
        assert!(reports[1].contains("`two.toml` is called `one`, as `one.toml` is"), "{reports:?}");
    }
}
