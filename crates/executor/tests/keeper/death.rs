//! `kill -9` of the caller, of the keeper, of both: nothing of their jobs goes on.

use std::process::{Child, Command, Stdio};

use cairn_executor::isolation::strays::{Strays, end_strays};
use cairn_executor::isolation::{ExitKind, KEEPER_ARGUMENT, Keeper, KeeperError, STATE_VARIABLE};
use rustix::process::{Pid, Signal, getsid, kill_process};
use tokio::time::timeout;

use crate::support::{Fixture, PATIENCE, children, example, living, new_mark, until};

/// Leaves processes in every way there is, and waits. One has no environment, and a parent that has.
const FAMILY: &str =
    "sleep 1000.MARK & setsid sleep 1000.MARK & (setsid sh -c 'sleep 1000.MARK & sleep 1000.MARK' &)
    setsid sh -c 'trap \"\" TERM HUP; exec sleep 1000.MARK' & setsid sh -c 'env -i sleep 1000.MARK; :' &
    sleep 0.3; touch ready; sleep 1000.MARK";

/// Times that [`FAMILY`] runs `sleep`; its main process has the mark in its command too.
const MEMBERS: usize = 7;

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// Tells a job's main process from orphans that a keeper inherited: it is the shell that runs [`FAMILY`].
fn is_main(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("touch ready"))
}

/// Starts the example as a caller with a keeper of its own, and waits until its [`FAMILY`] is there.
async fn caller(folder: &tempfile::TempDir, mark: &str) -> Child {
    let mut command = Command::new(example());
    command.args(["--folder", folder.path().to_str().unwrap(), "sh", "-c", &FAMILY.replace("MARK", mark)]);
    // It passes its environment on.
    let caller = command.env(STATE_VARIABLE, mark).stdout(Stdio::null()).spawn().unwrap();
    until("all are there", || {
        folder.path().join("ready").exists() && living(&format!("1000.{mark}")).len() > MEMBERS
    })
    .await;
    caller
}

#[tokio::test]
async fn of_the_caller() {
    let (folder, mark) = (tempfile::tempdir().unwrap(), new_mark());
    let mut caller = caller(&folder, &mark).await;
    caller.kill().unwrap();
    caller.wait().unwrap();
    until("all are gone", || living(&mark).is_empty()).await;
}

#[tokio::test]
async fn of_the_keeper() {
    let fixture = Fixture::new();
    let job = fixture.shell(FAMILY);
    let running = fixture.begin(&job).await;
    kill_process(pid(fixture.keeper.pid()), Signal::KILL).unwrap();
    let ended = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert!(matches!(ended, Err(KeeperError::Gone)), "{ended:?}");
    let another = fixture.run(&job).await;
    assert!(matches!(another, Err(KeeperError::Gone)), "{another:?}");

    assert_eq!(end_strays("no such state"), Strays::default());
    let left = living(&fixture.mark);
    assert!(!left.is_empty(), "what left its group is still there, else this proves nothing");
    let strays = end_strays(&fixture.mark);
    assert!(strays.ended > 0 && strays.left == 0, "{strays:?}");
    assert_eq!(living(&fixture.mark), [0; 0]);
    assert_eq!(end_strays(&fixture.mark), Strays::default());
}

#[tokio::test]
async fn of_both_at_once() {
    let (folder, mark) = (tempfile::tempdir().unwrap(), new_mark());
    let mut caller = caller(&folder, &mark).await;
    let [keeper] = children(i32::try_from(caller.id()).unwrap())[..] else {
        panic!("a keeper and no other child")
    };
    let keeper = Pid::from_raw(keeper).unwrap();
    let [main] =
        children(keeper.as_raw_pid()).into_iter().filter(|pid| is_main(*pid)).collect::<Vec<_>>()[..]
    else {
        panic!("one main process");
    };
    // A stopped keeper does not see its caller's end: it is as if both were killed in the same instant.
    kill_process(keeper, Signal::STOP).unwrap();
    caller.kill().unwrap();
    kill_process(keeper, Signal::KILL).unwrap();
    caller.wait().unwrap();
    until("the kernel has ended the main process", || !living(&mark).contains(&main)).await;
    let left = living(&mark);
    assert!(!left.is_empty(), "what left its group is still there, else this proves nothing");
    let strays = end_strays(&mark);
    assert!(strays.ended > 0 && strays.left == 0, "{strays:?}");
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
    let keeper = pid(fixture.keeper.pid());
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::TSTP, Signal::PIPE] {
        kill_process(keeper, signal).unwrap();
    }
    assert_eq!(fixture.run_shell("exit 9").await.0.status, ExitKind::Code(9));
    assert_eq!(getsid(Some(keeper)).unwrap(), keeper);
}

#[tokio::test]
async fn what_is_no_keeper_is_an_error_and_not_a_wait() {
    let fixture = Fixture::new();
    let missing = Keeper::start(&fixture.path("none")).unwrap_err();
    assert!(matches!(missing, KeeperError::Spawn { .. }), "{missing:?}");
    let other = Keeper::start("/bin/true".as_ref()).unwrap();
    let run = timeout(PATIENCE, other.run(fixture.shell("true"))).await.unwrap();
    assert!(matches!(run, Err(KeeperError::Gone)), "{run:?}");
}

#[test]
fn a_keeper_that_was_started_by_hand_says_so() {
    let output = Command::new(example()).arg(KEEPER_ARGUMENT).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    let expect = "the keeper process cannot start: its standard input and output are not pipes";
    assert!(text.contains(expect), "{text}");
}
