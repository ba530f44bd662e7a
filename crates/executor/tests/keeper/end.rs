//! How jobs end, by themselves and otherwise.

use cairn_executor::isolation::ExitKind;

use crate::support::{FOREVER_MS, Fixture, living, text_of, until, zombies};

#[tokio::test]
async fn the_exit_status_is_the_commands() {
    let fixture = Fixture::new();
    for status in [0, 1, 42, 127, 255] {
        let (ended, _) = fixture.run_shell(&format!("exit {status}")).await;
        assert_eq!(ended.status, ExitKind::Code(status));
        assert!(!ended.stopped && !ended.timed_out && ended.strays == 0 && ended.survivors == 0, "{ended:?}");
    }
}

#[tokio::test]
async fn the_signal_is_the_one_that_ended_it() {
    let fixture = Fixture::new();
    for signal in [6, 9, 11, 15] {
        let (ended, _) = fixture.run_shell(&format!("kill -{signal} $$")).await;
        assert_eq!(ended.status, ExitKind::Signal(signal));
        assert!(!ended.stopped && !ended.timed_out, "{ended:?}");
    }
}

#[tokio::test]
async fn what_it_used_is_told() {
    let fixture = Fixture::new();
    let (ended, _) = fixture
        .run_shell(
            "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; head -c 40M /dev/zero | tail -c 39M | wc -c",
        )
        .await;
    assert!(ended.user_ms + ended.sys_ms > 20, "{ended:?}");
    assert!(ended.took_ms > 20, "{ended:?}");
    assert!(ended.max_rss_bytes > 39 << 20, "{ended:?}");
}

#[tokio::test]
async fn a_command_out_of_time_is_asked_to_end() {
    let fixture = Fixture::new();
    let mut job = fixture.shell("trap 'echo asked; exit 3' TERM; while :; do sleep 0.01; done");
    job.timeout_ms = Some(200);
    let ended = fixture.run(&job).await.unwrap();
    assert_eq!((ended.status, ended.timed_out, ended.stopped), (ExitKind::Code(3), true, false));
    // The shell itself may tell that its `sleep` was ended too.
    assert!(text_of(&job).contains("asked\n"));
}

#[tokio::test]
async fn a_command_that_will_not_end_is_killed() {
    let fixture = Fixture::new();
    let mut job = fixture.shell("trap '' TERM; sleep 1000.MARK & while :; do sleep 0.01; done");
    job.timeout_ms = Some(100);
    job.kill_after_ms = 100;
    let ended = fixture.run(&job).await.unwrap();
    assert_eq!((ended.status, ended.timed_out, ended.stopped), (ExitKind::Signal(9), true, false));
    assert_eq!(living(&fixture.mark), [0; 0]);
}

#[tokio::test]
async fn a_command_in_time_is_left_alone() {
    let fixture = Fixture::new();
    let mut job = fixture.shell("exit 4");
    job.timeout_ms = Some(FOREVER_MS);
    let ended = fixture.run(&job).await.unwrap();
    assert_eq!((ended.status, ended.timed_out), (ExitKind::Code(4), false));
}

#[tokio::test]
async fn terminate_asks_every_process_of_one_job_once() {
    let fixture = Fixture::new();
    // One in the group and one that left it; each says how often it was asked.
    let job = fixture.shell(
        "count='n=0; trap \"n=\\$((n+1))\" TERM; echo up; while [ $n = 0 ]; do sleep 0.01; done; sleep 0.2; echo asked $n'
         sh -c \"$count\" & setsid sh -c \"$count\" &
         trap 'wait; echo main asked; exit 0' TERM; touch ready; while :; do sleep 0.01; done",
    );
    let running = fixture.begin(&job).await;
    until("both are up", || text_of(&job).matches("up").count() == 2).await;
    fixture.keeper.terminate(&job.token);
    let ended = running.await.unwrap().unwrap();
    assert_eq!((ended.status, ended.stopped, ended.timed_out), (ExitKind::Code(0), true, false));
    assert_eq!(ended.strays, 0, "they ended by themselves");
    let text = text_of(&job);
    let mut asked: Vec<&str> = text.lines().filter(|line| line.contains("asked")).collect();
    asked.sort_unstable();
    assert_eq!(asked, ["asked 1", "asked 1", "main asked"]);
}

#[tokio::test]
async fn after_asking_the_rest_gets_the_whole_grace() {
    let fixture = Fixture::new();
    // The shell ends at once when asked; what it started takes its time to put things in order.
    let job = fixture.shell(
        "sh -c 'trap \"sleep 1; echo in order; exit\" TERM; touch ready; while :; do sleep 0.01; done' & wait",
    );
    let running = fixture.begin(&job).await;
    fixture.keeper.terminate(&job.token);
    let ended = running.await.unwrap().unwrap();
    assert_eq!((ended.status, ended.stopped, ended.strays), (ExitKind::Signal(15), true, 0));
    assert!(text_of(&job).ends_with("in order\n"));
}

#[tokio::test]
async fn a_stopped_process_is_asked_too() {
    let fixture = Fixture::new();
    let job = fixture.shell("touch ready; kill -STOP $$; echo no");
    let running = fixture.begin(&job).await;
    fixture.keeper.terminate(&job.token);
    let ended = running.await.unwrap().unwrap();
    assert_eq!((ended.status, ended.stopped), (ExitKind::Signal(15), true));
}

#[tokio::test]
async fn kill_does_not_ask() {
    let fixture = Fixture::new();
    let text = "trap 'echo asked' TERM; sleep 1000.MARK & setsid sleep 1000.MARK & touch ready; while :; do sleep 0.01; done";
    let job = fixture.shell(text);
    let running = fixture.begin(&job).await;
    until("all are there", || living(&fixture.mark).len() >= 3).await;
    fixture.keeper.kill(&job.token);
    let ended = running.await.unwrap().unwrap();
    assert_eq!((ended.status, ended.stopped, ended.timed_out), (ExitKind::Signal(9), true, false));
    assert_eq!(living(&fixture.mark), [0; 0]);
    assert_eq!(text_of(&job), "");
}

#[tokio::test]
async fn a_gentle_stop_can_be_hurried() {
    let fixture = Fixture::new();
    let job = fixture.shell("trap '' TERM; touch ready; while :; do sleep 0.01; done");
    let running = fixture.begin(&job).await;
    fixture.keeper.terminate_all();
    fixture.keeper.kill_all();
    let ended = running.await.unwrap().unwrap();
    assert_eq!((ended.status, ended.stopped), (ExitKind::Signal(9), true));
}

#[tokio::test]
async fn one_job_is_stopped_and_no_other() {
    let fixture = Fixture::new();
    let job = fixture.shell("touch ready; sleep 1000.MARK");
    let running = fixture.begin(&job).await;
    let other = fixture.shell("until [ -e go ]; do sleep 0.01; done; exit 7");
    let (keeper, that) = (fixture.keeper.clone(), other.clone());
    let others = tokio::spawn(async move { keeper.run(that).await });
    until("the other runs", || !living(&other.token).is_empty()).await;
    fixture.keeper.kill("no such job");
    fixture.keeper.kill(&job.token);
    assert!(running.await.unwrap().unwrap().stopped);
    std::fs::write(fixture.path("go"), "").unwrap();
    let ended = others.await.unwrap().unwrap();
    assert_eq!((ended.status, ended.stopped), (ExitKind::Code(7), false));
}

#[tokio::test]
async fn to_drop_the_future_is_to_kill_the_job() {
    let fixture = Fixture::new();
    let job = fixture.shell("trap '' TERM; setsid sleep 1000.MARK & touch ready; sleep 1000.MARK");
    let running = fixture.begin(&job).await;
    running.abort();
    until("it is gone", || living(&fixture.mark).is_empty()).await;
    // And the keeper goes on.
    assert_eq!(fixture.run_shell("exit 5").await.0.status, ExitKind::Code(5));
}

#[tokio::test]
async fn to_drop_the_keeper_is_to_end_everything() {
    let fixture = Fixture::new();
    let job = fixture.shell("setsid sleep 1000.MARK & touch ready; sleep 1000.MARK");
    let running = fixture.begin(&job).await;
    running.abort();
    let _ = running.await;
    let pid = i32::try_from(fixture.keeper.pid()).unwrap();
    let Fixture { keeper, mark, .. } = fixture;
    drop(keeper);
    assert_eq!(living(&mark), [0; 0]);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "not even a zombie is left");
}

#[tokio::test]
async fn two_hundred_jobs_at_once() {
    let fixture = Fixture::new();
    let jobs: Vec<_> = (0..200)
        .map(|number| {
            let mut job = fixture.shell(&format!(
                "touch up-{number}; until [ -e go ]; do sleep 0.05; done; echo {number}; exit {}",
                number % 100
            ));
            job.timeout_ms = Some(FOREVER_MS);
            job
        })
        .collect();
    let running: Vec<_> = jobs
        .iter()
        .map(|job| {
            let (keeper, job) = (fixture.keeper.clone(), job.clone());
            tokio::spawn(async move { keeper.run(job).await })
        })
        .collect();
    until("all run", || (0..200).all(|number| fixture.path(&format!("up-{number}")).exists())).await;
    std::fs::write(fixture.path("go"), "").unwrap();
    for (number, (job, running)) in jobs.iter().zip(running).enumerate() {
        let ended = running.await.unwrap().unwrap();
        assert_eq!(ended.status, ExitKind::Code(i32::try_from(number % 100).unwrap()));
        assert_eq!(text_of(job), format!("{number}\n"));
    }
    assert_eq!(zombies(i32::try_from(fixture.keeper.pid()).unwrap()), 0);
}
