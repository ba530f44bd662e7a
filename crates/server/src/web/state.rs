//! How states look on every page: a sign, a word and a colour, never a colour alone.

use cairn_model::{Counts, EffectState, Outcome, RunStatus, State};

use super::markup::Markup;

/// The look of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Names its colours in the style sheet.
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) word: &'static str,
}

const fn look(class: &'static str, sign: &'static str, word: &'static str) -> Look {
    Look { class, sign, word }
}

pub(super) const QUEUED: Look = look("wait", "◌", "queued");
pub(super) const WAITING: Look = look("wait", "◌", "waiting");
pub(super) const DRIFTED: Look = look("hold", "≠", "drifted");

impl Look {
    /// Returns that of a run; `queued` where it waits for its turn.
    pub(super) const fn of_run(status: RunStatus) -> Self {
        match status {
            RunStatus::Running => look("run", "▶", "running"),
            RunStatus::Succeeded => look("good", "✓", "succeeded"),
            RunStatus::Failed => look("bad", "✗", "failed"),
            RunStatus::Interrupted => look("hold", "⊘", "interrupted"),
            RunStatus::Frozen => look("hold", "❄", "frozen"),
            RunStatus::InDoubt => look("doubt", "?", "in doubt"),
        }
    }

    /// Returns that of an instance. In a run that is over nothing runs.
    pub(super) const fn of_state(state: &State, goes_on: bool) -> Self {
        match state {
            State::Running { .. } | State::Retrying { .. } if !goes_on => look("hold", "⊘", "cut off"),
            State::Waiting if !goes_on => look("wait", "–", "no turn"),
            State::Waiting => WAITING,
            State::Running { .. } => look("run", "▶", "running"),
            State::Retrying { .. } => look("again", "↻", "retrying"),
            State::Fresh => look("fresh", "≡", "fresh"),
            State::Restored => look("fresh", "⤓", "restored"),
            State::Ran { .. } => look("good", "✓", "ran"),
            State::Failed { .. } => look("bad", "✗", "failed"),
            State::Blocked => look("stop", "△", "blocked"),
            State::InDoubt { .. } => look("doubt", "?", "in doubt"),
        }
    }

    pub(super) const fn of_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ran => look("good", "✓", "ran"),
            Outcome::Restored => look("fresh", "⤓", "restored"),
            Outcome::Fresh => look("fresh", "≡", "fresh"),
            Outcome::Failed => look("bad", "✗", "failed"),
            Outcome::Blocked => look("stop", "△", "blocked"),
            Outcome::InDoubt => look("doubt", "?", "in doubt"),
        }
    }

    pub(super) const fn of_effect(state: EffectState) -> Self {
        match state {
            EffectState::Intent => look("again", "…", "intended"),
            EffectState::Confirmed => look("good", "✓", "confirmed"),
            EffectState::Rejected => look("wait", "–", "did not happen"),
            EffectState::InDoubt => look("doubt", "?", "in doubt"),
            EffectState::Held => look("doubt", "?", "held"),
            EffectState::Undoing => look("doubt", "↶", "undoing"),
            EffectState::Undone => look("wait", "↶", "undone"),
        }
    }

    /// How much it asks for a person's eye: of several in one place the greatest is shown.
    pub(super) fn weight(self) -> u8 {
        match self.class {
            "bad" => 9,
            "doubt" => 8,
            "run" => 7,
            "again" => 6,
            "hold" => 5,
            "stop" => 4,
            "wait" => 3,
            "good" => 2,
            _ => 1,
        }
    }

    /// Marks it up as sign and word.
    pub(super) fn pill(self) -> Markup {
        let mut markup = Markup::default();
        markup
            .html("<span class=\"pill ")
            .html(self.class)
            .html("\"><span aria-hidden=\"true\">")
            .html(self.sign);
        markup.html("</span> ").html(self.word).html("</span>");
        markup
    }
}

/// Says how many instances ended how: `3 ran, 12 fresh`.
pub(super) fn counts(counts: Counts) -> Markup {
    let mut markup = Markup::default();
    for outcome in Outcome::ALL.into_iter().filter(|outcome| counts.of(*outcome) > 0) {
        if !markup.is_empty() {
            markup.html(" ");
        }
        let look = Look::of_outcome(outcome);
        markup
            .html("<span class=\"count ")
            .html(look.class)
            .html("\"><span aria-hidden=\"true\">")
            .html(look.sign);
        markup.html("</span> ").text(counts.of(outcome)).html(" ").html(look.word).html("</span>");
    }
    markup
}
