//! Tests of the language as a whole: text in, pipeline or pictures out.

use std::collections::BTreeMap;

use cairn_model::{ProjectPath, Timestamp};

use crate::{
    Entry, Glob, Instance, Loaded, Options, Pipeline, Report, RunContext, Source, Style, Unlisted, World,
    load,
};

mod errors;
mod language;
mod properties;
mod speed;

/// A disk that holds what it is told.
#[derive(Default)]
struct Disk(BTreeMap<String, Entry>);

impl Disk {
    /// Holds files, and folders where a path ends with a slash.
    fn of(paths: &[&str]) -> Self {
        let entry = |path: &&str| match path.strip_suffix('/') {
            Some(folder) => (folder.to_owned(), Entry::Folder),
            None => ((*path).to_owned(), Entry::File),
        };
        Self(paths.iter().map(entry).collect())
    }

    fn and(mut self, path: &str, entry: Entry) -> Self {
        self.0.insert(path.to_owned(), entry);
        self
    }
}

impl World for Disk {
    fn entry(&self, path: &ProjectPath) -> Entry {
        let below = format!("{path}/");
        let inside = self.0.range(below.clone()..).next().is_some_and(|(path, _)| path.starts_with(&below));
        self.0.get(path.as_str()).cloned().unwrap_or(if inside { Entry::Folder } else { Entry::Missing })
    }

    fn matches(&self, glob: &Glob) -> Result<Vec<ProjectPath>, Unlisted> {
        let files = self.0.iter().filter(|(_, entry)| **entry == Entry::File);
        Ok(files
            .map(|(path, _)| ProjectPath::parse(path).unwrap())
            .filter(|path| glob.is_match(path))
            .collect())
    }
}

fn options() -> Options {
    Options {
        default_name: "demo".to_owned(),
        params: Vec::new(),
        // 2024-02-29T12:00:00Z
        run: RunContext { logical_time: Timestamp(1_709_208_000_000), interval: None, run_id: None },
        default_shell: ["bash", "-euo", "pipefail", "-c"].map(str::to_owned).to_vec(),
        platform_cpus: 4,
    }
}

fn with_params(params: &[(&str, &str)]) -> Options {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Options { params, ..options() }
}

fn load_with(text: &str, options: &Options, disk: &Disk) -> Result<Loaded, Report> {
    load(Source { path: "pipeline.toml", bytes: text.as_bytes() }, options, disk)
}

/// Loads what must be without fault.
fn pipeline(text: &str, files: &[&str]) -> Pipeline {
    match load_with(text, &options(), &Disk::of(files)) {
        Ok(loaded) => loaded.pipeline,
        Err(report) => panic!("{}", draw(text, &report)),
    }
}

fn instance<'p>(pipeline: &'p Pipeline, name: &str) -> &'p Instance {
    pipeline.instances.iter().find(|instance| instance.name.to_string() == name).unwrap()
}

/// Returns the names of all that an instance waits for.
fn needs(pipeline: &Pipeline, name: &str) -> Vec<String> {
    let needs = &instance(pipeline, name).needs;
    needs.iter().map(|need| pipeline.instances[*need as usize].name.to_string()).collect()
}

/// Loads what must have faults.
fn faults(text: &str, files: &[&str]) -> Report {
    load_with(text, &options(), &Disk::of(files)).expect_err("the pipeline has faults")
}

/// Returns the codes of all faults, in order.
fn codes(text: &str, files: &[&str]) -> Vec<&'static str> {
    faults(text, files).diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

/// Draws the faults of a pipeline.
fn drawn(text: &str, files: &[&str]) -> String {
    draw(text, &faults(text, files))
}

fn draw(text: &str, report: &Report) -> String {
    report.render(&Source { path: "pipeline.toml", bytes: text.as_bytes() }, Style::PLAIN)
}
