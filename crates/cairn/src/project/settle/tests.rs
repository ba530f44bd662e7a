use std::fs;
use std::path::PathBuf;

use super::*;
use crate::terminal::style::Paint;

const STAGES: &str = "[stages.a]\nrun = 'true'\n";

/// A folder with files, seen from a folder in it.
struct Place {
    _temp: tempfile::TempDir,
    base: PathBuf,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        for (path, text) in files {
            let path = base.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { _temp: temp, base }
    }

    fn project(&self, cwd: &str, globals: &Globals) -> Project {
        let cwd = self.base.join(cwd);
        let start = globals.project.as_ref().map_or_else(|| cwd.clone(), |folder| cwd.join(folder));
        let terminal = Terminal::detect(anstream::ColorChoice::Never);
        Project::at(&start.canonicalize().unwrap(), globals, cwd, &terminal).unwrap()
    }

    /// Returns file, state folder and stages, or the error.
    fn settle(&self, cwd: &str, words: &[&str]) -> String {
        self.settle_with(cwd, words, &Globals::default())
    }

    fn settle_with(&self, cwd: &str, words: &[&str], globals: &Globals) -> String {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let terminal = Terminal::detect(anstream::ColorChoice::Never);
        let text = match self.project(cwd, globals).settle(&words, globals, &terminal) {
            Ok(Settled { pipeline, stages, .. }) => {
                format!("{} {} {stages:?}", pipeline.path.display(), pipeline.state.display())
            }
            Err(failure) => failure.render(Paint::new(false)),
        };
        text.replace(&format!("{}/", self.base.display()), "").replace(&*self.base.to_string_lossy(), "BASE")
    }
}

#[test]
fn the_only_pipeline_needs_no_name_and_words_are_stages() {
    let place = Place::new(&[("pipeline.toml", STAGES), ("data/x.csv", "")]);
    assert_eq!(place.settle("", &[]), "pipeline.toml .cairn []");
    assert_eq!(place.settle("", &["a", "b"]), r#"pipeline.toml .cairn ["a", "b"]"#);
    assert_eq!(place.settle("", &["pipeline.toml", "a"]), r#"pipeline.toml .cairn ["a"]"#);
    assert_eq!(place.settle("", &["."]), "pipeline.toml .cairn []");
    assert_eq!(place.settle("data", &["a"]), r#"pipeline.toml .cairn ["a"]"#, "from a subfolder");
    assert_eq!(place.settle("data", &["../pipeline.toml"]), "pipeline.toml .cairn []");
}

#[test]
fn a_project_with_settings_has_one_state_folder() {
    let place = Place::new(&[
        ("cairn.toml", ""),
        ("etl.toml", STAGES),
        ("Cargo.toml", "[package]\nname = 'x'"),
        ("pipelines/flights/pipeline.toml", "[pipeline]\nname = 'delays'\n[stages.a]\nrun = 'true'\n"),
        ("pipelines/broken.toml", "[stages.a\n"),
    ]);
    assert_eq!(place.settle("", &["etl", "x"]), r#"etl.toml .cairn ["x"]"#);
    assert_eq!(place.settle("pipelines", &["delays"]), "pipelines/flights/pipeline.toml .cairn []");
    assert_eq!(
        place.settle("pipelines", &["flights"]),
        "pipelines/flights/pipeline.toml .cairn []",
        "a folder"
    );
    assert_eq!(place.settle("", &["broken"]), "pipelines/broken.toml .cairn []", "its errors are told later");
    insta::assert_snapshot!(place.settle("", &["deleys"]), @r"
    error: there is no pipeline `deleys`
    note: looked for a folder `deleys` with a `pipeline.toml`, and for a pipeline of that name in `.`
    help: did you mean `delays`?
    ");
    insta::assert_snapshot!(place.settle("", &[]), @r"
    error: there are 3 pipelines here: which one?
    help: name one: `etl`, `broken` and `delays`
    ");
    insta::assert_snapshot!(place.settle("", &["cairn.toml"]), @r"
    error: `cairn.toml` holds the project's settings, not a pipeline
    help: the pipelines here are `etl.toml`, `pipelines/broken.toml` and `pipelines/flights/pipeline.toml`
    ");
}

#[test]
fn without_settings_each_folder_is_a_project() {
    let place = Place::new(&[("pipelines/a/pipeline.toml", STAGES), ("pipelines/b/pipeline.toml", STAGES)]);
    assert_eq!(place.settle("", &["a"]), "pipelines/a/pipeline.toml pipelines/a/.cairn []");
    assert_eq!(place.settle("pipelines/a", &[]), "pipelines/a/pipeline.toml pipelines/a/.cairn []");
    assert_eq!(place.settle("", &["pipelines/b"]), "pipelines/b/pipeline.toml pipelines/b/.cairn []");
}

#[test]
fn a_file_belongs_to_the_project_it_lies_in() {
    let place =
        Place::new(&[("here/cairn.toml", ""), ("there/cairn.toml", ""), ("there/deep/etl.toml", STAGES)]);
    assert_eq!(place.settle("here", &["../there/deep/etl.toml"]), "there/deep/etl.toml there/.cairn []");
    let globals = Globals { project: Some("../there".into()), ..Globals::default() };
    assert_eq!(
        place.settle_with("here", &["../there/deep/etl.toml"], &globals),
        "there/deep/etl.toml there/.cairn []"
    );
    let globals = Globals { project: Some(".".into()), ..Globals::default() };
    insta::assert_snapshot!(place.settle_with("here", &["../there/deep/etl.toml"], &globals), @r"
    error: `../there/deep/etl.toml` lies outside of the project `.`
    help: leave `--project` away, or name a file of that project
    ");
    let globals = Globals { state: Some("../elsewhere".into()), ..Globals::default() };
    assert_eq!(
        place.settle_with("there", &["deep/etl.toml"], &globals).replace("there/../", ""),
        "there/deep/etl.toml elsewhere []"
    );
}

#[test]
fn settings_say_where_pipelines_are() {
    let place = Place::new(&[
        ("cairn.toml", "pipelines = ['jobs/*.toml', 'etl']"),
        ("jobs/one.toml", STAGES),
        ("jobs/two.toml", STAGES),
        ("etl/pipeline.toml", STAGES),
        ("pipeline.toml", STAGES),
    ]);
    assert_eq!(place.settle("", &["two"]), "jobs/two.toml .cairn []");
    assert_eq!(place.settle("", &["etl"]), "etl/pipeline.toml .cairn []");
    insta::assert_snapshot!(place.settle("", &[]), @r"
    error: there are 3 pipelines here: which one?
    help: name one: `etl`, `one` and `two`
    ");
}

#[test]
fn what_is_not_there_is_told_with_what_was_looked_for() {
    let place = Place::new(&[("empty/x.csv", ""), ("one/pipeline.toml", STAGES)]);
    insta::assert_snapshot!(place.settle("empty", &[]), @r"
    error: there is no pipeline here
    note: looked for `pipeline.toml`, `*.toml` with stages, and `pipelines/` in `.`, and for `cairn.toml` in it and the folders above
    help: `cairn init` makes a first one here; or name a file
    ");
    insta::assert_snapshot!(place.settle("empty", &["flights"]), @r"
    error: there is no pipeline `flights`
    note: looked for `pipeline.toml`, `*.toml` with stages, and `pipelines/` in `.`, and for `cairn.toml` in it and the folders above
    help: `cairn init` makes a first one here; or name a file
    ");
    insta::assert_snapshot!(place.settle("one", &["pipelin.toml"]), @r"
    error: there is no file `pipelin.toml`
    help: did you mean `pipeline.toml`?
    ");
    insta::assert_snapshot!(place.settle("", &["empty"]), @"error: the folder `empty` holds no `pipeline.toml`");
    rustix::fs::mkfifoat(rustix::fs::CWD, place.base.join("empty/pipe.toml"), rustix::fs::Mode::RUSR)
        .unwrap();
    insta::assert_snapshot!(place.settle("empty", &["pipe.toml"]), @"error: `pipe.toml` is no regular file");
    insta::assert_snapshot!(place.settle("one", &["../empty/"]), @r"
    error: the folder `../empty/` holds no `pipeline.toml`
    help: the pipelines here are `pipeline.toml`
    ");
}
