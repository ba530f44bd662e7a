//! A keeper that outlives its callers: what goes on, what ends, and what the next caller is told.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cairn_executor::isolation::{
    Ended, ExitKind, Held, Job, KEEPER_ARGUMENT, Keeper, KeeperError, STATE_VARIABLE,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use crate::support::{Fixture, PATIENCE, example, living, new_mark, outliving, text_of, until};

/// Waits for a file, and ends with 7.
const WAITS: &str = "touch ready; until [ -e go ]; do sleep 0.02; done; echo went on; exit 7 # MARK";

fn socket(state: &Path) -> PathBuf {
    let entries = std::fs::read_dir(state.join("run")).unwrap().map(|entry| entry.unwrap().path());
    let is_socket = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("keeper-") && path.extension().is_none_or(|extension| extension != "lock")
    };
    entries.into_iter().find(is_socket).unwrap()
}

/// Waits for the end of a process, which its parent need not know of yet.
async fn has_ended(pid: u32) {
    until("it has ended", || std::fs::read_link(format!("/proc/{pid}/exe")).is_err()).await;
}

async fn end_of(keeper: &Keeper, token: &str) -> Result<Ended, KeeperError> {
    timeout(PATIENCE, keeper.wait(token)).await.expect("it does not hang")
}

/// Starts `job` with the fixture's keeper, and lets go of that while it runs.
async fn leave(fixture: &Fixture, job: &Job) {
    let running = fixture.begin(job).await;
    running.abort();
    drop(running.await);
}

#[tokio::test]
async fn a_job_goes_on_and_the_next_caller_learns_how_it_ended() {
    let mut fixture = Fixture::outliving();
    let job = fixture.shell(WAITS);
    leave(&fixture, &job).await;
    let first = fixture.keeper.pid();
    let (second, held) = outliving(fixture.folder.path());
    assert_eq!(held, [Held { job: job.clone(), ended: None }]);
    assert_eq!(second.pid(), first);
    fixture.keeper = second;
    std::fs::write(fixture.path("go"), "").unwrap();
    let ended = end_of(&fixture.keeper, &job.token).await.unwrap();
    assert_eq!((ended.status, ended.stopped), (ExitKind::Code(7), false));
    assert_eq!(text_of(&job), "went on\n");
    // It is kept until it is acknowledged, and no longer.
    let (third, held) = outliving(fixture.folder.path());
    assert_eq!(held, [Held { job: job.clone(), ended: Some(ended.clone()) }]);
    assert_eq!(end_of(&third, &job.token).await.unwrap(), ended);
    third.forget(&job.token);
    let (fourth, held) = outliving(fixture.folder.path());
    assert_eq!(held, []);
    assert!(matches!(end_of(&fourth, &job.token).await, Err(KeeperError::Gone)));
    fixture.keeper = fourth;
}

#[tokio::test]
async fn a_caller_that_is_killed_leaves_its_job_and_takes_no_status_along() {
    let (folder, mark) = (tempfile::tempdir().unwrap(), new_mark());
    let mut command = Command::new(example());
    command.arg("--outliving").arg(folder.path()).arg("--folder").arg(folder.path());
    command.args(["sh", "-c", &WAITS.replace("MARK", &mark)]).env(STATE_VARIABLE, &mark);
    let mut caller = command.stdout(Stdio::null()).spawn().unwrap();
    until("the job is ready", || folder.path().join("ready").exists()).await;
    caller.kill().unwrap();
    caller.wait().unwrap();
    // It ends while nobody is there.
    std::fs::write(folder.path().join("go"), "").unwrap();
    until("it has ended", || living(&mark).is_empty()).await;
    let (keeper, held) = Keeper::outliving(&example(), folder.path(), "example").unwrap();
    let [Held { job, .. }] = &held[..] else { panic!("{held:?}") };
    let ended = end_of(&keeper, &job.token).await.unwrap();
    assert_eq!(ended.status, ExitKind::Code(7));
    assert_eq!(text_of(job), "went on\n");
    keeper.forget(&job.token);
}

#[tokio::test]
async fn what_is_tied_ends_with_the_caller() {
    let fixture = Fixture::outliving();
    let tied = Job { tied: true, ..fixture.shell("touch tied; sleep 1000.MARK") };
    let (keeper, running) = (fixture.keeper.clone(), tied.clone());
    let running = tokio::spawn(async move { keeper.run(running).await });
    until("it is there", || fixture.path("tied").exists()).await;
    let job = fixture.shell(WAITS);
    leave(&fixture, &job).await;
    let (next, held) = outliving(fixture.folder.path());
    assert_eq!(held, [Held { job: job.clone(), ended: None }], "nobody is told of what is tied");
    until("it is gone", || living(&format!("1000.{}", fixture.mark)).is_empty()).await;
    let ended = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert!(matches!(ended, Err(KeeperError::Gone)), "the first caller has no keeper any more: {ended:?}");
    next.discard(&job.token).await;
    assert_eq!(living(&fixture.mark), [0; 0]);
    assert_eq!(outliving(fixture.folder.path()).1, []);
}

#[tokio::test]
async fn who_asks_for_what_is_held_no_more_is_told_so_and_all_others_wait_on() {
    let fixture = Fixture::outliving();
    let (given_up, waited_for) = (fixture.shell(WAITS), fixture.shell(WAITS));
    let running = fixture.begin(&given_up).await;
    std::fs::remove_file(fixture.path("ready")).unwrap();
    let other = fixture.begin(&waited_for).await;
    let (next, held) = outliving(fixture.folder.path());
    assert_eq!(held.len(), 2);
    drop((running, other));
    let (keeper, token) = (next.clone(), waited_for.token.clone());
    let waiting = tokio::spawn(async move { keeper.wait(&token).await });
    let (keeper, token) = (next.clone(), given_up.token.clone());
    let also_waiting = tokio::spawn(async move { keeper.wait(&token).await });
    tokio::task::yield_now().await;
    timeout(PATIENCE, next.discard(&given_up.token)).await.unwrap();
    assert!(timeout(PATIENCE, also_waiting).await.unwrap().unwrap().unwrap().stopped);
    timeout(PATIENCE, next.discard(&given_up.token)).await.unwrap();
    let again = timeout(PATIENCE, next.wait(&given_up.token)).await.unwrap();
    assert!(matches!(again, Err(KeeperError::Gone)), "{again:?}");
    std::fs::write(fixture.path("go"), "").unwrap();
    let ended = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(ended.unwrap().status, ExitKind::Code(7));
    next.forget(&waited_for.token);
}

#[tokio::test]
async fn what_this_process_started_is_discarded_as_well() {
    let fixture = Fixture::outliving();
    let job = fixture.shell(WAITS);
    let running = fixture.begin(&job).await;
    timeout(PATIENCE, fixture.keeper.discard(&job.token)).await.unwrap();
    assert_eq!(living(&fixture.mark), [0; 0]);
    assert!(timeout(PATIENCE, running).await.unwrap().unwrap().unwrap().stopped);
    assert_eq!(outliving(fixture.folder.path()).1, []);
}

#[tokio::test]
async fn of_two_callers_the_newer_one_counts() {
    let fixture = Fixture::outliving();
    let job = fixture.shell(WAITS);
    let running = fixture.begin(&job).await;
    let (second, held) = outliving(fixture.folder.path());
    assert_eq!(held.len(), 1);
    let first = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert!(matches!(first, Err(KeeperError::Gone)), "{first:?}");
    std::fs::write(fixture.path("go"), "").unwrap();
    assert_eq!(end_of(&second, &job.token).await.unwrap().status, ExitKind::Code(7));
    second.forget(&job.token);
}

#[tokio::test]
async fn a_keeper_that_is_killed_takes_its_jobs_along_and_has_a_successor() {
    let fixture = Fixture::outliving();
    let done = fixture.shell("exit 3");
    assert_eq!(fixture.run(&done).await.unwrap().status, ExitKind::Code(3));
    let job = fixture.shell(WAITS);
    let running = fixture.begin(&job).await;
    let keeper = Pid::from_raw(i32::try_from(fixture.keeper.pid()).unwrap()).unwrap();
    kill_process(keeper, Signal::KILL).unwrap();
    let ended = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert!(matches!(ended, Err(KeeperError::Gone)), "{ended:?}");
    until("the kernel has ended it", || living(&fixture.mark).is_empty()).await;
    // How those ended that had ended by then is not lost.
    let (next, held) = outliving(fixture.folder.path());
    let [Held { job: kept, ended: Some(Ended { status: ExitKind::Code(3), .. }) }] = &held[..] else {
        panic!("{held:?}")
    };
    assert_eq!(*kept, done);
    assert_eq!(end_of(&next, &done.token).await.unwrap().status, ExitKind::Code(3));
    next.forget(&done.token);
    assert_eq!(outliving(fixture.folder.path()).1, []);
    // A caller whose keeper is killed has the next job run by another one.
    assert_ne!(next.pid(), fixture.keeper.pid());
    assert_eq!(fixture.run(&fixture.shell("exit 4")).await.unwrap().status, ExitKind::Code(4));
}

#[tokio::test]
async fn noise_at_the_socket_ends_no_conversation() {
    let fixture = Fixture::outliving();
    let job = fixture.shell(WAITS);
    let running = fixture.begin(&job).await;
    let path = socket(fixture.folder.path());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let silent = UnixStream::connect(&path).unwrap();
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 200], &[12, 0, 0, 0, 1, 2, 3], &[0; 4], &[]] {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(noise).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        // It may be sent away before all that it said was read.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, [0; 0], "{noise:?}");
    }
    assert!(!running.is_finished());
    std::fs::write(fixture.path("go"), "").unwrap();
    let ended = timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    assert_eq!(ended.status, ExitKind::Code(7));
    drop(silent);
}

#[tokio::test]
async fn without_jobs_and_callers_it_ends_and_leaves_nothing() {
    let Fixture { folder, keeper, .. } = Fixture::outliving();
    let pid = keeper.pid();
    drop(keeper);
    has_ended(pid).await;
    assert!(!folder.path().join("run").exists());
}

#[tokio::test]
async fn a_state_folder_has_one_keeper_however_many_ask_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let found = Keeper::outliving(&example(), &path, "one");
                // One that came after it may have taken its place before all was said.
                found.ok().map(|(keeper, _)| keeper.pid())
            })
        })
        .collect();
    let mut pids: Vec<u32> = asking.into_iter().filter_map(|asking| asking.join().unwrap()).collect();
    pids.dedup();
    assert_eq!(pids.len(), 1, "{pids:?}");
}

#[test]
fn one_that_was_started_by_hand_says_so() {
    let output =
        Command::new(example()).arg(KEEPER_ARGUMENT).arg("/tmp/keeper-1").stdin(Stdio::null()).output();
    assert_eq!(output.unwrap().status.code(), Some(2));
}

#[tokio::test]
async fn what_ended_before_a_power_cut_does_not_count() {
    let fixture = Fixture::outliving();
    let job = fixture.shell("exit 3");
    fixture.run(&job).await.unwrap();
    let keeper = Pid::from_raw(i32::try_from(fixture.keeper.pid()).unwrap()).unwrap();
    kill_process(keeper, Signal::KILL).unwrap();
    let file = fixture.path("run/ended").join(&job.token);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(boot.len()).position(|part| part == boot.as_bytes()).unwrap();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    std::fs::write(&file, bytes).unwrap();
    has_ended(fixture.keeper.pid()).await;
    assert_eq!(outliving(fixture.folder.path()).1, []);
    assert!(!file.exists());
}

#[tokio::test]
async fn a_keeper_of_another_version_goes_on_with_what_it_has() {
    let fixture = Fixture::outliving();
    let job = fixture.shell(WAITS);
    leave(&fixture, &job).await;
    // As if it had been started by an older cairn.
    let socket = socket(fixture.folder.path());
    let name = socket.file_name().unwrap().to_str().unwrap();
    for (from, to) in [(name.to_owned(), "keeper-0.0.0"), (format!("{name}.lock"), "keeper-0.0.0.lock")] {
        Command::new("mv").arg(socket.with_file_name(from)).arg(socket.with_file_name(to)).status().unwrap();
    }
    let (next, held) = outliving(fixture.folder.path());
    assert_eq!(held, [Held { job: job.clone(), ended: None }]);
    assert_ne!(next.pid(), fixture.keeper.pid(), "new jobs go to a keeper of this version");
    let new = fixture.shell("exit 5");
    let ended = timeout(PATIENCE, next.run(new.clone())).await.unwrap().unwrap();
    assert_eq!(ended.status, ExitKind::Code(5));
    next.forget(&new.token);
    std::fs::write(fixture.path("go"), "").unwrap();
    assert_eq!(end_of(&next, &job.token).await.unwrap().status, ExitKind::Code(7));
    next.forget(&job.token);
    assert_eq!(std::fs::read_dir(fixture.path("run/ended")).unwrap().count(), 0);
}
