//! Paths, and what is at them.

use std::os::unix::fs::symlink;

use insta::assert_snapshot;

use super::{project, says, shown, shown_in};

#[test]
fn paths_that_leave_the_project() {
    assert_snapshot!(shown("[stages.a]\nrun = 'x'\ninputs = ['../in']\noutputs = ['/tmp/out']\n"), @r"
    exit status: 2
    ----- stderr -----
    error[CRN0501]: the input `../in` is not in the project
     --> pipeline.toml:3:11
      |
    3 | inputs = ['../in']
      |           ^^^^^^^ the path climbs out by `..`
      |
      = help: paths are relative to the pipeline's `workdir` and stay below it; move the file into the project

    error[CRN0501]: the output `/tmp/out` is not in the project
     --> pipeline.toml:4:12
      |
    4 | outputs = ['/tmp/out']
      |            ^^^^^^^^^^ the path is absolute
      |
      = help: paths are relative to the pipeline's `workdir` and stay below it; move the file into the project

    error: 2 errors in `pipeline.toml`
    ");
    for path in ["../x", "/etc/passwd", "a/../../x", "..", "../*.csv", "/etc/*"] {
        let text = format!("[stages.a]\nrun = 'x'\ninputs = ['{path}']\n");
        says(text, &["pipeline.toml:3:11", "is not in the project", "move the file into the project"]);
    }
    for path in ["../x", "/x", "a/../../x", "..", "../d/"] {
        let text = format!("[stages.a]\nrun = 'x'\noutputs = ['{path}']\n");
        says(text, &["pipeline.toml:3:12", "is not in the project"]);
    }
    says("[stages.a]\nrun = 'x'\nstdout = '../x'\n", &["pipeline.toml:3:10", "is not in the project"]);
    says(
        "[pipeline]\nworkdir = '../..'\n[stages.a]\nrun = 'x'\n",
        &["pipeline.toml:2:11", "climbs out by `..`"],
    );
    says("[stages.a]\nrun = 'x'\noutputs = ['.cairn/x']\n", &["pipeline.toml:3:12", ".cairn"]);
}

#[test]
fn paths_that_no_shell_fills_in() {
    for path in ["~/x", "$HOME/x", "http://host/x"] {
        says(
            format!("[stages.a]\nrun = 'x'\ninputs = ['{path}']\n"),
            &["pipeline.toml:3:11", "does not exist", "a path is taken as it is"],
        );
    }
}

#[test]
fn an_output_in_place_of_the_pipeline_file() {
    for path in ["pipeline.toml", "./Pipeline.toml", "pipeline.toml/", "pipeline.toml/x"] {
        says(
            format!("[stages.a]\nrun = 'x'\noutputs = ['{path}']\n"),
            &["pipeline.toml:3:12", "this file", "write to another path"],
        );
    }
}

/// I7: an entry that is empty hides nothing of the others.
#[test]
fn every_bad_path_of_a_list_is_told() {
    says(
        "[stages.a]\nrun = 'x'\ninputs = ['', '../x']\noutputs = ['/x', '']\n",
        &["pipeline.toml:3:11", "pipeline.toml:3:15", "pipeline.toml:4:12", "pipeline.toml:4:18"],
    );
}

#[test]
fn links_that_leave_the_project_or_loop() {
    let project = project();
    project.write(
        "pipeline.toml",
        "[stages.a]\nrun = 'x'\ninputs = ['etc/passwd', 'file', 'one', 'd/self/x']\noutputs = ['etc/x', 'two/x']\n",
    );
    project.write("d/x", "");
    for (target, link) in
        [("/etc", "etc"), ("/etc/passwd", "file"), ("two", "one"), ("one", "two"), ("self", "d/self")]
    {
        symlink(target, project.file(link)).unwrap();
    }
    assert_snapshot!(shown_in(&project), @r"
    exit status: 2
    ----- stderr -----
    error[CRN0502]: the input `etc/passwd` is reached by a link that leaves the project
     --> pipeline.toml:3:11
      |
    3 | inputs = ['etc/passwd', 'file', 'one', 'd/self/x']
      |           ^^^^^^^^^^^^ outside of the project
      |
      = help: copy the file into the project, or make the link end inside it

    error[CRN0502]: the input `file` is reached by a link that leaves the project
     --> pipeline.toml:3:25
      |
    3 | inputs = ['etc/passwd', 'file', 'one', 'd/self/x']
      |                         ^^^^^^ outside of the project
      |
      = help: copy the file into the project, or make the link end inside it

    error[CRN0502]: the input `one` is reached by links that lead to each other
     --> pipeline.toml:3:33
      |
    3 | inputs = ['etc/passwd', 'file', 'one', 'd/self/x']
      |                                 ^^^^^ links in a circle
      |
      = help: remove one of the links

    error[CRN0502]: the input `d/self/x` is reached by links that lead to each other
     --> pipeline.toml:3:40
      |
    3 | inputs = ['etc/passwd', 'file', 'one', 'd/self/x']
      |                                        ^^^^^^^^^^ links in a circle
      |
      = help: remove one of the links

    error[CRN0502]: the output `etc/x` is reached by a link that leaves the project
     --> pipeline.toml:4:12
      |
    4 | outputs = ['etc/x', 'two/x']
      |            ^^^^^^^ outside of the project
      |
      = help: make a folder of the link, and write to it

    error[CRN0502]: the output `two/x` is reached by links that lead to each other
     --> pipeline.toml:4:21
      |
    4 | outputs = ['etc/x', 'two/x']
      |                     ^^^^^^^ links in a circle
      |
      = help: remove one of the links

    error: 6 errors in `pipeline.toml`
    ");
    project.write("pipeline.toml", "[stages.a]\nrun = 'x'\ninputs = ['d/*']\n");
    let shown = shown_in(&project);
    assert!(shown.contains("pipeline.toml:3:11") && shown.contains("`d/self`"), "{shown}");
    assert!(shown.contains("help: remove"), "what mends a link is no right to read: {shown}");
}

#[test]
fn inputs_that_are_not_there() {
    let project = project();
    project
        .write("data.csv", "")
        .write("pipeline.toml", "[stages.a]\nrun = 'x'\ninputs = ['dta.csv', 'none/*.csv']\n");
    assert_snapshot!(shown_in(&project), @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0506]: the input `dta.csv` does not exist
     --> pipeline.toml:3:11
      |
    3 | inputs = ['dta.csv', 'none/*.csv']
      |           ^^^^^^^^^ neither on disk nor made by a stage
      |
    help: did you mean `data.csv`?
      |
    3 - inputs = ['dta.csv', 'none/*.csv']
    3 + inputs = ["data.csv", 'none/*.csv']
      |

    error[CRN0507]: the pattern `none/*.csv` matches nothing
     --> pipeline.toml:3:22
      |
    3 | inputs = ['dta.csv', 'none/*.csv']
      |                      ^^^^^^^^^^^^ no file on disk, and none that a stage makes
      |
      = help: mend the pattern, or write `{ path = "none/*.csv", optional = true }`

    error: 2 errors in `pipeline.toml`
    "#);
}

/// A folder above the data that is misspelt makes no empty pipeline.
#[test]
fn a_workdir_that_is_not_there() {
    let text = |workdir: &str| {
        format!(
            "[pipeline]\nworkdir = '{workdir}'\n[stages.a]\nrun = 'echo > x'\ninputs = ['in', '*.csv']\noutputs = ['x']\n"
        )
    };
    for (workdir, part) in [("dta", "the folder `dta` does not exist"), ("pipeline.toml", "a file")] {
        let shown = shown(text(workdir));
        assert!(shown.contains("pipeline.toml:2:11") && shown.contains(part), "{shown}");
        assert!(shown.contains("error: 1 error in"), "what is not in it is no fault of the inputs: {shown}");
    }
}
