//! Effects in systems outside: what is known of one, and what follows from that (I6).
//!
//! An effect is known by its pipeline and its key. Its record moves like this, each step durable before the next:
//!
//! ```text
//!            begin                    success, or `confirm` says so
//!  (none) ──────────▶ INTENT ─────────────────────────────────▶ CONFIRMED ──▶ UNDOING ──▶ UNDONE
//!     ▲                 │ cut off, failed                            │
//!     │                 ├─ at-least-once: begun again, same key      │ its probe says something else: begun again
//!     │                 ├─ at-most-once: IN DOUBT, for a person
//!     └── REJECTED ◀────┴─ exactly-once: `confirm` is asked; when it cannot tell: HELD, or begun again
//! ```
//!
//! A CONFIRMED effect is not done again, whatever became of the input-hash, but for drift and `--force-effects`.

use std::collections::HashMap;

use cairn_dag::{Effect as Declared, Instance, OnUncertain};
use cairn_model::{AttemptId, Command, EffectMode, EffectState, InputHash, Output, OutputKind, Reason};
use cairn_store::{Batch, Checkpoint, Durability, Effect, ReadError, Store};

use crate::attempt::{AttemptError, AttemptErrorKind};
use crate::engine::{Engine, LookUpError, Verdict};
use crate::gather::Gathered;

mod aside;
mod undo;

pub(crate) use aside::{Asides, LentSlot};
pub use undo::UndoError;

/// What a look-up learns from an effect.
pub(crate) enum Standing {
    /// Nothing is known of it: the checkpoint decides.
    Unknown,
    /// It decides by itself.
    Verdict(Verdict),
    /// It took place and stands. Its result, where there is one, whose outputs may have to be put back; and its key.
    Stands(Option<Box<Checkpoint>>, String),
}

/// How an attempt at an effect begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// As what is known of the effect says.
    Decide,
    /// By doing it.
    Act,
    /// By asking whether it took place.
    Ask,
}

/// The effect of an attempt that is under way.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) key: String,
    /// The command that asks whether the effect took place, where the attempt only does that.
    pub(crate) asks: Option<Command>,
    /// What is known of it; with an attempt that does it, the intent.
    pub(crate) record: Effect,
    /// What was known before the intent, and is again when nothing was begun.
    before: Option<Effect>,
    on_uncertain: OnUncertain,
}

/// Returns the key of an instance's effect.
pub(crate) fn key_of(effect: &Declared, gathered: &Gathered) -> String {
    effect.key.clone().unwrap_or_else(|| gathered.input_hash.to_string())
}

/// Says how a person settles an effect.
pub(crate) fn how_to_settle(key: &str) -> String {
    let key = quoted(key);
    format!("find out, then say so: `cairn effects settle {key} --happened`, or `--did-not-happen`")
}

/// Returns a key as it is typed in a shell.
fn quoted(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=@%+,-".contains(c);
    if key.chars().all(plain) { key.to_owned() } else { format!("'{}'", key.replace('\'', r"'\''")) }
}

impl Engine {
    /// Looks at what is known of an instance's effect.
    pub(crate) fn effect_standing(
        &self,
        instance: u32,
        gathered: &Gathered,
        force: bool,
        dry: bool,
    ) -> Result<Standing, LookUpError> {
        let declared = self.instance(instance);
        let (Some(effect), Some(store)) = (&declared.effect, self.store()) else {
            return Ok(Standing::Unknown);
        };
        let key = key_of(effect, gathered);
        let input_hash = gathered.input_hash;
        let Some(known) = store.effect(&self.pipeline.name, &key)? else {
            let insisted = force && self.force_effects;
            return Ok(match self.open_before(store, declared, effect)? {
                Some(open) if !insisted => {
                    let error = format!(
                        "its effect `{open}`, begun with other inputs, may have taken place: without a `key` this would be another one"
                    );
                    let help = Some(how_to_settle(open));
                    Standing::Verdict(Verdict::InDoubt { input_hash, error, help })
                }
                _ => Standing::Unknown,
            });
        };
        let miss = |reason| Ok(Standing::Verdict(Verdict::Miss { input_hash, reason }));
        // What this very run began, perhaps in an earlier process, is not begun anew because the run insists.
        let begun_here =
            known.run == self.run && !matches!(known.state, EffectState::Rejected | EffectState::Undone);
        if force && self.force_effects && !begun_here {
            self.insist(instance);
            return miss(Reason::Forced);
        }
        let in_doubt =
            |error, help| Ok(Standing::Verdict(Verdict::InDoubt { input_hash, error, help: Some(help) }));
        match known.state {
            EffectState::Confirmed => self.confirmed(instance, gathered, &key, known, dry),
            EffectState::Rejected => miss(Reason::Effect("its effect did not take place".to_owned())),
            EffectState::Undone => miss(Reason::Effect("its effect was undone".to_owned())),
            EffectState::Undoing => {
                let error = format!("nobody knows whether its effect `{key}` was undone");
                in_doubt(error, how_to_settle(&key))
            }
            EffectState::Intent | EffectState::InDoubt | EffectState::Held => match effect.mode {
                EffectMode::AtLeastOnce => miss(Reason::Effect(
                    "its effect was cut off: it is done again under the same key".to_owned(),
                )),
                EffectMode::ExactlyOnce => {
                    miss(Reason::Effect("its effect was cut off: `confirm` is asked first".to_owned()))
                }
                EffectMode::AtMostOnce => {
                    if known.state != EffectState::InDoubt && !dry {
                        let record = Effect { state: EffectState::InDoubt, ..known.clone() };
                        self.write_effect(store, &key, &record)?;
                    }
                    let why = known.error.unwrap_or_else(|| "its attempt was cut off".to_owned());
                    in_doubt(format!("its effect `{key}` may have taken place: {why}"), how_to_settle(&key))
                }
            },
        }
    }

    /// Returns the key of an instance's effect under an input-hash of it; `None` where it has no effect.
    pub fn effect_key(&self, instance: u32, input_hash: &InputHash) -> Option<String> {
        let effect = self.instance(instance).effect.as_ref()?;
        Some(effect.key.clone().unwrap_or_else(|| input_hash.to_string()))
    }

    /// Returns the key of an effect that the instance began before this run, under another input-hash, and of which nobody
    /// knows whether it took place. Where it may be done twice, that does not matter.
    fn open_before(
        &self,
        store: &Store,
        declared: &Instance,
        effect: &Declared,
    ) -> Result<Option<&str>, ReadError> {
        if effect.key.is_some() || effect.mode == EffectMode::AtLeastOnce {
            return Ok(None);
        }
        let open = if let Some(open) = self.open_effects.get() {
            open
        } else {
            let mut open = HashMap::new();
            for row in store.effects_of(&self.pipeline.name) {
                let (key, known) = row?;
                if known.state.is_open() {
                    open.insert(known.instance, key);
                }
            }
            self.open_effects.get_or_init(|| open)
        };
        Ok(open.get(&declared.name).map(String::as_str))
    }

    fn confirmed(
        &self,
        instance: u32,
        gathered: &Gathered,
        key: &str,
        known: Effect,
        dry: bool,
    ) -> Result<Standing, LookUpError> {
        let declared = self.instance(instance);
        let effect = declared.effect.as_ref().expect("only an instance with an effect is asked for it");
        let (store, input_hash) = (&self.kept().store, gathered.input_hash);
        let miss = |reason| Ok(Standing::Verdict(Verdict::Miss { input_hash, reason }));
        let checkpoint = result_of(store, declared, gathered, &known)?;
        if checkpoint.is_none() && !declared.outputs.is_empty() {
            let path = declared.outputs[0].path.to_string();
            return match &effect.confirm {
                Some(_) => {
                    let why =
                        format!("its effect took place, and `{path}` is not there: `confirm` may make it");
                    miss(Reason::Effect(why))
                }
                None => Err(LookUpError::EffectLost { key: key.to_owned(), path }),
            };
        }
        if effect.probe.is_some() {
            let now = self.probe(instance, gathered, key, None).map_err(|fault| match fault {
                aside::Fault { stopped: true, .. } => LookUpError::Stopped,
                aside::Fault { what, .. } => LookUpError::Probe { key: key.to_owned(), what },
            })?;
            match &known.probe {
                Some(was) if *was != now => {
                    self.insist(instance);
                    let (was, now) = differing(was, &now);
                    let how = format!("the probe of its effect prints {now}, and after it was done {was}");
                    return miss(Reason::Drifted(how));
                }
                // It was found to have drifted meanwhile, and is as it was again.
                Some(_) if known.drifted.is_some() && !dry => {
                    self.write_effect(store, key, &Effect { drifted: None, ..known })?;
                }
                Some(_) => {}
                // It was asked in vain when the effect was confirmed, or is newer than that.
                None if dry => {}
                None => self.write_effect(store, key, &Effect { probe: Some(now), ..known })?,
            }
        }
        Ok(Standing::Stands(checkpoint, key.to_owned()))
    }

    fn write_effect(&self, store: &Store, key: &str, record: &Effect) -> Result<(), LookUpError> {
        let mut batch = Batch::new();
        batch.put_effect(&self.pipeline.name, key, record);
        store.commit(batch, Durability::Written).map(drop).map_err(LookUpError::Commit)
    }

    /// Decides how the attempt goes about its effect; nothing is written yet.
    pub(crate) fn part(
        &self,
        instance: u32,
        gathered: &Gathered,
        step: Step,
    ) -> Result<Option<Part>, AttemptError> {
        let declared = self.instance(instance);
        let Some(effect) = &declared.effect else { return Ok(None) };
        let key = key_of(effect, gathered);
        self.claim(instance, &key)?;
        let read = |error: ReadError| AttemptError::new(error.to_string(), error.help());
        let known = self.kept().store.effect(&self.pipeline.name, &key).map_err(read)?;
        let insisted = self.is_insisted(instance);
        let asks = match step {
            Step::Act => false,
            Step::Ask => true,
            Step::Decide => match known.as_ref().map(|known| known.state) {
                _ if insisted => false,
                None | Some(EffectState::Rejected | EffectState::Undone) => false,
                Some(EffectState::Confirmed) if effect.confirm.is_none() => {
                    let error = format!("its effect `{key}` was done meanwhile");
                    return Err(AttemptError::new(
                        error,
                        Some("run again: nothing is left to do".to_owned()),
                    ));
                }
                Some(EffectState::Confirmed) => true,
                Some(EffectState::Undoing) => return Err(in_doubt(&key, "its undo was cut off", None)),
                Some(EffectState::Intent | EffectState::InDoubt | EffectState::Held) => match effect.mode {
                    EffectMode::AtLeastOnce => false,
                    EffectMode::ExactlyOnce => true,
                    EffectMode::AtMostOnce => return Err(in_doubt(&key, "its attempt was cut off", None)),
                },
            },
        };
        let intent = |attempts| Effect {
            state: EffectState::Intent,
            mode: effect.mode,
            instance: declared.name.clone(),
            attempts,
            input_hash: gathered.input_hash,
            run: self.run,
            intended: self.clock.now(),
            settled: None,
            probe: None,
            error: None,
            undo: effect.undo.clone(),
            drifted: None,
            asked: None,
        };
        let record = match &known {
            // Who asks has not done it.
            Some(known) if asks => known.clone(),
            known => intent(known.as_ref().map_or(0, |known| known.attempts).saturating_add(1)),
        };
        let asks = effect.confirm.clone().filter(|_| asks);
        Ok(Some(Part { key, asks, record, before: known, on_uncertain: effect.on_uncertain }))
    }

    /// Returns the effect that an attempt of a process before is doing, as that wrote it down; `None` when it is not, or there is
    /// no effect.
    pub(crate) fn part_of_held(
        &self,
        instance: u32,
        gathered: &Gathered,
    ) -> Result<Option<Part>, LookUpError> {
        let Some(effect) = &self.instance(instance).effect else { return Ok(None) };
        let key = key_of(effect, gathered);
        let known = self.kept().store.effect(&self.pipeline.name, &key)?;
        let begun = known.filter(|known| known.run == self.run && known.state == EffectState::Intent);
        let on_uncertain = effect.on_uncertain;
        Ok(begun.map(|record| Part { key, asks: None, record, before: None, on_uncertain }))
    }

    /// Two instances may have one key only by having one input-hash: they do not do their one effect at the same time.
    pub(crate) fn claim(&self, instance: u32, key: &str) -> Result<(), AttemptError> {
        let mut acting = self.acting.lock().expect("no panic while it is held");
        match acting.get(key) {
            Some(other) if *other != instance => {
                let error = format!("`{}` is doing the effect with the same key", self.instance(*other).name);
                let help = "give both a `key` of their own".to_owned();
                Err(AttemptError::new(error, Some(help)).of_kind(AttemptErrorKind::Permanent))
            }
            _ => {
                acting.insert(key.to_owned(), instance);
                Ok(())
            }
        }
    }

    pub(crate) fn let_go(&self, instance: u32) {
        self.acting.lock().expect("no panic while it is held").retain(|_, held| *held != instance);
    }

    /// Returns what is known of an effect that took place; its result is that of `input_hash`.
    pub(crate) fn confirmation(&self, part: &Part, input_hash: InputHash) -> Effect {
        let settled = Some(self.clock.now());
        let state = EffectState::Confirmed;
        Effect { state, settled, probe: None, error: None, drifted: None, input_hash, ..part.record.clone() }
    }

    /// Asks the probe of an effect that is durably confirmed, and returns what is known of it then; `None` when there is no
    /// answer, or nothing to ask. A run that is cut off meanwhile has the next one ask.
    pub(crate) fn probed(
        &self,
        instance: u32,
        gathered: &Gathered,
        part: &Part,
        attempt: &AttemptId,
    ) -> Result<Option<Effect>, ReadError> {
        let effect = self.instance(instance).effect.as_ref();
        if effect.is_none_or(|effect| effect.probe.is_none()) {
            return Ok(None);
        }
        match self.probe(instance, gathered, &part.key, Some(attempt)) {
            Ok(printed) => {
                let known = self.kept().store.effect(&self.pipeline.name, &part.key)?;
                Ok(known.map(|known| Effect { probe: Some(printed), ..known }))
            }
            Err(aside::Fault { what, .. }) => {
                tracing::warn!(
                    key = part.key,
                    what,
                    "the probe of an effect has no answer; the next run asks it"
                );
                Ok(None)
            }
        }
    }

    /// Says what follows for an effect from an attempt that failed: what is known of it now, and how the attempt goes on.
    ///
    /// `began`: whether the command may have run; `took_place`: whether `confirm` said that the effect did.
    pub(crate) fn unsettled(
        &self,
        part: &Part,
        began: bool,
        took_place: bool,
        error: AttemptError,
    ) -> (Option<Effect>, AttemptError) {
        use AttemptErrorKind as Kind;
        let record = |state| {
            let settled = (state != EffectState::Intent).then(|| self.clock.now());
            Some(Effect { state, settled, error: Some(error.error.clone()), ..part.record.clone() })
        };
        let key = &part.key;
        if matches!(error.kind, Kind::Fatal | Kind::NotPlaced) {
            return (None, error);
        }
        if part.asks.is_none() {
            return match (error.kind, part.record.mode) {
                // Nothing happened: what was known is what is known.
                _ if !began => match &part.before {
                    Some(before) if !matches!(before.state, EffectState::Rejected | EffectState::Undone) => {
                        (Some(before.clone()), error)
                    }
                    _ => (record(EffectState::Rejected), error),
                },
                (Kind::Stopped, _) | (_, EffectMode::AtLeastOnce) => (record(EffectState::Intent), error),
                (_, EffectMode::AtMostOnce) => {
                    let doubt = in_doubt(key, &error.error, error.help.as_deref());
                    (record(EffectState::InDoubt), doubt)
                }
                (_, EffectMode::ExactlyOnce) => (record(EffectState::Intent), error.of_kind(Kind::Ask)),
            };
        }
        if took_place {
            let text =
                format!("its effect `{key}` took place, and its outputs are not there: {}", error.error);
            let help = "have `confirm` make the outputs when it exits with 0, make them in a stage of their own, or insist with `cairn run --force-effects`";
            let confirmed = Effect { error: None, ..record(EffectState::Confirmed).expect("made above") };
            return (
                Some(confirmed),
                AttemptError::new(text, Some(help.to_owned())).of_kind(Kind::Permanent),
            );
        }
        match error.kind {
            Kind::NotDone => (record(EffectState::Rejected), error.of_kind(Kind::MayAct)),
            Kind::Stopped => (None, error),
            // The keeper is gone, and with it the answer.
            Kind::Permanent if began => (None, error),
            // It is known to have taken place, and only its outputs are not there.
            _ if part.record.state == EffectState::Confirmed => (None, error),
            _ if part.on_uncertain == OnUncertain::Retry => {
                (record(EffectState::Intent), error.of_kind(Kind::MayAct))
            }
            _ => {
                let why = format!("`confirm` cannot tell: {}", error.error);
                (record(EffectState::Held), in_doubt(key, &why, error.help.as_deref()))
            }
        }
    }
}

fn in_doubt(key: &str, why: &str, help: Option<&str>) -> AttemptError {
    let settle = how_to_settle(key);
    let help = help.map_or(settle.clone(), |help| format!("{help}; {settle}"));
    AttemptError::new(format!("its effect `{key}` may have taken place: {why}"), Some(help))
        .of_kind(AttemptErrorKind::InDoubt)
}

/// Returns the result of an effect that took place: that of these very inputs, else the one it was done with.
fn result_of(
    store: &Store,
    declared: &Instance,
    gathered: &Gathered,
    known: &Effect,
) -> Result<Option<Box<Checkpoint>>, ReadError> {
    if let Some(checkpoint) = store.checkpoint(&gathered.input_hash)?
        && checkpoint.preimage == gathered.preimage
    {
        return Ok(Some(Box::new(checkpoint)));
    }
    let Some(checkpoint) = store.checkpoint(&known.input_hash)? else { return Ok(None) };
    let is_made = |output: &cairn_dag::Declared| {
        checkpoint.manifest.outputs.iter().any(|made: &Output| {
            let is_folder = matches!(made.content, cairn_model::Content::Folder(_));
            made.path == output.path && is_folder == (output.kind == OutputKind::Folder)
        })
    };
    let same =
        declared.outputs.len() == checkpoint.manifest.outputs.len() && declared.outputs.iter().all(is_made);
    Ok(same.then(|| Box::new(checkpoint)))
}

/// Returns the first line of each of two answers in which they differ.
fn differing(was: &str, now: &str) -> (String, String) {
    let (mut was, mut now) = (was.lines(), now.lines());
    let quoted = |line: Option<&str>| match line.map(shortened) {
        Some(line) if !line.is_empty() => format!("`{line}`"),
        _ => "nothing".to_owned(),
    };
    loop {
        match (was.next(), now.next()) {
            // They differ in line ends only.
            (None, None) => return ("other line ends".to_owned(), "the same".to_owned()),
            (left, right) if left != right => return (quoted(left), quoted(right)),
            _ => {}
        }
    }
}

/// Makes an answer fit for a line.
fn shortened(text: &str) -> String {
    const MAX: usize = 40;
    let line = text.trim_end().lines().next().unwrap_or_default();
    let mut shown: String = line.chars().filter(|c| !c.is_control()).take(MAX).collect();
    if shown.len() < text.trim_end().len() {
        shown.push('…');
    }
    shown
}
