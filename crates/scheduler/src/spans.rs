//! A run's events as the spans of a trace: one for each part of the run, in it one for each instance that something was
//! decided about, in that one for each attempt.
//!
//! A span is passed on when it is over. Its times are those of the events; its id follows from the run ([`RunTrace`]), so
//! that an attempt's command could be told it before. Of a part that was cut off there is no span, but those of what was over.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_executor::{Engine, environment::rfc3339};
use cairn_model::{
    Event, InputHash, InstanceEvent, InstanceName, Name, Outcome, RecordCounts, RunEvent, RunId, RunStatus,
    RunTrace, SpanId, Timestamp,
};
use cairn_store::{ReadError, RunRecord};

use crate::history::blocked_reason;

/// One span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace.
    pub trace: [u8; 16],
    /// Its id.
    pub id: SpanId,
    /// The span that it is in, and whether that is another program's.
    pub parent: Option<(SpanId, bool)>,
    /// Its name.
    pub name: String,
    /// When it began.
    pub began: Timestamp,
    /// When it was over.
    pub ended: Timestamp,
    /// What else there is to say.
    pub facts: Vec<(&'static str, Fact)>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Something said of a span.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// Whether it is so.
    Flag(bool),
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Fact {
    fn from(number: u32) -> Self {
        Self::Number(i64::from(number))
    }
}

/// What has become of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// They arrived.
    pub sent: u64,
    /// They did not: the collector could not be reached, or refused them.
    pub failed: u64,
    /// They were not even tried: more waited than are kept.
    pub dropped: u64,
}

/// Takes spans that are over. It must not wait: runs would.
pub trait Export: Send + Sync {
    /// Takes one.
    fn export(&self, span: Span);

    /// Returns what has become of those that were taken, since the process began.
    fn exported(&self) -> Exported;
}

/// Makes spans of the events of one part of a run.
pub struct Spans {
    to: Arc<dyn Export>,
    trace: RunTrace,
    pipeline: Name,
    /// What is said of the run as a whole.
    facts: Vec<(&'static str, Fact)>,
    began: Option<Timestamp>,
    last: Timestamp,
    open: HashMap<InstanceName, Open>,
}

/// An instance that is being worked on.
#[derive(Debug, Default)]
struct Open {
    /// When that began in this part; `None`: in an earlier one.
    began: Option<Timestamp>,
    /// The attempt that goes on: its number, and when it began.
    attempt: Option<(u32, Timestamp)>,
    reason: Option<String>,
    input_hash: Option<InputHash>,
    records: Option<RecordCounts>,
}

/// How an attempt, or an instance, ended.
struct End<'a> {
    at: Timestamp,
    error: Option<&'a str>,
    exit: Option<i64>,
}

impl Spans {
    /// Begins with a part of a run that is about to be driven by `engine`, and has its commands told their spans.
    pub fn begin(
        to: Arc<dyn Export>,
        trace: RunTrace,
        (run, record): (RunId, &RunRecord),
        trigger: &str,
        engine: &Engine,
    ) -> Result<Self, ReadError> {
        engine.trace_in(trace);
        let facts = vec![
            ("cicd.pipeline.name", record.pipeline.as_str().into()),
            ("cicd.pipeline.run.id", run.to_string().into()),
            ("cairn.file", record.file.as_str().into()),
            ("cairn.logical_time", rfc3339(record.logical_time).into()),
            ("cairn.trigger", trigger.into()),
        ];
        let mut spans = Self::new(to, trace, record.pipeline.clone(), facts);
        if let Some(store) = engine.store() {
            for (_, event) in store.events(run)? {
                spans.recall(&event);
            }
        }
        Ok(spans)
    }

    /// Begins with a part of a run. `facts` are said of the run as a whole.
    pub fn new(
        to: Arc<dyn Export>,
        trace: RunTrace,
        pipeline: Name,
        facts: Vec<(&'static str, Fact)>,
    ) -> Self {
        let (began, last, open) = (None, Timestamp(0), HashMap::new());
        Self { to, trace, pipeline, facts, began, last, open }
    }

    /// Learns what happened in an earlier part: an attempt of it may go on.
    pub fn recall(&mut self, event: &Event) {
        let RunEvent::Instance { instance, event: what } = &event.what else { return };
        if let InstanceEvent::AttemptStarted { attempt, input_hash, reason } = what {
            let open = self.open.entry(instance.clone()).or_default();
            open.attempt = Some((*attempt, event.at));
            (open.reason, open.input_hash) = (Some(reason.text()), Some(*input_hash));
        } else if !matches!(what, InstanceEvent::Records { .. }) {
            self.open.remove(instance);
        }
    }

    /// Takes what happens now.
    pub fn note(&mut self, event: &Event) {
        self.last = event.at;
        match &event.what {
            RunEvent::Started { instances, resumed } => {
                self.began = Some(event.at);
                self.facts.push(("cairn.instances", (*instances).into()));
                self.facts.push(("cairn.resumed", Fact::Flag(*resumed)));
            }
            RunEvent::Instance { instance, event: what } => self.note_instance(event.at, instance, what),
            RunEvent::Ended { status } => {
                for name in self.open.keys().cloned().collect::<Vec<_>>() {
                    let open = self.open.remove(&name).unwrap_or_default();
                    if open.began.is_some() {
                        let end = End { at: event.at, error: Some("it was ended with its run"), exit: None };
                        self.end_attempt(&name, &open, &end);
                        self.end_instance(&name, open, None, &end);
                    }
                }
                let failed = !matches!(status, RunStatus::Succeeded);
                self.end_part(event.at, status.as_str(), failed.then(|| format!("the run is {status}")));
            }
        }
    }

    fn note_instance(&mut self, at: Timestamp, name: &InstanceName, what: &InstanceEvent) {
        let well = End { at, error: None, exit: None };
        match what {
            InstanceEvent::AttemptStarted { attempt, input_hash, reason } => {
                let open = self.open.entry(name.clone()).or_default();
                open.began.get_or_insert(at);
                open.attempt = Some((*attempt, at));
                (open.reason, open.input_hash) = (Some(reason.text()), Some(*input_hash));
            }
            InstanceEvent::AttemptFailed { error, .. } => {
                let mut open = self.open.remove(name).unwrap_or_default();
                self.end_attempt(name, &open, &End { at, error: Some(error), exit: exit_status(error) });
                (open.attempt, open.records) = (None, None);
                self.open.insert(name.clone(), open);
            }
            InstanceEvent::Records { counts, .. } => {
                if let Some(open) = self.open.get_mut(name) {
                    open.records = Some(*counts);
                }
            }
            InstanceEvent::Committed { .. } => {
                let open = self.open.remove(name).unwrap_or_default();
                let end = End { exit: open.records.is_none().then_some(0), ..well };
                self.end_attempt(name, &open, &end);
                self.end_instance(name, open, Some((Outcome::Ran, None)), &end);
            }
            InstanceEvent::CheckpointFound { input_hash, restored, saved_ms, .. }
            | InstanceEvent::EffectStands { input_hash, restored, saved_ms, .. } => {
                // What an earlier part began was cut off, where it is not gone on with.
                let open = self.open.remove(name).filter(|open| open.began.is_some()).unwrap_or_default();
                let open = Open { input_hash: Some(*input_hash), ..open };
                let outcome = if restored.is_empty() { Outcome::Fresh } else { Outcome::Restored };
                self.end_instance(name, open, Some((outcome, Some(*saved_ms))), &well);
            }
            InstanceEvent::Failed { error, .. } | InstanceEvent::InDoubt { error, .. } => {
                let open = self.open.remove(name).unwrap_or_default();
                let end = End { at, error: Some(error), exit: exit_status(error) };
                self.end_attempt(name, &open, &end);
                let is_failed = matches!(what, InstanceEvent::Failed { .. });
                let outcome = if is_failed { Outcome::Failed } else { Outcome::InDoubt };
                self.end_instance(name, open, Some((outcome, None)), &end);
            }
            InstanceEvent::Blocked { by } => {
                let open = self.open.remove(name).filter(|open| open.began.is_some()).unwrap_or_default();
                self.end_attempt(name, &open, &End { error: Some("it was ended with its run"), ..well });
                let open = Open { reason: Some(blocked_reason(by)), ..open };
                self.end_instance(name, open, Some((Outcome::Blocked, None)), &well);
            }
            InstanceEvent::NotPlaced { error, .. } => {
                let end = End { at, error: Some(error), exit: None };
                match self.open.remove(name) {
                    Some(open) => {
                        self.end_attempt(name, &open, &well);
                        self.end_instance(name, open, Some((Outcome::Failed, None)), &end);
                    }
                    // Its commit was told before.
                    None => self.moment(name, format!("put {name} in place"), 0, &end, Vec::new()),
                }
            }
            InstanceEvent::Undone { key, error } => {
                let end = End { at, error: error.as_deref(), exit: None };
                let facts = vec![("cairn.effect", key.as_str().into())];
                self.moment(name, format!("undo {name}"), u32::MAX, &end, facts);
            }
            InstanceEvent::Trashed { .. } => {}
        }
    }

    fn end_attempt(&self, name: &InstanceName, open: &Open, end: &End<'_>) {
        let Some((number, began)) = open.attempt else { return };
        let mut facts = of_instance(name);
        facts.push(("cairn.attempt", number.into()));
        facts.extend(open.reason.clone().map(|reason| ("cairn.reason", reason.into())));
        facts.extend(open.input_hash.map(|hash| ("cairn.input_hash", hash.to_string().into())));
        facts.extend(end.exit.map(|exit| ("process.exit.code", Fact::Number(exit))));
        self.export(Span {
            trace: self.trace.trace(),
            id: self.trace.of_attempt(name, number),
            parent: Some((self.trace.of_instance(self.part(), name), false)),
            name: format!("{name} attempt {number}"),
            began,
            ended: end.at,
            facts,
            error: end.error.map(str::to_owned),
        });
    }

    fn end_instance(
        &self,
        name: &InstanceName,
        open: Open,
        outcome: Option<(Outcome, Option<u64>)>,
        end: &End<'_>,
    ) {
        let mut facts = of_instance(name);
        if let Some((outcome, saved_ms)) = outcome {
            facts.push(("cairn.outcome", outcome.as_str().into()));
            facts.extend(saved_ms.map(|saved| ("cairn.saved_ms", saved.into())));
        }
        facts.extend(open.reason.map(|reason| ("cairn.reason", reason.into())));
        facts.extend(open.input_hash.map(|hash| ("cairn.input_hash", hash.to_string().into())));
        facts.extend(end.exit.map(|exit| ("process.exit.code", Fact::Number(exit))));
        if let Some(counts) = open.records {
            facts.extend([
                ("cairn.records.read", counts.read.into()),
                ("cairn.records.delivered", counts.delivered().into()),
                ("cairn.records.dead", counts.dead.into()),
            ]);
        }
        // One that an earlier part began has taken the whole of this one.
        let began = if open.attempt.is_some() { self.part() } else { end.at };
        self.export(Span {
            trace: self.trace.trace(),
            id: self.trace.of_instance(self.part(), name),
            parent: Some((self.trace.of_part(self.part()), false)),
            name: name.to_string(),
            began: open.began.unwrap_or(began),
            ended: end.at,
            facts,
            error: end.error.map(str::to_owned),
        });
    }

    /// Something that happens to an instance after all else of it. `number` is one that no attempt has.
    fn moment(
        &self,
        name: &InstanceName,
        shown: String,
        number: u32,
        end: &End<'_>,
        mut facts: Vec<(&'static str, Fact)>,
    ) {
        facts.extend(of_instance(name));
        self.export(Span {
            trace: self.trace.trace(),
            id: self.trace.of_attempt(name, number),
            parent: Some((self.trace.of_part(self.part()), false)),
            name: shown,
            began: end.at,
            ended: end.at,
            facts,
            error: end.error.map(str::to_owned),
        });
    }

    fn end_part(&mut self, at: Timestamp, status: &str, error: Option<String>) {
        let Some(began) = self.began.take() else { return };
        let mut facts = std::mem::take(&mut self.facts);
        facts.push(("cairn.status", status.into()));
        self.export(Span {
            trace: self.trace.trace(),
            id: self.trace.of_part(began),
            parent: self.trace.caller().map(|caller| (caller, true)),
            name: self.pipeline.to_string(),
            began,
            ended: at,
            facts,
            error,
        });
    }

    fn part(&self) -> Timestamp {
        self.began.unwrap_or(self.last)
    }

    fn export(&self, span: Span) {
        if self.trace.is_sampled() {
            self.to.export(span);
        }
    }
}

impl Drop for Spans {
    fn drop(&mut self) {
        // What goes on is the next part's to tell.
        self.end_part(self.last, "left", None);
    }
}

fn of_instance(name: &InstanceName) -> Vec<(&'static str, Fact)> {
    vec![("cairn.instance", name.to_string().into()), ("cairn.stage", name.stage().as_str().into())]
}

/// Returns the exit status that an error tells of.
fn exit_status(error: &str) -> Option<i64> {
    let rest = error.strip_prefix("exit status ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use cairn_model::{Blocker, Reason, TraceParent};

    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Span>>);

    impl Export for Kept {
        fn export(&self, span: Span) {
            self.0.lock().unwrap().push(span);
        }

        fn exported(&self) -> Exported {
            Exported::default()
        }
    }

    fn name(text: &str) -> InstanceName {
        InstanceName::new(text.parse().unwrap(), None)
    }

    fn of(instance: &str, event: InstanceEvent) -> RunEvent {
        RunEvent::Instance { instance: name(instance), event }
    }

    fn spans(caller: Option<&str>, past: &[(i64, RunEvent)], now: &[(i64, RunEvent)]) -> Vec<Span> {
        let kept = Arc::new(Kept::default());
        let caller = caller.map(|text| text.parse::<TraceParent>().unwrap());
        let trace = RunTrace::new(RunId::from_bytes([9; 16]), caller);
        let to = Arc::clone(&kept) as Arc<dyn Export>;
        let mut spans = Spans::new(to, trace, "p".parse().unwrap(), vec![("cairn.trigger", "hand".into())]);
        let event = |(at, what): &(i64, RunEvent)| Event { at: Timestamp(*at), what: what.clone() };
        for given in past {
            spans.recall(&event(given));
        }
        for given in now {
            spans.note(&event(given));
        }
        drop(spans);
        std::mem::take(&mut *kept.0.lock().unwrap())
    }

    fn started(attempt: u32) -> InstanceEvent {
        InstanceEvent::AttemptStarted {
            attempt,
            input_hash: InputHash::of_preimage(b"x"),
            reason: Reason::First,
        }
    }

    fn committed(attempt: u32) -> InstanceEvent {
        InstanceEvent::Committed { attempt, input_hash: InputHash::of_preimage(b"x"), took_ms: 1 }
    }

    /// Each span as `name began..ended in parent`.
    fn shown(spans: &[Span]) -> Vec<String> {
        let names: HashMap<_, _> = spans.iter().map(|span| (span.id, span.name.clone())).collect();
        let parent = |span: &Span| match span.parent {
            None => "nothing".to_owned(),
            Some((_, true)) => "its caller".to_owned(),
            Some((id, false)) => names.get(&id).cloned().unwrap_or_else(|| "what is not told".to_owned()),
        };
        let one = |span: &Span| {
            let (began, ended) = (span.began.0, span.ended.0);
            let error = span.error.as_deref().map_or(String::new(), |error| format!(": {error}"));
            format!("{} {began}..{ended} in {}{error}", span.name, parent(span))
        };
        spans.iter().map(one).collect()
    }

    fn fact<'a>(spans: &'a [Span], name: &str, fact: &str) -> Option<&'a Fact> {
        let span = spans.iter().find(|span| span.name == name).unwrap();
        span.facts.iter().find(|(known, _)| *known == fact).map(|(_, value)| value)
    }

    #[test]
    fn a_run_is_a_span_with_its_instances_and_their_attempts() {
        let error = "exit status 3: it says why".to_owned();
        let found = InstanceEvent::CheckpointFound {
            input_hash: InputHash::of_preimage(b"y"),
            restored: Vec::new(),
            trashed: Vec::new(),
            saved_ms: 700,
        };
        let spans = spans(
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            &[],
            &[
                (10, RunEvent::Started { instances: 3, resumed: false }),
                (11, of("old", found)),
                (12, of("a", started(1))),
                (
                    15,
                    of(
                        "a",
                        InstanceEvent::AttemptFailed {
                            attempt: 1,
                            error: error.clone(),
                            retry_at: Timestamp(16),
                        },
                    ),
                ),
                (16, of("a", started(2))),
                (20, of("a", committed(2))),
                (21, of("b", started(1))),
                (25, of("b", InstanceEvent::Failed { attempts: 1, error, help: None })),
                (26, of("c", InstanceEvent::Blocked { by: Blocker::Failed("b".to_owned()) })),
                (30, RunEvent::Ended { status: RunStatus::Failed }),
            ],
        );
        assert_eq!(
            shown(&spans),
            [
                "old 11..11 in p",
                "a attempt 1 12..15 in a: exit status 3: it says why",
                "a attempt 2 16..20 in a",
                "a 12..20 in p",
                "b attempt 1 21..25 in b: exit status 3: it says why",
                "b 21..25 in p: exit status 3: it says why",
                "c 26..26 in p",
                "p 10..30 in its caller: the run is failed",
            ]
        );
        assert!(spans.iter().all(|span| span.trace[0] == 0x0a), "all are in the caller's trace");
        assert_eq!(fact(&spans, "old", "cairn.outcome"), Some(&"FRESH".into()));
        assert_eq!(fact(&spans, "old", "cairn.saved_ms"), Some(&Fact::Number(700)));
        assert_eq!(fact(&spans, "a attempt 1", "process.exit.code"), Some(&Fact::Number(3)));
        assert_eq!(fact(&spans, "a attempt 2", "process.exit.code"), Some(&Fact::Number(0)));
        assert_eq!(fact(&spans, "a", "cairn.reason"), Some(&"never ran before".into()));
        assert_eq!(fact(&spans, "c", "cairn.reason"), Some(&"`b` failed".into()));
        assert_eq!(fact(&spans, "p", "cairn.trigger"), Some(&"hand".into()));
    }

    #[test]
    fn an_attempt_that_outlived_its_process_is_told_by_the_next_part() {
        let first = [(10, RunEvent::Started { instances: 2, resumed: false }), (12, of("a", started(1)))];
        let left = spans(None, &[], &first);
        assert_eq!(shown(&left), ["p 10..12 in nothing"]);
        assert_eq!(fact(&left, "p", "cairn.status"), Some(&"left".into()));
        let next = [
            (50, RunEvent::Started { instances: 2, resumed: true }),
            (60, of("a", committed(1))),
            (61, RunEvent::Ended { status: RunStatus::Succeeded }),
        ];
        let next = spans(None, &first, &next);
        assert_eq!(shown(&next), ["a attempt 1 12..60 in a", "a 50..60 in p", "p 50..61 in nothing"]);
        assert_eq!(left[0].trace, next[0].trace);
        assert_ne!(left[0].id, next[2].id, "each part is a span of its own");
    }

    #[test]
    fn what_its_caller_does_not_record_is_not_told() {
        let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let events = [
            (10, RunEvent::Started { instances: 1, resumed: false }),
            (11, RunEvent::Ended { status: RunStatus::Succeeded }),
        ];
        assert_eq!(spans(Some(caller), &[], &events), []);
    }
}
