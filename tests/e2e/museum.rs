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
