//! Runs commands under a keeper, and prints how each ended.
//!
//! ```text
//! cargo run --example keeper -- [--jobs N] [--times N] [--folder DIR] [--outliving STATE] COMMAND [ARGUMENT…]
//! ```
//!
//! `--times` runs it so often, `--jobs` so many at once. The logs go to `DIR`, and the environment is this process's own. With
//! `--outliving STATE` it is a keeper that outlives this process.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use cairn_executor::isolation::{Job, KEEPER_ARGUMENT, Keeper, TOKEN_VARIABLE, keeper_main};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    // Before anything else: the keeper is to stay small.
    if arguments.peek().is_some_and(|first| first == KEEPER_ARGUMENT) {
        return keeper_main().into();
    }
    let (mut jobs, mut times, mut folder, mut outliving) = (1, 1, std::env::temp_dir(), None);
    while let Some(option) = arguments.next_if(|argument| argument.starts_with("--")) {
        let value = arguments.next().expect("an option has a value");
        match option.as_str() {
            "--jobs" => jobs = value.parse().expect("a number"),
            "--times" => times = value.parse().expect("a number"),
            "--folder" => folder = PathBuf::from(value),
            "--outliving" => outliving = Some(PathBuf::from(value)),
            _ => panic!("unknown option `{option}`"),
        }
    }
    let program = Path::new("/proc/self/exe");
    let keeper = match outliving {
        Some(state) => Keeper::outliving(program, &state, "example").map(|(keeper, _)| keeper),
        None => Keeper::start(program),
    };
    let done = keeper.map_err(Into::into);
    match done.and_then(|keeper| run(&keeper, &arguments.collect::<Vec<_>>(), jobs, times, &folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    keeper: &Keeper,
    argv: &[String],
    jobs: u64,
    times: u64,
    folder: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let started = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..jobs)
        .map(|_| {
            let (keeper, next, argv) = (keeper.clone(), Arc::clone(&next), argv.to_vec());
            let folder = folder.to_owned();
            runtime.spawn(async move {
                let mut last = None;
                while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < times) {
                    last = Some(keeper.run(job(&argv, number, &folder)).await?);
                }
                Ok::<_, cairn_executor::isolation::KeeperError>(last)
            })
        })
        .collect();
    for worker in workers {
        if let Some(ended) = runtime.block_on(worker)?? {
            writeln!(io::stdout(), "{ended:?}")?;
        }
    }
    writeln!(io::stdout(), "{times} × {argv:?}, {jobs} at once: {:?}", started.elapsed())?;
    Ok(())
}

fn job(argv: &[String], number: u64, folder: &Path) -> Job {
    let token = format!("example-{}-{number}", std::process::id());
    let mut env: Vec<_> = std::env::vars().collect();
    env.push((TOKEN_VARIABLE.to_owned(), token.clone()));
    Job {
        argv: argv.to_vec(),
        env,
        cwd: folder.to_owned(),
        stdin: None,
        stdout: None,
        log: folder.join(format!("{token}.log")),
        token,
        log_max: 64 << 20,
        timeout_ms: None,
        kill_after_ms: 10_000,
        tied: false,
    }
}
