//! What a job is started with, and why it may not be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use cairn_executor::isolation::{ExitKind, Job, KeeperError, StartError};

use crate::support::{Fixture, example, text_of};

async fn refused(fixture: &Fixture, job: &Job) -> StartError {
    match fixture.run(job).await {
        Err(KeeperError::Start(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn script(fixture: &Fixture, name: &str, text: &str, mode: u32) -> String {
    let path = fixture.path(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn the_environment_is_the_jobs_and_nothing_else() {
    let fixture = Fixture::new();
    let mut job = fixture.command(&["/bin/cat", "/proc/self/environ"]);
    job.env = vec![("B".into(), "two\nlines=".into()), ("A".into(), String::new())];
    fixture.run(&job).await.unwrap();
    assert_eq!(text_of(&job), "B=two\nlines=\0A=\0");
}

#[tokio::test]
async fn arguments_are_passed_as_they_are() {
    let fixture = Fixture::new();
    let job = fixture.command(&["printf", "[%s]", "", " a  b ", "*", "$HOME", "ü\n"]);
    fixture.run(&job).await.unwrap();
    assert_eq!(text_of(&job), "[][ a  b ][*][$HOME][ü\n]");
}

#[tokio::test]
async fn it_stands_in_its_folder_with_empty_input() {
    let fixture = Fixture::new();
    let (ended, text) = fixture.run_shell("pwd -P; wc -c; umask; tty").await;
    let folder = fs::canonicalize(fixture.folder.path()).unwrap();
    assert_eq!(text, format!("{}\n0\n0022\nnot a tty\n", folder.display()));
    assert_eq!(ended.status, ExitKind::Code(1));
}

#[tokio::test]
async fn it_leads_a_session_and_a_group_of_its_own() {
    let fixture = Fixture::new();
    let (_, text) = fixture.run_shell("echo $$; cut -d' ' -f 4-6 /proc/$$/stat").await;
    let (own, rest) = text.trim_end().split_once('\n').unwrap();
    assert_eq!(rest, format!("{} {own} {own}", fixture.keeper.pid()));
}

#[test]
fn nothing_of_the_callers_state_reaches_it() {
    let folder = tempfile::tempdir().unwrap();
    // Ignored signals, open descriptors, a low limit of open files.
    let caller = "trap '' HUP INT QUIT PIPE TERM USR1 TSTP CHLD XFSZ; exec 7</dev/null 9>/dev/null; ulimit -S -n 333; exec \"$@\"";
    let job = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd; ulimit -S -n";
    let status = Command::new("sh")
        .args(["-c", caller, "sh"])
        .arg(example())
        .args(["--folder", folder.path().to_str().unwrap(), "sh", "-c", job])
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let mut files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let log = files.find(|path| path.extension().is_some_and(|ending| ending == "log")).unwrap();
    let text = fs::read_to_string(log).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let [blocked, ignored, "0", "1", "2", "3", "333"] = lines[..] else { panic!("{text}") };
    let mask = |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(1).unwrap(), 16).unwrap();
    // The C library keeps 32 and 33 to itself and lets nobody set them.
    let own = 0b11 << 31;
    assert_eq!((mask(blocked) & !own, mask(ignored) & !own), (0, 0), "{text}");
}

#[tokio::test]
async fn a_command_is_looked_for_in_the_jobs_path() {
    let fixture = Fixture::new();
    for folder in ["one", "two", "three"] {
        fs::create_dir(fixture.path(folder)).unwrap();
    }
    // Neither a folder of that name nor a file without the execute bit hides a later one.
    fs::create_dir(fixture.path("one/tool")).unwrap();
    script(&fixture, "two/tool", "#!/bin/sh\necho two", 0o644);
    script(&fixture, "three/tool", "#!/bin/sh\necho \"$0\"", 0o755);
    let mut job = fixture.command(&["tool"]);
    let absolute = fixture.path("one").display().to_string();
    let mut look = |path: String| {
        job.env[0] = ("PATH".into(), path);
        job.clone()
    };
    let found = look(format!("/none:{absolute}:two:three"));
    fixture.run(&found).await.unwrap();
    assert_eq!(text_of(&found), format!("{}\n", fixture.path("three/tool").display()));

    let not_executable = refused(&fixture, &look("one:two".into())).await;
    let path = fixture.path("two/tool").display().to_string();
    assert_eq!(not_executable, StartError::NotExecutable { path });

    let not_found = refused(&fixture, &look("/none:one".into())).await;
    let expect = StartError::NotFound { command: "tool".into(), searched: Some("/none:one".into()) };
    assert_eq!(not_found, expect);
    assert_eq!(not_found.to_string(), "command `tool` not found");
    assert_eq!(
        not_found.help().unwrap(),
        "install it, or set `PATH` in the stage's `env`; looked in `/none:one`"
    );
}

#[tokio::test]
async fn a_command_that_is_a_path_is_relative_to_the_folder() {
    let fixture = Fixture::new();
    script(&fixture, "tool", "#!/bin/sh\necho \"$0\"", 0o755);
    let job = fixture.command(&["./tool"]);
    fixture.run(&job).await.unwrap();
    assert_eq!(text_of(&job), "./tool\n");
    let missing = refused(&fixture, &fixture.command(&["./none"])).await;
    assert_eq!(missing, StartError::NotFound { command: "./none".into(), searched: None });
    let below_a_file = refused(&fixture, &fixture.command(&["./tool/none"])).await;
    assert_eq!(below_a_file, StartError::NotFound { command: "./tool/none".into(), searched: None });
}

#[tokio::test]
async fn what_cannot_be_executed_is_explained() {
    let fixture = Fixture::new();
    let check = async |name: &str, text: &str, mode: u32, expect: &str| {
        let path = script(&fixture, name, text, mode);
        let error = refused(&fixture, &fixture.command(&[&path])).await;
        assert_eq!(error.to_string(), expect.replace("PATH", &path));
        assert!(error.is_permanent());
        error.help().unwrap()
    };
    check("bit", "#!/bin/sh\n", 0o644, "`PATH` is not executable").await;
    let text = "`PATH` is not a program: it is no executable this system knows, and has no `#!` line";
    check("line", "echo\n", 0o755, text).await;
    check("empty", "", 0o755, text).await;
    let text = "the interpreter `/none/python3` of `PATH` is missing";
    check("interpreter", "#!/none/python3 -u\n", 0o755, text).await;
    let help =
        check("dos", "#!/bin/sh\r\necho\r\n", 0o755, "the interpreter `/bin/sh\\r` of `PATH` is missing")
            .await;
    assert!(help.contains("Windows"), "{help}");

    let folder = refused(&fixture, &fixture.command(&[fixture.folder.path().to_str().unwrap()])).await;
    assert_eq!(folder, StartError::NotExecutable { path: fixture.folder.path().display().to_string() });
}

/// A script that was just written may still be open in another process for a moment.
#[tokio::test]
async fn a_program_that_is_open_for_writing_is_waited_for_a_moment() {
    let fixture = Fixture::new();
    let path = script(&fixture, "busy", "#!/bin/sh\n", 0o755);
    let open = || fs::File::options().append(true).open(&path).unwrap();
    let held = open();
    let letting_go = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(60));
        drop(held);
    });
    let ended = fixture.run(&fixture.command(&[&path])).await.unwrap();
    assert_eq!(ended.status, ExitKind::Code(0));
    letting_go.join().unwrap();
    let _held = open();
    let error = refused(&fixture, &fixture.command(&[&path])).await;
    assert!(error.to_string().to_lowercase().contains("text file busy"), "{error}");
}

#[tokio::test]
async fn a_program_without_its_loader_is_explained() {
    let fixture = Fixture::new();
    let mut program = fs::read("/bin/true").unwrap();
    let at = program.windows(4).position(|window| window == b"/lib").expect("it names its loader");
    program[at + 1] = b'L';
    let path = script(&fixture, "program", "", 0o755);
    fs::write(&path, &program).unwrap();
    let error = refused(&fixture, &fixture.command(&[&path])).await;
    let StartError::BadInterpreter { interpreter, .. } = &error else { panic!("{error:?}") };
    assert!(interpreter.starts_with("/Lib"), "{interpreter}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_explained() {
    let fixture = Fixture::new();
    let mut job = fixture.shell("true");
    job.cwd = fixture.path("none");
    let error = refused(&fixture, &job).await;
    assert_eq!(
        error.to_string(),
        format!("cannot enter the folder `{}`: no such file or directory", job.cwd.display())
    );
    job.cwd = fixture.path("file");
    fs::write(&job.cwd, "").unwrap();
    let error = refused(&fixture, &job).await;
    assert_eq!(
        error.to_string(),
        format!("cannot enter the folder `{}`: not a directory", job.cwd.display())
    );
}

#[tokio::test]
async fn no_command_and_nul_bytes_are_refused() {
    let fixture = Fixture::new();
    assert_eq!(refused(&fixture, &fixture.command(&[])).await, StartError::Empty);
    assert_eq!(refused(&fixture, &fixture.command(&[""])).await, StartError::Empty);
    let error = refused(&fixture, &fixture.command(&["echo", "a\0b"])).await;
    assert_eq!(error.to_string(), "argument 1 of the command contains a NUL byte");
    let mut job = fixture.command(&["true"]);
    job.env.push(("NAME".into(), "\0".into()));
    assert_eq!(refused(&fixture, &job).await.to_string(), "variable `NAME` contains a NUL byte");
}

#[tokio::test]
async fn a_huge_environment_is_passed_and_one_too_huge_is_explained() {
    let fixture = Fixture::new();
    let mut job = fixture.shell("cat /proc/self/environ | wc -c");
    let before: usize = job.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    job.env.extend((0..15).map(|number| (format!("V{number:02}"), "x".repeat(100_000))));
    fixture.run(&job).await.unwrap();
    let expect = before + 15 * 100_005;
    // The shell adds `PWD` to what it passes on.
    let read: usize = text_of(&job).trim().parse().unwrap();
    assert!(read >= expect && read < expect + 500, "{read} {expect}");

    let mut long = fixture.shell("true");
    long.env.push(("LONG".into(), "x".repeat(200_000)));
    let error = refused(&fixture, &long).await;
    assert!(matches!(error, StartError::TooLong { longest: 200_006, bytes } if bytes > 200_006), "{error:?}");
    long.env.pop();
    long.argv.push("x".repeat(200_000));
    let error = refused(&fixture, &long).await;
    assert!(matches!(error, StartError::TooLong { longest: 200_001, .. }), "{error:?}");
}
