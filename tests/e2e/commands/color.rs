//! Colour: on a terminal, unless `NO_COLOR`; in a pipe only when it is asked for.

use std::process::Command;

use cairn_testkit::Project;

use super::sales_done;

const COMMANDS: [&[&str]; 13] = [
    &[],
    &["--help"],
    &["run", "--help"],
    &["check"],
    &["plan"],
    &["run"],
    &["status"],
    &["runs"],
    &["show"],
    &["show", "latest", "fetch"],
    &["logs", "fetch"],
    &["why", "fetch"],
    &["graph"],
];

fn output(mut command: Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

fn without_no_color(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
    command
}

#[test]
fn a_pipe_gets_no_escape_byte() {
    let project = sales_done();
    for arguments in COMMANDS {
        for text in [output(project.command(arguments)), output(without_no_color(&project, arguments))] {
            assert!(!text.is_empty() && !text.contains('\x1b'), "{arguments:?}: {text:?}");
        }
    }
    project.write("pipeline.toml", "[stages.fetch]\nrunn = 1\n");
    for arguments in [&["check"][..], &["run"], &["status"], &["rnu"]] {
        let text = output(without_no_color(&project, arguments));
        assert!(!text.is_empty() && !text.contains('\x1b'), "{arguments:?}: {text:?}");
    }
}

/// `--color always` is more particular than `NO_COLOR`, which is set here.
#[test]
fn always_is_always() {
    let project = sales_done();
    for arguments in COMMANDS {
        let always: Vec<&str> = ["--color", "always"].iter().chain(arguments).copied().collect();
        let text = output(project.command(&always));
        assert!(text.contains("\x1b["), "{arguments:?}: {text:?}");
        let never: Vec<&str> = ["--color", "never"].iter().chain(arguments).copied().collect();
        let text = output(without_no_color(&project, &never));
        assert!(!text.contains('\x1b'), "{arguments:?}: {text:?}");
    }
}

/// Json is for programs, whatever is asked for.
#[test]
fn json_has_none() {
    let project = sales_done();
    for command in ["check", "plan", "run", "status", "runs", "show", "graph"] {
        let text = output(project.command(&["--color", "always", command, "--json"]));
        assert!(!text.is_empty() && !text.contains('\x1b'), "{command}: {text:?}");
    }
}

/// On a terminal there are bars and colours, but with `NO_COLOR` neither.
#[test]
fn a_terminal() {
    let project = sales_done();
    let on_terminal = |no_color: bool| {
        let mut command = Command::new("script");
        command
            .args(["-qec", &format!("{} run --force", super::BINARY), "/dev/null"])
            .current_dir(project.path());
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR").stdin(std::process::Stdio::null());
        if no_color {
            command.env("NO_COLOR", "1");
        }
        command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Ok(colored) = on_terminal(false) else {
        eprintln!("NOT TESTED: there is no `script` to make a terminal with");
        return;
    };
    assert!(colored.contains("\x1b[32m") && colored.contains("RAN"), "{colored:?}");
    let plain = on_terminal(true).unwrap();
    assert!(!plain.contains('\x1b') && plain.contains("3 RAN"), "{plain:?}");
}
