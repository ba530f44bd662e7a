//! The commands, one a file: its `Args`, whose doc comments are the help, and `run`.

pub(crate) mod backfill;
pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod dead;
pub(crate) mod effects;
pub(crate) mod graph;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod mark;
pub(crate) mod once;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod reject;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod seen;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod unpause;
pub(crate) mod verify;
pub(crate) mod why;

use std::io::Write as _;

use cairn_model::SystemClock;

use crate::args::{Command, Globals};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::project::{PipelineFile, Project, Settled};
use crate::terminal::Terminal;
use crate::work::Checked;

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// The global options.
    pub(crate) globals: Globals,
    /// Where it prints.
    pub(crate) terminal: Terminal,
    /// The time.
    pub(crate) clock: SystemClock,
}

impl Context {
    /// Finds the project of the current folder.
    pub(crate) fn project(&self) -> Result<Project, Failure> {
        Project::find(&self.globals, &self.terminal)
    }

    /// Settles which pipeline, and which of its stages, words on the command line are about.
    pub(crate) fn settle(&self, words: &[String]) -> Result<Settled, Failure> {
        self.project()?.settle(words, &self.globals, &self.terminal)
    }

    /// Settles which pipeline a FILE names; left out, the only one.
    pub(crate) fn pipeline(&self, file: Option<&String>) -> Result<PipelineFile, Failure> {
        let settled = self.settle(file.map(std::slice::from_ref).unwrap_or_default())?;
        match settled.stages.first() {
            None => Ok(settled.pipeline),
            Some(word) => Err(Failure::wrong(format!("there is no pipeline `{word}`"))
                .help(format!("the only pipeline here is `{}`", settled.pipeline.shown))),
        }
    }

    /// Prints a result.
    #[expect(clippy::unused_self, reason = "it reads as `remark` and `warn` do, which need the context")]
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Draws what may not be as meant in a definition that is no error, unless `-q`.
    pub(crate) fn warn(&self, checked: &Checked) {
        if !checked.warnings.diagnostics.is_empty() {
            self.remark(
                &checked.warnings.render(&checked.definition.source(), self.terminal.stderr.report_style()),
            );
        }
    }

    /// Prints what is said about a result, unless `-q`.
    pub(crate) fn remark(&self, text: &str) {
        if !self.globals.quiet {
            crate::terminal::write_above(text.as_bytes());
        }
    }
}

/// Does what a command asks.
pub(crate) fn dispatch(command: &Command, context: &Context) -> Result<ExitStatus, Failure> {
    match command {
        Command::Init(args) => init::run(args, context),
        Command::Check(args) => check::run(args, context),
        Command::Plan(args) => plan::run(args, context),
        Command::Run(args) => run::run(args, context),
        Command::Resume(args) => resume::run(args, context),
        Command::Status(args) => status::run(args, context),
        Command::Runs(args) => runs::run(args, context),
        Command::Show(args) => show::run(args, context),
        Command::Logs(args) => logs::run(args, context),
        Command::Why(args) => why::run(args, context),
        Command::Graph(args) => graph::run(args, context),
        Command::Verify(args) => verify::run(args, context),
        Command::Schedule(args) => schedule::run(args, context),
        Command::Backfill(args) => backfill::run(args, context),
        Command::Effects(args) => effects::run(args, context),
        Command::Dead(args) => dead::run(args, context),
        Command::Serve(args) => serve::run(args, context),
        Command::Submit(args) => submit::run(args, context),
        Command::Cancel(args) => cancel::run(args, context),
        Command::Pause(args) => pause::run(args, context),
        Command::Unpause(args) => unpause::run(args, context),
        Command::Once(args) => once::run(args, context),
        Command::Seen(args) => seen::run(args, context),
        Command::Mark(args) => mark::run(args, context),
        Command::Reject(args) => reject::run(args, context),
    }
}
