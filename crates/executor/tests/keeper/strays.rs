//! Nothing of a job outlives it.

use cairn_executor::isolation::ExitKind;

use crate::support::{Fixture, children, living, until, zombies};

/// Runs a shell text that leaves processes behind; all must be gone when it is said to have ended.
async fn check(text: &str, strays: u32) {
    let fixture = Fixture::new();
    let (ended, _) = fixture.run_shell(text).await;
    assert_eq!(living(&fixture.mark), [0; 0], "{text}");
    assert_eq!((ended.status, ended.strays, ended.survivors), (ExitKind::Code(0), strays, 0), "{text}");
    let keeper = i32::try_from(fixture.keeper.pid()).unwrap();
    assert_eq!(children(keeper), [0; 0], "{text}");
}

#[tokio::test]
async fn one_in_the_background() {
    check("sleep 1000.MARK &", 1).await;
}

#[tokio::test]
async fn one_that_ignores_signals() {
    check("trap '' HUP INT TERM; sleep 1000.MARK & sleep 1000.MARK & sleep 0.1", 2).await;
}

#[tokio::test]
async fn one_with_a_session_of_its_own() {
    check("setsid sleep 1000.MARK & sleep 0.1", 1).await;
}

#[tokio::test]
async fn one_forked_twice() {
    check("(setsid sh -c 'sleep 1000.MARK & sleep 1000.MARK' &) & sleep 0.2", 3).await;
}

#[tokio::test]
async fn a_daemon_without_environment_and_output() {
    check("(env -i setsid sleep 1000.MARK </dev/null >/dev/null 2>&1 &) & sleep 0.2", 1).await;
}

#[tokio::test]
async fn one_that_keeps_the_pipes_open() {
    check("setsid sh -c 'exec 3>&1 4>&2; exec sleep 1000.MARK' & sleep 0.1; echo done", 1).await;
}

#[tokio::test]
async fn one_that_keeps_forking() {
    // Each starts the next and ends, so that none lives for long. Of several such lines one may end where the system refuses a fork.
    let fixture = Fixture::new();
    let text = "setsid sh -c 'hop() { (sleep 0.001; hop) & }; hop; hop; hop; : MARK' & sleep 0.3";
    let (ended, told) = fixture.run_shell(text).await;
    assert!(ended.strays > 0, "{ended:?}: {told}");
    assert_eq!(living(&fixture.mark), [0; 0]);
    assert_eq!(children(i32::try_from(fixture.keeper.pid()).unwrap()), [0; 0]);
}

#[tokio::test]
async fn what_is_about_to_end_gets_to_write_its_output() {
    let fixture = Fixture::new();
    let (ended, text) = fixture.run_shell("(sleep 0.1; echo last) & echo first").await;
    assert_eq!((ended.status, ended.strays), (ExitKind::Code(0), 0));
    assert_eq!(text, "first\nlast\n");
}

#[tokio::test]
async fn a_job_does_not_wait_for_anothers_daemon() {
    let fixture = Fixture::new();
    // Its daemon is an orphan of the keeper while the job still runs, and has nothing to tell whose it is.
    let job = fixture.shell(
        "(env -i setsid sleep 1000.MARK </dev/null >/dev/null 2>&1 &); touch ready; until [ -e go ]; do sleep 0.01; done
         kill -0 $(cat pid) && echo still there",
    );
    let running = fixture.begin(&job).await;
    let keeper = i32::try_from(fixture.keeper.pid()).unwrap();
    let mut daemon = None;
    until("it is an orphan", || {
        // The job's token is in the environment of all its other processes.
        let others = living(&job.token);
        let marked = living(&format!("1000.{}", fixture.mark)).into_iter();
        daemon = marked.filter(|pid| !others.contains(pid)).find(|pid| children(keeper).contains(pid));
        daemon.is_some()
    })
    .await;
    std::fs::write(fixture.path("pid"), daemon.unwrap().to_string()).unwrap();

    for _ in 0..3 {
        let (ended, _) = fixture.run_shell("(setsid sleep 1000.1 &); sleep 0.2").await;
        assert_eq!((ended.status, ended.strays), (ExitKind::Code(0), 1));
    }
    std::fs::write(fixture.path("go"), "").unwrap();
    let ended = running.await.unwrap().unwrap();
    assert_eq!(crate::support::text_of(&job), "still there\n");
    assert_eq!((ended.status, ended.strays), (ExitKind::Code(0), 1));
    assert_eq!(children(keeper), [0; 0]);
}

#[tokio::test]
async fn unknown_daemons_go_with_the_last_job_that_may_have_started_them() {
    let fixture = Fixture::new();
    let wait = "until [ -e go ]; do sleep 0.01; done";
    let first = fixture.shell(&format!("touch ready; {wait}"));
    let running = fixture.begin(&first).await;
    let daemon = "(env -i setsid sleep 1000.MARK </dev/null >/dev/null 2>&1 &); sleep 0.2";
    let (ended, _) = fixture.run_shell(daemon).await;
    assert_eq!((ended.status, ended.strays), (ExitKind::Code(0), 0), "it may be the other job's");
    std::fs::write(fixture.path("go"), "").unwrap();
    let ended = running.await.unwrap().unwrap();
    assert_eq!((ended.status, ended.strays), (ExitKind::Code(0), 1));
    assert_eq!(living(&format!("1000.{}", fixture.mark)), [0; 0]);
}

#[tokio::test]
async fn orphans_that_end_are_reaped_while_the_job_runs() {
    let fixture = Fixture::new();
    let job = fixture.shell(
        "i=0; while [ $i -lt 50 ]; do (setsid true &); i=$((i+1)); done; touch ready; until [ -e go ]; do sleep 0.01; done",
    );
    let running = fixture.begin(&job).await;
    let keeper = i32::try_from(fixture.keeper.pid()).unwrap();
    until("none is left", || children(keeper).len() == 1 && zombies(keeper) == 0).await;
    std::fs::write(fixture.path("go"), "").unwrap();
    assert_eq!(running.await.unwrap().unwrap().status, ExitKind::Code(0));
}
