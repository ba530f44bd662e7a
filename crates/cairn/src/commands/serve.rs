//! `cairn serve`: the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_executor::isolation::Keeper;
use cairn_executor::recover::{self, TakenOver};
use cairn_model::{Clock, Digest, SystemClock};
use cairn_server::gate::{Gate, random_hex};
use cairn_server::listen::Socket;
use cairn_server::mail::PasswordIn;
use cairn_server::{Daemon, Located, Setup, api, listen};
use cairn_store::{Access, OpenError, Store};
use hyper::Method;
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use crate::args::{Globals, examples};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::project::{PipelineFile, Project, claim};
use crate::remote::Remote;
use crate::settings::serve::parse_bind;
use crate::terminal::text::append;
use crate::terminal::{Terminal, style};
use crate::work::{Given, cpus};

/// Run pipelines by their schedules, with a queue, an API and pages.
///
/// It holds the project's store: while it runs, `cairn run` and the other commands ask it, by a socket in the state folder.
/// It may be killed at any moment; the next one goes on where it stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn serve", "this project, with pages at http://127.0.0.1:8787"),
    ("cairn serve --bind 9000", "at another port"),
    ("cairn serve --link", "a login link of the daemon that runs"),
]))]
pub(crate) struct Args {
    /// The project's folder [default: that of the current folder]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Address and port of the API and the pages; a port alone is the loopback's [default: `[serve]` in `cairn.toml`]
    #[arg(long, value_name = "ADDRESS", value_parser = bind)]
    bind: Option<SocketAddr>,
    /// Let it listen at an address that other machines reach, without TLS
    #[arg(long, conflicts_with = "no_port")]
    expose: bool,
    /// Open no port: only the socket in the state folder
    #[arg(long, conflicts_with = "bind")]
    no_port: bool,
    /// Print a login link of the daemon that runs, and start none
    #[arg(long)]
    link: bool,
}

fn bind(text: &str) -> Result<SocketAddr, String> {
    parse_bind(text)
        .ok_or_else(|| "an address of this machine and a port, such as `127.0.0.1:8787`".to_owned())
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let globals = match &args.folder {
        Some(folder) => Globals { project: Some(folder.clone()), ..context.globals.clone() },
        None => context.globals.clone(),
    };
    let project = Project::find(&globals, &context.terminal)?;
    let state = project.state()?;
    let serve = &project.settings.serve;
    let address = if args.no_port { None } else { args.bind.or(serve.bind) };
    if args.link {
        let remote = Remote::require(&state)?;
        let port = std::fs::read_to_string(state.join(ADDRESS)).ok();
        let port: SocketAddr = port.and_then(|port| port.trim().parse().ok()).ok_or_else(|| {
            Failure::new(ExitStatus::Wrong, "the daemon has no port: there are no pages to log in to")
                .help("start it without `--no-port`")
        })?;
        let answer = remote.ask_again(Method::POST, "/api/v1/login-links")?;
        let path = answer.get("path").and_then(serde_json::Value::as_str).unwrap_or("/");
        context.print(&format!("http://{}{path}\n", listen::called(port)))?;
        return Ok(ExitStatus::Done);
    }
    if let Some(address) = address.filter(|_| !args.expose && !serve.expose) {
        stays_here(address)?;
    }
    let root = project.root_of(&state);
    claim(&state, &root)?;
    let store = open(&state)?;
    // What a daemon that was killed left is no longer so.
    let _ = std::fs::remove_file(state.join(ADDRESS));
    // Refused, it leaves no socket behind at which others would wait.
    let token = token(&state)?;
    // What is missing is told now, not when the first run has failed.
    if let Some(mail) = &project.settings.telling.notify.mail {
        if let Some(password) = &mail.password {
            password
                .read(&root)
                .map_err(|error| Failure::of(ExitStatus::Wrong, &error).help(error.help()))?;
        }
        if let Some(PasswordIn::Variable(variable)) = &mail.password {
            cairn_scheduler::definition::keep_back(variable);
        }
        mail.authorities(&root).map_err(|error| Failure::of(ExitStatus::Wrong, &error).help(error.help()))?;
    }
    // From here on who asks for something waits until all is ready.
    let socket = Socket::bind(&state).map_err(|error| {
        let text = format!("cannot listen at a socket in `{}`", state.display());
        Failure::new(ExitStatus::Store, text).because_of(Some(&error))
    })?;
    let gate = Arc::new(Gate::new(token, serve.hosts.clone()));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let whole = cairn_executor::Project::new(root.clone(), state.clone(), root.clone());
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(ExitStatus::Store, format!("cannot find the running program: {error}"))
    })?;
    let (keeper, held) = Keeper::outliving(&program, &state, &whole.state_id())
        .map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    let runs = serve.runs.unwrap_or_else(|| cpus().max(2)) as usize;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Each run keeps one, and its committer may.
        .max_blocking_threads(BLOCKING_THREADS + 2 * runs)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ExitStatus::Store, format!("cannot start a runtime: {error}")))?;
    let _inside = runtime.enter();
    let list = pipelines(globals, context.terminal, root.clone(), state.clone());
    let in_force =
        store.in_force().map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    let known = in_force.keys().map(|file| root.join(file)).collect();
    let folders = output_folders(&list(&known).unwrap_or_default(), &store, &in_force);
    let found = runtime
        .block_on(recover::take_over(&whole, &store, &folders, &keeper, held))
        .map_err(|error| Failure::of(ExitStatus::Store, &error))?;
    if found != TakenOver::default() {
        tracing::info!(attempts = found.attempts.len(), cleared = ?found.recovered, "took over from the daemon before");
    }
    let telemetry = crate::telemetry::of_process();
    let setup = Setup {
        telling: project.settings.telling.clone(),
        spans: telemetry.clone().map(|to| to as Arc<dyn cairn_scheduler::spans::Export>),
        root: root.clone(),
        state: state.clone(),
        store: store.clone(),
        clock,
        pipelines: list,
        keeper,
        held: found.attempts,
        runs_max: runs,
        jobs: project.settings.jobs,
    };
    let daemon = Daemon::new(setup)
        .map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    let stop_after = serve.stop_after;
    let served = runtime.block_on(served(&daemon, &gate, socket, (&state, address), stop_after, context));
    drop(daemon);
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some(telemetry) = telemetry {
        telemetry.flush();
    }
    served?;
    store.close().map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    Ok(ExitStatus::Done)
}

/// Refuses an address that other machines reach: what is said there, the token with it, is not encrypted.
fn stays_here(address: SocketAddr) -> Result<(), Failure> {
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let text = format!("other machines reach `{address}`, and what is said there can be read on its way");
    let help = "bind it to the loopback, as by default, behind something that speaks TLS; or say that it is meant: \
                `--expose`, or `expose = true` in `[serve]` of `cairn.toml`";
    Err(Failure::new(ExitStatus::Wrong, text).help(help))
}

/// Threads that may wait for the disk, beside those of the runs and their committers.
const BLOCKING_THREADS: usize = 512;

/// How long it is waited for another process that holds the store: commands do for a moment.
const HELD_FOR: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// Opens the store; a command that holds it may be about to end, and a daemon too, unless it listens.
fn open(state: &Path) -> Result<Store, Failure> {
    let began = Instant::now();
    loop {
        match Store::open(state, Access::Write, &SystemClock) {
            Ok(store) => return Ok(store),
            Err(OpenError::Locked { .. })
                if began.elapsed() < HELD_FOR && listen::find_socket(state).is_none() =>
            {
                std::thread::sleep(LOOK);
            }
            Err(error) => return Err(Failure::of(ExitStatus::Store, &error).maybe_help(error.help())),
        }
    }
}

/// The file in the state folder that says where the daemon listens.
const ADDRESS: &str = "address";

async fn served(
    daemon: &Arc<Daemon>,
    gate: &Arc<Gate>,
    socket: Socket,
    (state, address): (&Path, Option<SocketAddr>),
    stop_after: Duration,
    context: &Context,
) -> Result<(), Failure> {
    let cannot = |what: &str, error: std::io::Error| {
        Failure::new(ExitStatus::Store, format!("cannot {what}")).because_of(Some(&error))
    };
    let router = api::router(Arc::clone(daemon), Arc::clone(gate));
    let path = socket.path().to_owned();
    let socket = socket.into_listening();
    let socket = socket.map_err(|error| cannot(&format!("listen at `{}`", path.display()), error))?;
    tokio::spawn(listen::serve_socket(socket, router.clone()));
    let mut link = None;
    if let Some(address) = address {
        let listener = listen::bind_tcp(address).await.map_err(|error| {
            let taken = error.kind() == std::io::ErrorKind::AddrInUse;
            let failure = cannot(&format!("listen at {address}"), error);
            if taken {
                failure.help("another program has the port: choose one with `--bind`")
            } else {
                failure
            }
        })?;
        let address = listener.local_addr().map_err(|error| cannot("find its port", error))?;
        gate.listens_at(address.ip());
        std::fs::write(state.join(ADDRESS), format!("{address}\n"))
            .map_err(|error| cannot(&format!("write `{}`", state.join(ADDRESS).display()), error))?;
        link = Some(format!("http://{}/login?code={}", listen::called(address), gate.login_code()));
        tokio::spawn(listen::serve_tcp(listener, router));
    }
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let keeping = Arc::clone(daemon);
    let schedules = tokio::spawn(async move { keeping.keep_schedules().await });
    let keeping = Arc::clone(daemon);
    let pipelines = tokio::spawn(async move { keeping.keep_pipelines().await });
    let keeping = Arc::clone(daemon);
    let sensors = tokio::spawn(async move { keeping.keep_sensors().await });
    let (keeping, ending) = (Arc::clone(daemon), stopping.clone());
    let dead_letters = tokio::spawn(async move { keeping.keep_dead_letters(ending).await });
    let (keeping, ending) = (Arc::clone(daemon), stopping.clone());
    let effects = tokio::spawn(async move { keeping.keep_effects(ending).await });
    let (keeping, ending) = (Arc::clone(daemon), stopping.clone());
    let keys = tokio::spawn(async move { keeping.keep_keys(ending).await });
    let keeping = Arc::clone(daemon);
    let outbox = tokio::spawn(async move { keeping.deliver().await });
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|error| cannot("listen to signals", error))?;
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| cannot("listen to signals", error))?;
    let (asked, ended) = (Arc::clone(daemon), stop.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {
                    tracing::info!("interrupted: what runs is ended gently");
                    asked.interrupt_all();
                }
                _ = terminate.recv() => tracing::info!("stopping: no run begins any more"),
            }
            let _ = stop.send(true);
        }
    });
    tell(daemon, link.as_deref(), context);
    // Where nobody waits for it, nothing happens.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    daemon.serve(stopping, stop_after).await;
    // Where it ends by itself, what is being asked ends too.
    let _ = ended.send(true);
    outbox.abort();
    sensors.abort();
    dead_letters.abort();
    effects.abort();
    keys.abort();
    schedules.abort();
    pipelines.abort();
    // What sensors and runs ask of commands is nobody's any more.
    cairn_executor::isolation::end_questions();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    if daemon.is_in_place() {
        let _ = std::fs::remove_file(state.join(ADDRESS));
        let _ = std::fs::remove_file(path);
    }
    match daemon.failed() {
        None => Ok(()),
        Some(cairn_server::Failed { error, help }) => Err(Failure::new(ExitStatus::Store, error).help(help)),
    }
}

fn tell(daemon: &Daemon, link: Option<&str>, context: &Context) {
    let paint = context.terminal.stderr.paint;
    let count = daemon.catalog().entries().count();
    let what = crate::terminal::text::count(count, "pipeline");
    let root = daemon.root().display();
    let mut text = format!("  {} {what} in {root}\n", paint.with(style::BOLD, "serving"));
    if let Some(link) = link {
        append!(text, "  {} {link}\n", paint.with(style::DIM, "open"));
    }
    context.remark(&text);
}

/// Characters of a token at least that a person wrote: who guesses it may have anything executed.
const TOKEN_MIN: usize = 32;

/// Reads the token of a state folder, or makes one. What others can read is no secret.
fn token(state: &Path) -> Result<String, Failure> {
    let path = state.join("token");
    let failed = |error: std::io::Error| {
        Failure::new(ExitStatus::Store, format!("cannot use `{}`", path.display())).because_of(Some(&error))
    };
    match std::fs::metadata(&path) {
        Ok(metadata) => {
            let shown = path.display();
            let wrong = |what: String, help: String| Err(Failure::new(ExitStatus::Wrong, what).help(help));
            let anew = "remove it: the daemon makes a file with a token";
            if !metadata.is_file() {
                return wrong(format!("`{shown}` is no file"), anew.to_owned());
            }
            let mode = metadata.mode() & 0o777;
            let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
            if !is_ours && mode & 0o077 == 0o040 {
                // As containers are handed secrets: by a group, on a file system that nothing can be changed on.
                tracing::warn!(file = %shown, "the token can be read by a group");
            } else if mode & 0o077 != 0 {
                if !is_ours {
                    let what = format!(
                        "others can read the token in `{shown}` (mode {mode:04o}), and it is not ours to change"
                    );
                    return wrong(what, format!("give it to this user, and `chmod 600 {shown}`"));
                }
                match std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)) {
                    Ok(()) => tracing::warn!(
                        file = %shown, mode = %format_args!("{mode:04o}"),
                        "others could read the token: its mode is 0600 now; remove the file for another one"
                    ),
                    Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => tracing::warn!(
                        file = %shown, mode = %format_args!("{mode:04o}"),
                        "others can read the token, and the file system is read-only"
                    ),
                    Err(error) => return Err(failed(error)),
                }
            }
            let text = std::fs::read_to_string(&path).map_err(failed)?;
            match text.trim() {
                "" => {}
                token if token.chars().count() < TOKEN_MIN => {
                    let count = crate::terminal::text::count(token.chars().count(), "character");
                    let what = format!("the token in `{shown}` has {count}: that can be guessed");
                    return wrong(
                        what,
                        format!("write at least {TOKEN_MIN}, from a random source; or {anew}"),
                    );
                }
                token => return Ok(token.to_owned()),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let token = random_hex();
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(format!("{token}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(token)
}

/// Returns the folders in which the pipelines' outputs are placed.
fn output_folders(
    pipelines: &[Located],
    store: &Store,
    in_force: &BTreeMap<PathBuf, Digest>,
) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    for located in pipelines {
        let given = Given { params: Vec::new(), logical_time: SystemClock.now(), interval: None, run: None };
        let check = |bytes: Vec<u8>| located.with_text(bytes).check(&given).ok();
        let digest = in_force.get(located.file.strip_prefix(&located.root).unwrap_or(&located.file));
        // One with errors cannot have placed anything under this text, but under the one before.
        let checked = std::fs::read(&located.file).ok().and_then(check).or_else(|| {
            let text = store.definition(digest?).ok()??;
            check(text)
        });
        if let Some(checked) = checked {
            folders.extend(checked.project.output_folders(&checked.pipeline));
        }
    }
    folders
}

/// Lists the project's pipelines whenever that is asked.
fn pipelines(globals: Globals, terminal: Terminal, root: PathBuf, state: PathBuf) -> cairn_server::Pipelines {
    Box::new(move |known| {
        let project =
            Project::find(&globals, &terminal).map_err(|failure| failure.render(style::Paint::new(false)))?;
        let located = |pipeline: PipelineFile| {
            let shown = pipeline.path.strip_prefix(&root).unwrap_or(&pipeline.path).display().to_string();
            let default_name = pipeline.default_name.clone();
            Located { file: pipeline.path, shown, root: root.clone(), state: state.clone(), default_name }
        };
        let all = project.pipelines_with_known(known).into_iter();
        Ok(all.filter(|pipeline| pipeline.state == state).map(located).collect())
    })
}
