//! I4: what a stage can read inside the project is what it declares; the error names the file and the line to add.

use std::fmt::Write as _;

use cairn_testkit::Project;

use super::{BINARY, run};

#[test]
fn an_undeclared_input_is_named_with_the_line_to_add() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.s]\nrun = \"cat data.txt lib/extra.txt > out\"\ninputs = [\"data.txt\"]\noutputs = [\"out\"]\n",
    );
    project.write("data.txt", "1").write("lib/extra.txt", "2");
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(
        outcome.stderr.contains("add `\"lib/extra.txt\"` to the `inputs` of stage `s`"),
        "{}",
        outcome.shown()
    );
}

#[test]
fn an_undeclared_output_is_named_with_the_line_to_add() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.s]\nrun = \"echo 1 > out; echo 2 > notes\"\noutputs = [\"out\"]\n",
    );
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(outcome.stderr.contains("add `\"notes\"` to `outputs`"), "{}", outcome.shown());
    assert!(!project.exists("notes") && !project.exists("out"));
}

#[test]
fn an_input_that_was_written_to_is_named() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.s]\nrun = \"echo more >> in; cp in out\"\ninputs = [\"in\"]\noutputs = [\"out\"]\n",
    );
    project.write("in", "1\n");
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(outcome.stderr.contains("wrote to its input `in`"), "{}", outcome.shown());
    assert_eq!(project.read("in"), "1\n", "the project's own file is untouched");
}

#[test]
fn the_environment_is_made_up() {
    let mut project = Project::with_pipeline(
        BINARY,
        "[env]\nDECLARED = \"1\"\n[stages.s]\nrun = \"env | cut -d= -f1 | sort > out\"\noutputs = [\"out\"]\npass_env = [\"WANTED\", \"UNSET\"]\n",
    );
    project.set_env("WANTED", "2").set_env("SECRET", "3");
    run(&project, &[]);
    let seen = project.read("out");
    let names: Vec<&str> =
        seen.lines().filter(|name| !matches!(*name, "_" | "SHLVL" | "PWD" | "OLDPWD")).collect();
    assert_eq!(
        names.join(" "),
        "CAIRN_ATTEMPT CAIRN_ATTEMPT_EPOCH CAIRN_ATTEMPT_TOKEN CAIRN_IDEMPOTENCY_KEY CAIRN_LOGICAL_TIME \
         CAIRN_ONCE_KEY CAIRN_RUN_ID CAIRN_SOCKET CAIRN_STAGE CAIRN_STATE_ID DECLARED HOME LC_ALL PATH PYTHONDONTWRITEBYTECODE SOURCE_DATE_EPOCH TMPDIR TZ WANTED"
    );
}

#[test]
fn nothing_of_an_earlier_stage_is_found_in_the_private_folders() {
    // One after the other, so that working folders can be used again; each leaves what it can.
    let mut text = String::new();
    for number in 0..6 {
        let (inputs, output) = match number {
            0 => ("\"data/a/one\"".to_owned(), "out/deep/0".to_owned()),
            1 => ("\"out/deep/0\", \"data/\"".to_owned(), "out/1".to_owned()),
            number => (format!("\"out/{}\"", number - 1), format!("out/{number}")),
        };
        writeln!(
            text,
            "[stages.s{number}]\nrun = '''\n\
             seen=$(find . -mindepth 1; cd \"$HOME\"; find . -mindepth 1; cd \"$TMPDIR\"; find . -mindepth 1)\n\
             touch \"$HOME/rc\" \"$TMPDIR/x\"; mkdir -p \"$TMPDIR/y/z\" \"$HOME/../more\" empty\n\
             [ {number} != 3 ] || chmod 500 \"$HOME\"\n\
             echo \"$seen\" | sort > {output}\n'''\ninputs = [{inputs}]\noutputs = [\"{output}\"]"
        )
        .expect("a string takes all");
    }
    let project = Project::with_pipeline(BINARY, &text);
    project.write("data/a/one", "1").write("data/b/two", "2");
    run(&project, &["-j", "1"]);
    let list = |path: &str| project.read(path).lines().collect::<Vec<_>>().join(" ");
    assert_eq!(list("out/deep/0"), "./data ./data/a ./data/a/one ./out ./out/deep");
    assert_eq!(
        list("out/1"),
        "./data ./data/a ./data/a/one ./data/b ./data/b/two ./out ./out/deep ./out/deep/0"
    );
    for number in 2..6 {
        assert_eq!(list(&format!("out/{number}")), format!("./out ./out/{}", number - 1));
    }
}
