//! Paths.

use super::*;

#[test]
fn that_leave_the_project() {
    let text = r#"[pipeline]
workdir = "../elsewhere"
[stages.a]
run = "true"
inputs = ["/etc/passwd", "data/../../secret.csv"]
outputs = [".cairn/store/x", "pipeline.toml", "a\nb"]
"#;
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0501]: `workdir` is `../elsewhere`: the path climbs out by `..`
     --> pipeline.toml:2:11
      |
    2 | workdir = "../elsewhere"
      |           ^^^^^^^^^^^^^^ the path climbs out by `..`
      |
      = help: `workdir` is a folder below the one that holds this file; put the file above its data

    error[CRN0501]: the input `/etc/passwd` is not in the project
     --> pipeline.toml:5:11
      |
    5 | inputs = ["/etc/passwd", "data/../../secret.csv"]
      |           ^^^^^^^^^^^^^ the path is absolute
      |
      = help: paths are relative to the pipeline's `workdir` and stay below it; move the file into the project

    error[CRN0501]: the input `data/../../secret.csv` is not in the project
     --> pipeline.toml:5:26
      |
    5 | inputs = ["/etc/passwd", "data/../../secret.csv"]
      |                          ^^^^^^^^^^^^^^^^^^^^^^^ the path climbs out by `..`
      |
      = help: paths are relative to the pipeline's `workdir` and stay below it; move the file into the project

    error[CRN0501]: the output `.cairn/store/x` is not in the project
     --> pipeline.toml:6:12
      |
    6 | outputs = [".cairn/store/x", "pipeline.toml", "a\nb"]
      |            ^^^^^^^^^^^^^^^^ the path lies in the state folder `.cairn`
      |
      = help: `.cairn` belongs to cairn; choose another folder

    error[CRN0508]: the output `pipeline.toml` is this file
     --> pipeline.toml:6:30
      |
    6 | outputs = [".cairn/store/x", "pipeline.toml", "a\nb"]
      |                              ^^^^^^^^^^^^^^^ the pipeline file itself
      |
      = help: write to another path

    error[CRN0501]: the output `a\nb` is not in the project
     --> pipeline.toml:6:47
      |
    6 | outputs = [".cairn/store/x", "pipeline.toml", "a\nb"]
      |                                               ^^^^^^ the path holds a control character
      |
      = help: rename the file

    error: 6 errors in `pipeline.toml`
    "#);
}

#[test]
fn through_links_and_to_things_that_are_no_files() {
    let text = r#"[stages.a]
run = "true"
inputs = ["loop.csv", "away.csv", "pipe", "locked/x.csv"]
outputs = ["away/out.csv"]
"#;
    let disk = Disk::default()
        .and("loop.csv", Entry::LinkLoop)
        .and("away.csv", Entry::LeavesProject)
        .and("away/out.csv", Entry::LeavesProject)
        .and("pipe", Entry::Special)
        .and("locked/x.csv", Entry::Unreadable("permission denied".to_owned()));
    let report = load_with(text, &options(), &disk).unwrap_err();
    insta::assert_snapshot!(draw(text, &report), @r#"
    error[CRN0502]: the input `loop.csv` is reached by links that lead to each other
     --> pipeline.toml:3:11
      |
    3 | inputs = ["loop.csv", "away.csv", "pipe", "locked/x.csv"]
      |           ^^^^^^^^^^ links in a circle
      |
      = help: remove one of the links

    error[CRN0502]: the input `away.csv` is reached by a link that leaves the project
     --> pipeline.toml:3:23
      |
    3 | inputs = ["loop.csv", "away.csv", "pipe", "locked/x.csv"]
      |                       ^^^^^^^^^^ outside of the project
      |
      = help: copy the file into the project, or make the link end inside it

    error[CRN0503]: the input `pipe` is a FIFO, a socket or a device
     --> pipeline.toml:3:35
      |
    3 | inputs = ["loop.csv", "away.csv", "pipe", "locked/x.csv"]
      |                                   ^^^^^^ neither file nor folder
      |
      = help: only files and folders can be told to be unchanged: name one of these

    error[CRN0504]: the input `locked/x.csv` cannot be looked at
     --> pipeline.toml:3:43
      |
    3 | inputs = ["loop.csv", "away.csv", "pipe", "locked/x.csv"]
      |                                           ^^^^^^^^^^^^^^ permission denied
      |
      = help: give yourself the right to read it

    error[CRN0502]: the output `away/out.csv` is reached by a link that leaves the project
     --> pipeline.toml:4:12
      |
    4 | outputs = ["away/out.csv"]
      |            ^^^^^^^^^^^^^^ outside of the project
      |
      = help: make a folder of the link, and write to it

    error: 5 errors in `pipeline.toml`
    "#);
}

#[test]
fn that_do_not_exist() {
    let text = r#"[stages.make]
run = "true"
outputs = ["build/flights.csv"]
[stages.a]
run = "true"
inputs = ["data/fligths.csv", "build/flight.csv", "nowhere.txt", { path = "maybe.txt", optional = true }]
"#;
    insta::assert_snapshot!(drawn(text, &["data/flights.csv"]), @r#"
    error[CRN0506]: the input `data/fligths.csv` does not exist
     --> pipeline.toml:6:11
      |
    6 | inputs = ["data/fligths.csv", "build/flight.csv", "nowhere.txt", { path = "maybe.txt", optional = true }]
      |           ^^^^^^^^^^^^^^^^^^ neither on disk nor made by a stage
      |
    help: did you mean `data/flights.csv`?
      |
    6 - inputs = ["data/fligths.csv", "build/flight.csv", "nowhere.txt", { path = "maybe.txt", optional = true }]
    6 + inputs = ["data/flights.csv", "build/flight.csv", "nowhere.txt", { path = "maybe.txt", optional = true }]
      |

    error[CRN0506]: the input `build/flight.csv` does not exist
     --> pipeline.toml:6:31
      |
    6 | inputs = ["data/fligths.csv", "build/flight.csv", "nowhere.txt", { path = "maybe.txt", optional = true }]
      |                               ^^^^^^^^^^^^^^^^^^ neither on disk nor made by a stage
      |
    help: did you mean `build/flights.csv`, which `make` makes?
      |
    6 | inputs = ["data/fligths.csv", "build/flights.csv", "nowhere.txt", { path = "maybe.txt", optional = true }]
      |                                            +

    error[CRN0506]: the input `nowhere.txt` does not exist
     --> pipeline.toml:6:51
      |
    6 | inputs = ["data/fligths.csv", "build/flight.csv", "nowhere.txt", { path = "maybe.txt", optional = true }]
      |                                                   ^^^^^^^^^^^^^ neither on disk nor made by a stage
      |
      = help: create it, or name it in the `outputs` of the stage that makes it, or write `{ path = "nowhere.txt", optional = true }`

    error: 3 errors in `pipeline.toml`
    "#);
}

#[test]
fn patterns() {
    let text = r#"[stages.a]
run = "true"
inputs = ["a/b**", "data/[ab.csv", "{a,b"]
outputs = ["out/*.csv"]
"#;
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0505]: `a/b**` is no pattern
     --> pipeline.toml:3:11
      |
    3 | inputs = ["a/b**", "data/[ab.csv", "{a,b"]
      |           ^^^^^^^ `**` stands alone between slashes, not in `b**`
      |
      = help: write `**/*.csv` for the files at any depth, `*` within a name

    error[CRN0505]: `data/[ab.csv` is no pattern
     --> pipeline.toml:3:20
      |
    3 | inputs = ["a/b**", "data/[ab.csv", "{a,b"]
      |                    ^^^^^^^^^^^^^^ `[` is not closed in `[ab.csv`
      |
      = help: close it with `]` before the next slash, or write `\[`, in single quotes, for the character itself

    error[CRN0505]: `{a,b` is no pattern
     --> pipeline.toml:3:36
      |
    3 | inputs = ["a/b**", "data/[ab.csv", "{a,b"]
      |                                    ^^^^^^ `{` is not closed in `{a,b`
      |
      = help: close it with `}` before the next slash, or write `\{`, in single quotes, for the character itself

    error[CRN0505]: the output `out/*.csv` is a pattern
     --> pipeline.toml:4:12
      |
    4 | outputs = ["out/*.csv"]
      |            ^^^^^^^^^^^ which files?
      |
      = help: name each file, or the folder that holds them with a closing `/`; in single quotes `\*` stands for `*` itself

    error: 4 errors in `pipeline.toml`
    "#);
}

#[test]
fn patterns_that_match_nothing() {
    let text = r#"[stages.a]
run = "true"
inputs = ["data/*.cvs", { path = "none/*", optional = true }]
[stages.b]
run = "true"
inputs = { env = "HOME" }
"#;
    insta::assert_snapshot!(drawn(text, &["data/a.csv"]), @r#"
    error[CRN0507]: the pattern `data/*.cvs` matches nothing
     --> pipeline.toml:3:11
      |
    3 | inputs = ["data/*.cvs", { path = "none/*", optional = true }]
      |           ^^^^^^^^^^^^ no file on disk, and none that a stage makes
      |
      = help: mend the pattern, or write `{ path = "data/*.cvs", optional = true }`

    error[CRN0506]: the input `HOME` does not exist
     --> pipeline.toml:6:18
      |
    6 | inputs = { env = "HOME" }
      |                  ^^^^^^ taken as the path of an input called `env`
      |
      = help: for a variable write `inputs = [{ env = "HOME" }]`

    error: 2 errors in `pipeline.toml`
    "#);
}

#[test]
fn an_output_that_is_its_own_program() {
    let text = "[stages.a]\nrun = [\"./tools/make.sh\", \"x\"]\noutputs = [\"tools/make.sh\"]\n[stages.b]\nrun = \"true\"\nstdout = \"folder/\"\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0508]: the output `tools/make.sh` is the program that makes it
     --> pipeline.toml:2:8
      |
    2 | run = ["./tools/make.sh", "x"]
      |        ^^^^^^^^^^^^^^^^^^^^^^ runs `tools/make.sh`
      |
      = help: write to another path

    error[CRN0205]: `stdout` is `folder/`, a folder
     --> pipeline.toml:6:10
      |
    6 | stdout = "folder/"
      |          ^^^^^^^^^ a folder
      |
      = help: name a file, without the closing `/`

    error: 2 errors in `pipeline.toml`
    "#);
}

#[test]
fn a_workdir_that_is_none() {
    let text = "[pipeline]\nworkdir = \"dta\"\n[stages.a]\nrun = \"x\"\ninputs = [\"in.csv\", \"*.csv\"]\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0509]: the folder `dta` does not exist
     --> pipeline.toml:2:11
      |
    2 | workdir = "dta"
      |           ^^^^^ no such folder
      |
      = help: create it, or mend its name: all paths in this file are relative to it

    error: 1 error in `pipeline.toml`
    "#);
    insta::assert_snapshot!(drawn(text, &["dta"]), @r#"
    error[CRN0509]: `workdir` is `dta`, a file
     --> pipeline.toml:2:11
      |
    2 | workdir = "dta"
      |           ^^^^^ no folder
      |
      = help: name the folder that all paths in this file are relative to

    error: 1 error in `pipeline.toml`
    "#);
}
