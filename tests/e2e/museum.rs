//! Wrong hits and needless executions known from other tools, each a permanent test.

use cairn_testkit::Project;

use super::{BINARY, run};

fn single(stage: &str) -> Project {
    Project::with_pipeline(BINARY, &format!("[stages.s]\n{stage}\n"))
}

/// Environment not in the key: a staging build was restored in production (Turborepo, the DVC run-cache).
#[test]
fn environment_is_in_the_key() {
    let mut project = single("run = \"echo $TARGET > out\"\noutputs = [\"out\"]\npass_env = [\"TARGET\"]");
    project.set_env("TARGET", "staging");
    run(&project, &[]);
    project.set_env("TARGET", "production");
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(project.read("out"), "production\n");
    project.set_env("TARGET", "staging");
    assert_eq!(run(&project, &[]), "s=RESTORED");
}

/// Ignore files decided what counted as input (turbo#2275).
#[test]
fn ignored_files_count_when_they_are_declared() {
    let project = single("run = \"cat data/* > out\"\ninputs = [\"data/*\"]\noutputs = [\"out\"]");
    project.write(".gitignore", "data\n").write("data/a", "1");
    run(&project, &[]);
    project.write("data/a", "2");
    assert_eq!(run(&project, &[]), "s=RAN");
}

/// Existence was taken for validity (nextflow#7265, #5595).
#[test]
fn an_output_that_merely_exists_is_not_fresh() {
    let project = single("run = \"echo right > out\"\noutputs = [\"out\"]");
    project.write("out", "wrong");
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(project.read("out"), "right\n");
}

/// A file whose times were set back, with the same size (tools that compare times and sizes).
#[test]
fn an_edit_that_keeps_size_and_time_is_seen() {
    let project = single("run = \"cp in out\"\ninputs = [\"in\"]\noutputs = [\"out\"]");
    project.write("in", "one");
    run(&project, &[]);
    let modified = std::fs::metadata(project.file("in")).unwrap().modified().unwrap();
    project.write("in", "two");
    let file = std::fs::File::options().write(true).open(project.file("in")).unwrap();
    file.set_modified(modified).unwrap();
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(project.read("out"), "two");
}

/// An input edited while the stage runs was committed under the old hash (bazel#3360).
#[test]
fn an_input_that_changes_meanwhile_is_not_committed() {
    let project = single(
        "run = \"cp in out; echo changed > \\\"$PROJECT/in\\\"\"\ninputs = [\"in\"]\noutputs = [\"out\"]",
    );
    let text = project.read("pipeline.toml").replace("$PROJECT", &project.path().to_string_lossy());
    project.write("pipeline.toml", text).write("in", "first");
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(outcome.stderr.contains("input `in` changed while the command ran"), "{}", outcome.shown());
    assert!(!project.exists("out"));
}

/// An instance of a matrix that is there no more left its output behind in the stage that gathers.
#[test]
fn outputs_of_instances_that_are_gone_are_not_gathered() {
    let text = |cells: &str| {
        format!(
            "[stages.cell]\nmatrix = {{ c = [{cells}] }}\nrun = \"echo {{{{ matrix.c }}}} > cells/{{{{ matrix.c }}}}.txt\"\n\
             outputs = [\"cells/{{{{ matrix.c }}}}.txt\"]\n\
             [stages.all]\nrun = \"cat cells/*.txt > all\"\ninputs = [\"cells/*.txt\"]\noutputs = [\"all\"]\n"
        )
    };
    let project = Project::with_pipeline(BINARY, &text("\"x\", \"y\", \"z\""));
    run(&project, &[]);
    assert_eq!(project.read("all"), "x\ny\nz\n");
    project.write("pipeline.toml", text("\"x\", \"z\""));
    assert_eq!(run(&project, &[]), "all=RAN cell[x]=FRESH cell[z]=FRESH");
    assert_eq!(project.read("all"), "x\nz\n");
}

/// gzip writes the time of its input into its output.
#[test]
fn tools_that_store_times_store_one_time() {
    let project = single("run = \"gzip -k in\"\ninputs = [\"in\"]\noutputs = [\"in.gz\"]");
    project.write("in", "bytes");
    run(&project, &[]);
    let first = project.snapshot();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(run(&project, &["--force"]), "s=RAN");
    assert_eq!(project.snapshot(), first);
}

#[test]
fn a_link_that_is_turned_elsewhere_is_seen() {
    let project = single("run = \"cat link > out\"\ninputs = [\"link\"]\noutputs = [\"out\"]");
    project.write("one", "1").write("two", "2");
    let link = project.file("link");
    std::os::unix::fs::symlink("one", &link).unwrap();
    assert_eq!(run(&project, &[]), "s=RAN");
    // Long enough for everything to count as settled, and for a run to have vouched for all at once.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    for _ in 0..2 {
        project.cairn(&["run"]).expect(0);
    }
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("two", &link).unwrap();
    project.cairn(&["run"]).expect(0);
    assert_eq!(project.read("out"), "2");
}

#[test]
fn an_input_whose_stored_bytes_are_lost_is_taken_from_the_project() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.a]\nrun = \"head -c 5000 /dev/zero > a\"\noutputs = [\"a\"]\n\
         [stages.b]\nrun = \"cat a in | wc -c > b\"\ninputs = [\"a\", \"in\"]\noutputs = [\"b\"]\n",
    );
    project.write("in", "1");
    assert_eq!(run(&project, &[]), "a=RAN b=RAN");
    std::fs::remove_dir_all(project.file(".cairn/objects")).unwrap();
    project.write("in", "12");
    assert_eq!(run(&project, &[]), "a=FRESH b=RAN");
    assert_eq!(project.read("b").trim(), "5002");
}

#[test]
fn the_stages_name_counts_where_the_command_reads_it() {
    let pipeline =
        |name: &str, command: &str| format!("[stages.{name}]\nrun = '{command}'\noutputs = [\"out\"]\n");
    for (command, outcome) in [("echo $CAIRN_STAGE > out", "new=RAN"), ("echo 1 > out", "new=FRESH")] {
        let project = Project::with_pipeline(BINARY, &pipeline("old", command));
        assert_eq!(run(&project, &[]), "old=RAN");
        project.write("pipeline.toml", pipeline("new", command));
        assert_eq!(run(&project, &[]), outcome);
    }
}

#[test]
fn a_tool_is_asked_where_the_stage_finds_it() {
    let project = Project::new(BINARY);
    let path = format!("{}:/usr/bin:/bin", project.file("bin").display());
    let stage = "[stages.s]\nrun = \"tool > out\"\ntools = [\"tool\"]\noutputs = [\"out\"]\n";
    project.write("pipeline.toml", format!("{stage}env = {{ PATH = \"{path}\" }}\n"));
    let tool = |version: u32| {
        project.write("bin/tool", format!("#!/bin/sh\necho {version}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(project.file("bin/tool"), mode).unwrap();
    };
    tool(1);
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(run(&project, &[]), "s=FRESH");
    tool(2);
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(project.read("out"), "2\n");
}
