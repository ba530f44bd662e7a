//! A run by the clock: when each instance was tried, and how that ended.

use std::collections::HashMap;

use cairn_model::{Event, InstanceEvent, InstanceName, RunEvent, Timestamp};

use super::markup::Markup;
use super::state::Look;

/// One try.
#[derive(Debug, Clone)]
pub(super) struct Try {
    pub(super) attempt: u32,
    pub(super) began: Timestamp,
    /// `None` while it goes on.
    pub(super) ended: Option<Timestamp>,
    pub(super) look: Look,
    pub(super) said: String,
    /// What its command took, once that is known.
    command_ms: Option<u64>,
}

impl Try {
    /// Returns what it took, in milliseconds: its command where that is known, else all of it.
    pub(super) fn took_ms(&self) -> Option<u64> {
        self.command_ms.or_else(|| Some(self.ended?.millis_since(self.began)))
    }

    /// Returns whether it ended otherwise than it should have.
    pub(super) fn went_wrong(&self) -> bool {
        [FAILED, DOUBT].iter().any(|look| look.word == self.look.word)
    }
}

/// When a run's instances were tried.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// When the last part of the run began.
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    pub(super) tries: HashMap<InstanceName, Vec<Try>>,
}

const RUNNING: Look = Look { class: "run", sign: "▶", word: "running" };
const CUT_OFF: Look = Look { class: "hold", sign: "⊘", word: "cut off" };
const FAILED: Look = Look { class: "bad", sign: "✗", word: "failed" };
const RAN: Look = Look { class: "good", sign: "✓", word: "ran" };
const DOUBT: Look = Look { class: "doubt", sign: "?", word: "in doubt" };

impl Timeline {
    /// Folds the events of a run. In one that is over nothing runs.
    pub(super) fn of(events: &[(u64, Event)], goes_on: bool) -> Self {
        let mut timeline = Self::default();
        for (_, event) in events {
            timeline.add(event);
        }
        if !goes_on {
            let open = |one: &&mut Try| one.ended.is_none();
            for cut in timeline.tries.values_mut().flatten().filter(open) {
                cut.ended = timeline.end;
                cut.look = CUT_OFF;
            }
        }
        timeline
    }

    fn add(&mut self, event: &Event) {
        self.end = Some(event.at);
        match &event.what {
            RunEvent::Started { .. } => self.start = Some(event.at),
            RunEvent::Ended { .. } => {}
            RunEvent::Instance { instance, event: what } => {
                let mut end = |look: Look, said: &str, command_ms: Option<u64>| {
                    let last = self.tries.get_mut(instance).and_then(|tries| tries.last_mut());
                    if let Some(last) = last.filter(|last| last.ended.is_none()) {
                        last.ended = Some(event.at);
                        last.look = look;
                        said.clone_into(&mut last.said);
                        last.command_ms = command_ms;
                    }
                };
                match what {
                    InstanceEvent::AttemptStarted { attempt, reason, .. } => {
                        end(CUT_OFF, "cut off", None);
                        let began = Try {
                            attempt: *attempt,
                            began: event.at,
                            ended: None,
                            look: RUNNING,
                            said: reason.text(),
                            command_ms: None,
                        };
                        self.tries.entry(instance.clone()).or_default().push(began);
                    }
                    InstanceEvent::AttemptFailed { error, .. }
                    | InstanceEvent::Failed { error, .. }
                    | InstanceEvent::NotPlaced { error, .. } => end(FAILED, error, None),
                    InstanceEvent::Committed { took_ms, .. } => end(RAN, "", Some(*took_ms)),
                    InstanceEvent::InDoubt { error, .. } => end(DOUBT, error, None),
                    InstanceEvent::Blocked { .. } => end(CUT_OFF, "interrupted", None),
                    InstanceEvent::CheckpointFound { .. }
                    | InstanceEvent::EffectStands { .. }
                    | InstanceEvent::Records { .. }
                    | InstanceEvent::Trashed { .. }
                    | InstanceEvent::Undone { .. } => {}
                }
            }
        }
    }

    /// Returns the stretch that the drawing shows, from the beginning of the run's last part.
    fn span(&self, now: Option<Timestamp>) -> Option<(Timestamp, u64)> {
        let start = self.start?;
        let end = now.or(self.end)?;
        Some((start, end.millis_since(start).max(1)))
    }

    /// Draws the tries of an instance as bars on the stretch of the run; `now` while it goes on.
    pub(super) fn bars(&self, instance: &InstanceName, now: Option<Timestamp>) -> Markup {
        let mut svg = Markup::default();
        let Some((start, span)) = self.span(now) else { return svg };
        svg.html("<svg class=\"bars\" width=\"100%\" height=\"18\" aria-hidden=\"true\">");
        for one in self
            .tries
            .get(instance)
            .into_iter()
            .flatten()
            .filter(|one| one.ended.is_none_or(|end| end >= start))
        {
            let end = one.ended.or(now).unwrap_or(one.began);
            let from = share(one.began.millis_since(start), span);
            let width = (share(end.millis_since(start), span) - from).max(0.6).min(100.0 - from.min(99.4));
            svg.html("<rect class=\"").html(one.look.class).html("\" y=\"3\" height=\"12\" rx=\"3\"");
            svg.attribute("x", format!("{:.2}%", from.min(99.4)))
                .attribute("width", format!("{width:.2}%"))
                .html("/>");
        }
        svg.html("</svg>");
        svg
    }

    /// Draws the times above the bars.
    pub(super) fn scale(&self, now: Option<Timestamp>) -> Markup {
        let mut svg = Markup::default();
        let Some((_, span)) = self.span(now) else { return svg };
        svg.html("<svg class=\"scale\" width=\"100%\" height=\"18\" aria-hidden=\"true\">");
        let step = step(span);
        for tick in 0..=span / step {
            let at = share(tick * step, span);
            if at > 92.0 && tick > 0 {
                break;
            }
            svg.html("<line y1=\"12\" y2=\"18\"")
                .attribute("x1", format!("{at:.2}%"))
                .attribute("x2", format!("{at:.2}%"));
            svg.html("/><text y=\"10\"")
                .attribute("x", format!("{at:.2}%"))
                .html(">")
                .text(tick_words(tick * step))
                .html("</text>");
        }
        svg.html("</svg>");
        svg
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is drawn on some thousand pixels")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

/// Returns the distance of the times above the bars: about four fit.
fn step(span: u64) -> u64 {
    const STEPS: [u64; 22] = [
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 120_000, 300_000,
        600_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000,
    ];
    STEPS.into_iter().find(|step| span / step <= 4).unwrap_or_else(|| span.div_ceil(4))
}

fn tick_words(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        1..1000 => format!("{ms} ms"),
        _ if ms.is_multiple_of(3_600_000) => format!("{} h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        _ => format!("{} s", ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::{InputHash, Reason};

    #[test]
    fn tries_begin_and_end_and_one_without_an_end_was_cut_off() {
        let instance = InstanceName::new("a".parse().unwrap(), None);
        let at = |ms, event| {
            let what = RunEvent::Instance { instance: instance.clone(), event };
            (0, Event { at: Timestamp(ms), what })
        };
        let began = |attempt| InstanceEvent::AttemptStarted {
            attempt,
            input_hash: InputHash::of_preimage(b"x"),
            reason: Reason::First,
        };
        let failed = InstanceEvent::AttemptFailed {
            attempt: 1,
            error: "exit status 1".into(),
            retry_at: Timestamp(60),
        };
        let start = (0, Event { at: Timestamp(0), what: RunEvent::Started { instances: 1, resumed: false } });
        let events = [start, at(10, began(1)), at(50, failed), at(60, began(2))];
        let timeline = Timeline::of(&events, true);
        let tries = &timeline.tries[&instance];
        assert_eq!((tries[0].look, tries[0].ended), (FAILED, Some(Timestamp(50))));
        assert_eq!((tries[1].look, tries[1].ended), (RUNNING, None));
        assert!(timeline.bars(&instance, Some(Timestamp(100))).to_string().contains("x=\"60.00%\""));
        let over = Timeline::of(&events, false);
        assert_eq!(over.tries[&instance][1].look, CUT_OFF);
    }

    #[test]
    fn about_four_times_stand_above_the_bars() {
        for span in [3, 700, 12_345, 999_999, 40_000_000, 4_000_000_000] {
            assert!((1..=4).contains(&(span / step(span))), "{span}");
        }
    }
}
