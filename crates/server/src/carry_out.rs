//! One run under the daemon, from its turn to its end.

use std::path::PathBuf;
use std::sync::Arc;

use cairn_executor::{Hands, Project, recover};
use cairn_model::{Event, Name, RunId, RunStatus, RunTrace};
use cairn_scheduler::definition::{Checked, Definition, Given};
use cairn_scheduler::launch::{
    Asked, LaunchError, Launched, Leftovers, Resumed, asked_for, launch, write_index,
};
use cairn_scheduler::run::{Ended, Run, Signal};
use cairn_scheduler::spans::Spans;
use cairn_store::{Batch, Durability, ProcessId, Ticket, TicketStage};
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::Instrument as _;

use crate::catalog::PLAIN;
use crate::daemon::{Daemon, StoreError, lock};
use crate::hub::Change;
use crate::submit::put_ended;

impl Daemon {
    /// Carries a run out that has its turn, on a thread that may wait for the disk.
    pub(crate) async fn carry_out(self: Arc<Self>, run: RunId, signals: UnboundedReceiver<Signal>) {
        let outcome = match self.begin(run, signals).await {
            Err(error) => self.abandon(run, error).await,
            done => done,
        };
        {
            let mut queue = self.queue();
            self.signals().remove(&run);
            queue.end(run);
        }
        self.pauses.end(run);
        self.work.notify_one();
        // Who follows it sees only now that it is over.
        if let Ok(Some(ticket)) = self.store.ticket(run) {
            self.hub.tell(Change::Run { run, pipeline: ticket.pipeline });
        }
        if let Err(error) = outcome {
            self.fail(&error);
        }
    }

    /// Ends a run that cannot go on, with all that is left of it. An error is the store's: nothing can be made durable.
    async fn abandon(&self, run: RunId, why: String) -> Result<(), String> {
        tracing::error!(run = %run.short(), error = %why, "the run cannot go on");
        let text = |error: &dyn std::error::Error| error.to_string();
        let open = self.store.attempts_open().map_err(|error| text(&error))?;
        let open: Vec<_> = open.into_iter().filter(|(id, _)| id.run == run).collect();
        let mut batch = Batch::new();
        for (id, _) in &open {
            // What of it is still on its way to be committed is refused from here on.
            batch.attempt_ended(id);
        }
        // Where that cannot be written its commands go on, and the next daemon takes them over.
        self.commit(batch).map_err(|error| text(&error))?;
        for (_, attempt) in &open {
            if let Some(notes) = &self.notes {
                notes.service().give_up(&attempt.token);
            }
            self.keeper.discard(&attempt.token).await;
        }
        self.give_up_held(run).await?;
        self.refuse(run, why).map_err(|error| text(&error))
    }

    async fn begin(self: &Arc<Self>, run: RunId, signals: UnboundedReceiver<Signal>) -> Result<(), String> {
        let prepared = match self.prepare(run)? {
            Ok(prepared) => *prepared,
            Err(why) => {
                self.give_up_held(run).await?;
                return self.refuse(run, why).map_err(|error| error.to_string());
            }
        };
        let ticket = prepared.ticket.clone();
        let pipeline = ticket.pipeline.clone();
        if self.lineage.is_some() {
            self.outbox.send_replace(());
        }
        self.hub.tell(Change::Run { run, pipeline: pipeline.clone() });
        if ticket.cancel.is_some()
            && signals.is_empty()
            && let Some(sender) = self.signals().get(&run)
        {
            // It was asked to end under an earlier daemon: who asks this one sends a signal.
            let _ = sender.send(Signal::Interrupt);
        }
        for attempt in &prepared.launched.not_held {
            let project = &prepared.checked.project;
            let notes = self.notes.as_ref().map(|notes| &**notes.service());
            let given_up = recover::give_up(project, &self.store, &self.keeper, notes, attempt).await;
            given_up.map_err(|error| error.to_string())?;
        }
        let ended = self.drive(run, prepared, signals, &pipeline).await?;
        if ended.status == RunStatus::Running {
            // It was left to the next daemon.
            return Ok(());
        }
        self.settle(run, &ticket, ended.status).map_err(|error| error.to_string())
    }

    /// Makes all that a run needs to be driven; or says why it cannot begin.
    fn prepare(&self, run: RunId) -> Result<Result<Box<Prepared>, String>, String> {
        let ticket = self
            .store
            .ticket(run)
            .map_err(|error| error.to_string())?
            .ok_or_else(|| "its ticket is gone".to_owned())?;
        Ok(self.try_prepare(run, &ticket).map(Box::new))
    }

    /// Enters in one batch that a run goes on and its record: a record that has ended is never that of a run that was to begin.
    /// Returns the ticket as it stands now.
    fn enter_running(
        &self,
        run: RunId,
        mut batch: Batch,
        began_before: bool,
    ) -> Result<Option<Ticket>, LaunchError> {
        // Since the ticket was read the run may have been asked to end: who asks is answered once that is written.
        let _deciding = lock(&self.deciding);
        let Some(ticket) = self.store.ticket(run)? else { return Ok(None) };
        let ticket = Ticket { stage: TicketStage::Running, ..ticket };
        batch.put_ticket(run, &ticket);
        self.lineage_of_start(&mut batch, run, &ticket, began_before, self.clock.now());
        // It waited in the queue: that is durable, and all that follows from this is so no sooner than this.
        let _ = self.store.commit(batch, Durability::Written)?;
        Ok(Some(ticket))
    }

    fn try_prepare(&self, run: RunId, ticket: &Ticket) -> Result<Prepared, String> {
        let taken_over = ticket.stage == TicketStage::Running;
        let text = |error: &dyn std::error::Error| error.to_string();
        let bytes = self
            .store
            .definition(&ticket.definition)
            .map_err(|error| text(&error))?
            .ok_or("the store no longer has the definition")?;
        let of = (ticket.file.as_str(), &ticket.pipeline);
        let definition = Definition::of_run(&self.root, &self.state, of, bytes);
        let given = Given {
            params: ticket.params.clone(),
            logical_time: ticket.logical_time,
            interval: ticket.interval,
            run: Some(run),
        };
        let checked = definition
            .check(&given)
            .map_err(|wrong| wrong.report.render(&wrong.definition.source(), PLAIN))?;
        if checked.pipeline.reads_interval && ticket.interval.is_none() {
            return Err("the pipeline reads its interval, and nothing says which".to_owned());
        }
        let before = self.store.run(run).map_err(|error| text(&error))?;
        let mut resumed = before
            .map(|record| {
                let take_up = if taken_over { Resumed::unasked } else { Resumed::of };
                take_up(&self.store, run, record)
            })
            .transpose()
            .map_err(|error| text(&error))?;
        if let Some(resumed) = &mut resumed {
            resumed.held = lock(&self.held).get(&run).cloned().unwrap_or_default();
        }
        let asked = asked_for(&ticket.selection, &ticket.options, &ticket.params);
        let asked = Asked { jobs: asked.jobs.or(self.jobs), caller: ticket.caller, ..asked };
        let of = (run, ticket.logical_time);
        let clock = Arc::clone(&self.clock);
        let mut entered = None;
        let enter = |batch| {
            entered = self.enter_running(run, batch, resumed.is_some())?;
            Ok(())
        };
        let launched =
            launch(&checked, &self.store, of, &asked, resumed.as_ref(), (Leftovers::Leave, enter), clock)
                .map_err(|error| text(&error))?;
        let ticket = entered.ok_or("its ticket is gone")?;
        lock(&self.held).remove(&run);
        let trigger = ticket.trigger.kind.as_str();
        let trace = RunTrace::new(run, asked.caller);
        let spans = self.spans.as_ref().map(|to| {
            let of = (run, &launched.record);
            Spans::begin(Arc::clone(to), trace, of, trigger, &launched.engine)
        });
        let spans = spans.transpose().map_err(|error| text(&error))?;
        Ok(Prepared { ticket, checked, asked, launched, resumed: resumed.is_some(), spans })
    }

    async fn drive(
        self: &Arc<Self>,
        run: RunId,
        prepared: Prepared,
        signals: UnboundedReceiver<Signal>,
        pipeline: &Name,
    ) -> Result<Ended, String> {
        let Prepared { checked, asked, launched, resumed, mut spans, .. } = prepared;
        let own_thread = launched.is_slight() && !resumed;
        let Launched { record, engine, machine, .. } = launched;
        let committer = engine
            .committer(own_thread)
            .map_err(|error| format!("cannot make the folders of a run: {error}"))?;
        let hands = Arc::new(Hands {
            keeper: self.keeper.clone(),
            committer,
            process: ProcessId::current(),
            stopped: Arc::default(),
            killed: Arc::default(),
            own_thread,
        });
        let daemon = Arc::clone(self);
        let of = pipeline.clone();
        let mut observe = move |event: Event, _: Option<PathBuf>| {
            if let Some(spans) = &mut spans {
                spans.note(&event);
            }
            daemon.hub.tell(Change::Run { run, pipeline: of.clone() });
        };
        let (daemon, of) = (Arc::clone(self), pipeline.clone());
        engine.on_pause(Box::new(move |instance, pause| {
            daemon.pauses.set(run, instance, pause);
            daemon.hub.tell(Change::Run { run, pipeline: of.clone() });
        }));
        engine.share_spares(&self.spares);
        if let Some(notes) = &self.notes {
            engine.listen_at(notes);
        }
        let loop_ = Run {
            id: run,
            record,
            resumed,
            engine: Arc::clone(&engine),
            hands,
            leases: Some(Arc::clone(&self.leases)),
            // `settle` commits what follows from it.
            end: Durability::Written,
            rollback: asked.rollback,
            clock: Arc::clone(&self.clock),
            signals,
            observe: &mut observe,
        };
        let span = tracing::info_span!("run", id = %run, %pipeline);
        let ended = loop_.drive(machine).instrument(span).await;
        let ended = ended.map_err(|error| error.error)?;
        write_index(&checked, &engine, &self.store, &asked, ended);
        Ok(ended)
    }

    /// Ends the attempts that go on of a run that does not.
    async fn give_up_held(&self, run: RunId) -> Result<(), String> {
        let held = lock(&self.held).remove(&run).unwrap_or_default();
        let project = Project::new(self.root.clone(), self.state.clone(), self.root.clone());
        let notes = self.notes.as_ref().map(|notes| &**notes.service());
        for attempt in &held {
            let given_up = recover::give_up(&project, &self.store, &self.keeper, notes, attempt).await;
            given_up.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Ends a run that could not begin.
    fn refuse(&self, run: RunId, why: String) -> Result<(), StoreError> {
        let deciding = lock(&self.deciding);
        let Some(ticket) = self.store.ticket(run)? else { return Ok(()) };
        tracing::warn!(run = %run.short(), pipeline = %ticket.pipeline, %why, "the run cannot begin");
        let now = self.clock.now();
        let mut batch = Batch::new();
        put_ended(&mut batch, run, (&ticket, self.store.run(run)?), RunStatus::Failed, now);
        let ticket = Ticket { stage: TicketStage::Running, error: Some(why), ..ticket };
        batch.put_ticket(run, &ticket);
        self.write(batch)?;
        // What follows from it is made durable with it.
        drop(deciding);
        self.settle(run, &ticket, RunStatus::Failed)
    }
}

/// A run that only has to be driven.
struct Prepared {
    /// As it stood when the run was entered.
    ticket: Ticket,
    checked: Checked,
    asked: Asked,
    launched: Launched,
    resumed: bool,
    spans: Option<Spans>,
}

/// Has a future run on a thread that may wait for the disk, together with what it spawns there. Dropped, it is dropped there too.
pub(crate) async fn on_own_thread<F: Future<Output = ()>>(make: impl FnOnce() -> F + Send + 'static) {
    let (_wanted, unwanted) = tokio::sync::oneshot::channel::<()>();
    let runtime = tokio::runtime::Handle::current();
    let run = move || {
        let both = async {
            tokio::select! {
                biased;
                _ = unwanted => {}
                () = make() => {}
            }
        };
        runtime.block_on(tokio::task::LocalSet::new().run_until(both));
    };
    blocking(run).await;
}

/// Does what waits for the disk away from the threads that must not wait.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use cairn_model::{FixedClock, Timestamp};

    use super::*;
    use crate::fire::simulate::{idle_daemon, order_of_p};
    use crate::submit::Ending;

    #[test]
    fn a_cancel_that_comes_while_a_run_is_prepared_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.toml"), "[stages.a]\nrun = 'true'\noutputs = []\n").unwrap();
        let daemon = idle_daemon(folder.path(), Arc::new(FixedClock::new(Timestamp(0))));
        let run = daemon.submit(&order_of_p(), None).unwrap().run;
        assert_eq!(daemon.queue().begin_next(Timestamp(0)), Some(run));
        let as_read = daemon.store.ticket(run).unwrap().unwrap();
        daemon.cancel(run, Ending::Next, "it is not wanted").unwrap();
        let prepared = daemon.try_prepare(run, &as_read).unwrap();
        let stands = daemon.store.ticket(run).unwrap().unwrap();
        assert_eq!(
            (stands.stage, stands.cancel.as_deref()),
            (TicketStage::Running, Some("it is not wanted"))
        );
        assert_eq!(prepared.ticket, stands);
    }

    #[test]
    fn one_command_without_files_is_slight() {
        let is_slight = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("p.toml"), text).unwrap();
            std::fs::write(folder.path().join("in"), "").unwrap();
            let daemon = idle_daemon(folder.path(), Arc::new(FixedClock::new(Timestamp(0))));
            let run = daemon.submit(&order_of_p(), None).unwrap().run;
            let ticket = daemon.store.ticket(run).unwrap().unwrap();
            daemon.try_prepare(run, &ticket).unwrap().launched.is_slight()
        };
        let one = "[stages.a]\nrun = 'true'\n";
        assert!(is_slight(&format!("{one}outputs = []\n")));
        assert!(!is_slight(&format!("{one}outputs = []\n[stages.b]\nrun = 'true'\noutputs = []\n")));
        assert!(!is_slight(&format!("{one}outputs = ['out']\n")));
        assert!(!is_slight(&format!("{one}outputs = []\ninputs = ['in']\n")));
        assert!(!is_slight(&format!("{one}outputs = []\ntools = ['true']\n")));
    }

    #[tokio::test]
    async fn what_runs_on_its_own_thread_ends_with_who_waits_for_it() {
        let (ended, mut told) = tokio::sync::mpsc::unbounded_channel::<&str>();
        let other = ended.clone();
        on_own_thread(move || async move {
            let local = tokio::task::spawn_local(async move { other.send("spawned there") });
            local.await.unwrap().unwrap();
        })
        .await;
        assert_eq!(told.recv().await, Some("spawned there"));
        let forever = on_own_thread(move || async move {
            ended.send("begun").unwrap();
            std::future::pending::<()>().await;
        });
        let forever = tokio::spawn(forever);
        assert_eq!(told.recv().await, Some("begun"));
        forever.abort();
        assert_eq!(told.recv().await, None, "what it held is dropped");
    }
}
