//! Runs a pipeline as a daemon does: under a keeper that outlives this process, going on with the last run if that was cut off.
//!
//! ```text
//! cargo run --example daemon -- PROJECT
//! ```
//!
//! `PROJECT` holds `pipeline.toml`. Each attempt that is adopted is told on a line of its own; the last line is how the run ended.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cairn_executor::isolation::{KEEPER_ARGUMENT, Keeper, keeper_main};
use cairn_executor::{Hands, Project, recover};
use cairn_model::{Clock, InstanceEvent, Reason, RunEvent, RunId, RunStatus, SystemClock};
use cairn_scheduler::definition::{Definition, Given};
use cairn_scheduler::launch::{Asked, Launched, Leftovers, Resumed, alone, launch};
use cairn_scheduler::run::Run;
use cairn_store::{Access, Durability, ProcessId, Store};

fn main() -> ExitCode {
    let argument = std::env::args_os().nth(1).expect("a folder");
    // Before anything else: the keeper is to stay small.
    if argument == KEEPER_ARGUMENT {
        return keeper_main().into();
    }
    let root = std::fs::canonicalize(argument).expect("a folder");
    match serve(&root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(root: &Path) -> Result<(), Box<dyn Error>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let state = root.join(".cairn");
    std::fs::create_dir_all(&state)?;
    let project = Project::new(root.to_owned(), state.clone(), root.to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;

    // In this order: the store's lock, then the keeper, then what can be cleared away.
    let store = Store::open(&state, Access::Write, &*clock)?;
    let (keeper, held) = Keeper::outliving(Path::new("/proc/self/exe"), &state, &project.state_id())?;
    let folders = [root.join("out")].into();
    let taken = runtime.block_on(recover::take_over(&project, &store, &folders, &keeper, held))?;

    let cut_off = store.runs(1)?.into_iter().find(|(_, record)| record.status == RunStatus::Running);
    let run = cut_off.as_ref().map_or_else(|| RunId::generate(&*clock), |(run, _)| *run);
    let resumed = cut_off.map(|(_, record)| Resumed::of(&store, run, record)).transpose()?;
    let resumed = resumed.map(|resumed| Resumed { held: taken.attempts, ..resumed });
    let logical_time = resumed.as_ref().map_or(clock.now(), |resumed| resumed.record.logical_time);
    let file = root.join("pipeline.toml");
    let definition = Definition {
        root: root.to_owned(),
        state,
        bytes: std::fs::read(&file)?,
        file,
        shown: "pipeline.toml".to_owned(),
        default_name: "example".to_owned(),
    };
    let given = Given { params: Vec::new(), logical_time, interval: None, run: Some(run) };
    let checked = definition.check(&given).map_err(|_| "the pipeline is wrong")?;
    let (of, asked) = ((run, logical_time), Asked::default());
    let launched = launch(
        &checked,
        &store,
        of,
        &asked,
        resumed.as_ref(),
        (Leftovers::Leave, alone(&store)),
        Arc::clone(&clock),
    )?;
    let Launched { record, engine, machine, not_held, .. } = launched;
    for attempt in &not_held {
        runtime.block_on(recover::give_up(&project, &store, &keeper, None, attempt))?;
    }
    let _inside = runtime.enter();
    let committer = engine.committer(false)?;
    let process = ProcessId::current();
    let (stopped, killed) = (Arc::default(), Arc::default());
    let hands = Arc::new(Hands { keeper, committer, process, stopped, killed, own_thread: false });
    let listening = engine.listen(&hands)?;
    let (_sender, signals) = tokio::sync::mpsc::unbounded_channel();
    let mut observe = |event: cairn_model::Event, _: Option<PathBuf>| {
        if let RunEvent::Instance { instance, event } = event.what
            && let InstanceEvent::AttemptStarted { attempt, reason: Reason::Again(why), .. } = event
            && why.starts_with("adopted")
        {
            let _ = writeln!(io::stdout(), "adopted {instance} {attempt}");
        }
    };
    let run = Run {
        leases: None,
        end: Durability::Synced,
        id: run,
        record,
        resumed: resumed.is_some(),
        engine,
        hands,
        rollback: false,
        clock,
        signals,
        observe: &mut observe,
    };
    let ended = runtime.block_on(run.drive(machine))?;
    drop(listening);
    writeln!(io::stdout(), "{}", ended.status)?;
    Ok(())
}
