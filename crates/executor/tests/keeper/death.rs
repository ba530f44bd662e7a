//! `kill -9` of the caller, of the keeper, of both: nothing of their jobs goes on.

use std::time::Duration;

use cairn_executor::isolation::strays::{Strays, end_strays};
use cairn_executor::isolation::{ExitKind, Keeper, KeeperError, STATE_VARIABLE};

use crate::support::{Fixture, caller, children, example, kill_hard, living, new_mark, until};

/// Leaves processes in every way there is, and waits.
const FAMILY: &str = "sleep 1000.MARK & setsid sleep 1000.MARK & (setsid sh -c 'sleep 1000.MARK & sleep 1000.MARK' &)
    setsid sh -c 'trap \"\" TERM HUP; exec sleep 1000.MARK' & sleep 0.3; touch ready; sleep 1000.MARK";

/// Processes of [`FAMILY`] that have the mark in their command: six times `sleep`, and two shells.
const MEMBERS: usize = 8;

#[tokio::test]
async fn of_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let mark = new_mark();
    let mut caller = caller(folder.path(), &FAMILY.replace("MARK", &mark));
    until("all are there", || folder.path().join("ready").exists() && living(&format!("1000.{mark}")).len() >= MEMBERS).await;
    caller.kill().unwrap();
    caller.wait().unwrap();
    until("all are gone", || living(&mark).is_empty()).await;
}

#[tokio::test]
async fn of_the_keeper() {
    let fixture = Fixture::new();
    let job = fixture.shell(FAMILY);
    let running = fixture.begin(&job).await;
    kill_hard(i32::try_from(fixture.keeper.pid()).unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
    assert!(matches!(ended, Err(KeeperError::Gone)), "{ended:?}");
    let another = fixture.run(&job).await;
    assert!(matches!(another, Err(KeeperError::Gone)), "{another:?}");

    let others = end_strays("no such state");
    assert_eq!(others, Strays::default());
    assert!(!living(&fixture.mark).is_empty(), "what left its group is there still, else this proves nothing");
    let strays = end_strays(&fixture.mark);
    assert!(strays.ended >= 5 && strays.left == 0, "{strays:?}");
    assert_eq!(living(&fixture.mark), [0; 0]);
    assert_eq!(end_strays(&fixture.mark), Strays::default());
}

#[tokio::test]
async fn of_both_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mark = new_mark();
    // The example passes its environment on.
    let mut command = std::process::Command::new(example());
    command.args(["--folder", folder.path().to_str().unwrap(), "sh", "-c", &FAMILY.replace("MARK", &mark)]);
    let mut caller = command.env(STATE_VARIABLE, &mark).stdout(std::process::Stdio::null()).spawn().unwrap();
    until("all are there", || folder.path().join("ready").exists() && living(&format!("1000.{mark}")).len() >= MEMBERS).await;
    let caller_pid = i32::try_from(caller.id()).unwrap();
    let [keeper] = children(caller_pid)[..] else { panic!("one keeper, and no other child") };
    // A stopped keeper cannot act on its caller's end: it is as if both were killed in the same instant.
    let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::STOP).unwrap();
    caller.kill().unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    caller.wait().unwrap();
    until("main processes are gone", || living("ready; sleep 1000").iter().all(|pid| !living(&mark).contains(pid))).await;
    let strays = end_strays(&mark);
    assert!(strays.ended >= 5 && strays.left == 0, "{strays:?}");
    assert_eq!(living(&mark), [0; 0]);
}

#[tokio::test]
async fn of_a_caller_within_a_job() {
    let fixture = Fixture::new();
    // A job that itself runs jobs, by a keeper of its own, and is killed.
    std::fs::create_dir(fixture.path("inner")).unwrap();
    let inner = FAMILY.replace("touch ready", "touch ../ready").replace("MARK", &fixture.mark);
    std::fs::write(fixture.path("inner.sh"), inner).unwrap();
    let folder = fixture.path("inner").display().to_string();
    let job = fixture.command(&[example().to_str().unwrap(), "--folder", &folder, "sh", "../inner.sh"]);
    let running = fixture.begin(&job).await;
    fixture.keeper.kill(&job.token);
    let ended = running.await.unwrap().unwrap();
    assert_eq!((ended.status, ended.stopped), (ExitKind::Signal(9), true));
    assert_eq!(living(&format!("1000.{}", fixture.mark)), [0; 0]);
    assert_eq!(living(&job.token), [0; 0]);
}

#[tokio::test]
async fn signals_of_a_terminal_do_not_reach_the_keeper() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run_shell("true").await.0.status, ExitKind::Code(0));
    let keeper = rustix::process::Pid::from_raw(i32::try_from(fixture.keeper.pid()).unwrap()).unwrap();
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::TSTP, Signal::PIPE] {
        rustix::process::kill_process(keeper, signal).unwrap();
    }
    assert_eq!(fixture.run_shell("exit 9").await.0.status, ExitKind::Code(9));
    assert_eq!(rustix::process::getsid(Some(keeper)).unwrap(), keeper);
}

#[tokio::test]
async fn what_is_no_keeper_is_an_error_and_not_a_wait() {
    let fixture = Fixture::new();
    let missing = Keeper::start(&fixture.path("none")).unwrap_err();
    assert!(matches!(missing, KeeperError::Spawn { .. }), "{missing:?}");
    let other = Keeper::start("/bin/true".as_ref()).unwrap();
    let run = tokio::time::timeout(Duration::from_secs(60), other.run(fixture.shell("true"))).await.unwrap();
    assert!(matches!(run, Err(KeeperError::Gone)), "{run:?}");
}

#[test]
fn a_keeper_that_was_started_by_hand_says_so() {
    let output = std::process::Command::new(example())
        .arg(cairn_executor::isolation::KEEPER_ARGUMENT)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    let expect = "the keeper process cannot start: standard input is not a socket";
    assert!(text.contains(expect), "{text}");
}
