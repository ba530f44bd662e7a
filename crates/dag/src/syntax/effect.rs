//! `effect`: what a stage does to a system outside.

use cairn_model::EffectMode;

use super::names::{nearest, show};
use super::reader::{Reader, Value};
use super::stage::Run;
use super::text::{At, Span, Text};
use super::words;
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::effect::OnUncertain;

/// An effect as it is written.
#[derive(Debug)]
pub(crate) struct EffectSyntax<'a> {
    pub mode: EffectMode,
    pub key: Option<Text<'a>>,
    pub confirm: Option<Run<'a>>,
    pub probe: Option<Run<'a>>,
    pub undo: Option<Run<'a>>,
    pub on_uncertain: OnUncertain,
    /// Where the effect is identified: its key, else its mode.
    pub span: Span,
}

const EXAMPLE: &str = "{ mode = \"at-least-once\" }";

impl<'a> Reader<'a> {
    /// Reads `effect`, `None` after an error in it.
    pub(super) fn effect(&mut self, value: &Value<'a>) -> Option<EffectSyntax<'a>> {
        let table = self.table("`effect`", EXAMPLE, value)?;
        let before = self.found.len();
        let (mut mode, mut mode_named) = (None, false);
        let (mut key, mut confirm, mut probe, mut undo) = (None, None, None, None);
        let (mut confirm_named, mut uncertain) = (None, None);
        for (name, value) in Self::entries(table) {
            match name.get_ref().as_ref() {
                "mode" => {
                    mode_named = true;
                    mode = self.effect_mode(value);
                }
                "key" => key = self.filled_text("`key`", value),
                "confirm" => {
                    confirm_named = Some(name.span());
                    confirm = self.run("`confirm`", value);
                }
                "probe" => probe = self.run("`probe`", value),
                "undo" => undo = self.run("`undo`", value),
                "on_uncertain" => {
                    let choice = self.on_uncertain(value);
                    uncertain = Some(At { value: choice, span: name.span() });
                }
                _ => mode_named |= self.unknown_key(&words::EFFECT, name) == Some("mode"),
            }
        }
        if !mode_named {
            let modes = "\"at-least-once\"` where doing it twice under one key does no harm, `\"exactly-once\"` with a `confirm`, else `\"at-most-once\"";
            let diagnostic = Diagnostic::error(code::MISSING_KEY, "`effect` has no `mode`")
                .at(value.span(), "what is to be done after a cut-off attempt?")
                .help(format!("write `mode = {modes}`"));
            self.report(diagnostic);
        }
        let At { value: mode, span } = mode?;
        self.check_confirm(&At { value: mode, span: span.clone() }, confirm_named, uncertain.as_ref());
        if self.found.len() > before {
            return None;
        }
        let span = key.as_ref().map_or(span, |key: &Text<'a>| key.span.clone());
        let on_uncertain = uncertain.and_then(|choice| choice.value).unwrap_or(OnUncertain::Hold);
        Some(EffectSyntax { mode, key, confirm, probe, undo, on_uncertain, span })
    }

    /// The mode `exactly-once` is a promise only with something to ask; in another mode nothing is asked.
    fn check_confirm(
        &mut self,
        mode: &At<EffectMode>,
        confirm: Option<Span>,
        uncertain: Option<&At<Option<OnUncertain>>>,
    ) {
        let exactly = mode.value == EffectMode::ExactlyOnce;
        if exactly && confirm.is_none() {
            let diagnostic = Diagnostic::error(code::MISSING_KEY, "an `exactly-once` effect has no `confirm`")
                .at(mode.span.clone(), "after a cut-off attempt nothing can tell whether it took place")
                .help("write `confirm = \"…\"`, which exits with 0 when the effect took place and with 1 when it did not; without one, `at-most-once` leaves it to a person and `at-least-once` does it again");
            self.report(diagnostic);
        }
        let idle = [("confirm", confirm), ("on_uncertain", uncertain.map(|choice| choice.span.clone()))];
        for (name, span) in idle {
            if let Some(span) = span.filter(|_| !exactly) {
                let message = format!("`{name}` has no use in the mode `{}`", mode.value);
                let diagnostic = Diagnostic::error(code::BAD_VALUE, message)
                    .at(span, "asked only in the mode `exactly-once`")
                    .with(mode.span.clone(), "the mode")
                    .help(format!("write `mode = \"exactly-once\"`, or remove `{name}`"));
                self.report(diagnostic);
            }
        }
    }

    fn effect_mode(&mut self, value: &Value<'a>) -> Option<At<EffectMode>> {
        const LIST: &str = "`\"at-least-once\"`, `\"at-most-once\"` or `\"exactly-once\"`";
        let text = self.text_or("`mode`", LIST, value)?;
        let word = text.text.replace('_', "-");
        let known = EffectMode::ALL.into_iter().find(|mode| mode.as_str() == text.text);
        if let Some(mode) = known {
            return Some(At { value: mode, span: text.span });
        }
        let meant = EffectMode::ALL.map(EffectMode::as_str).into_iter().find(|known| *known == word);
        let near = meant.or_else(|| nearest(&word, EffectMode::ALL.map(EffectMode::as_str)));
        self.unknown_word("mode of an effect", &text, near, LIST);
        None
    }

    fn on_uncertain(&mut self, value: &Value<'a>) -> Option<OnUncertain> {
        const LIST: &str = "`\"hold\"` or `\"retry\"`";
        let text = self.text_or("`on_uncertain`", LIST, value)?;
        match text.text.as_ref() {
            "hold" => Some(OnUncertain::Hold),
            "retry" => Some(OnUncertain::Retry),
            other => {
                self.unknown_word("choice of `on_uncertain`", &text, nearest(other, ["hold", "retry"]), LIST);
                None
            }
        }
    }

    /// Reads `on_failure`: whether a failure has the run's effects undone.
    pub(super) fn on_failure(&mut self, value: &Value<'a>) -> bool {
        const LIST: &str = "`\"rollback\"`";
        let Some(text) = self.text_or("`on_failure`", LIST, value) else { return false };
        if text.text == "rollback" {
            return true;
        }
        let meant = match text.text.as_ref() {
            "undo" | "compensate" | "revert" => Some("rollback"),
            other => nearest(other, ["rollback"]),
        };
        self.unknown_word("choice of `on_failure`", &text, meant, LIST);
        false
    }

    fn unknown_word(&mut self, what: &str, text: &Text<'a>, meant: Option<&str>, list: &str) {
        let diagnostic = Diagnostic::error(code::BAD_VALUE, format!("`{}` is no {what}", show(&text.text)))
            .at(text.span.clone(), "unknown word")
            .help(format!("write {list}"));
        self.report(match meant {
            Some(meant) => diagnostic.patch(text.span.clone(), format!("\"{meant}\"")),
            None => diagnostic,
        });
    }
}
