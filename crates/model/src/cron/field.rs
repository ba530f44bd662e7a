//! One field of a cron expression.

use super::{CronFault, Nth, bit};

/// What a field may hold.
pub(super) struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// Names of the values from `names_from` on.
    names: &'static [&'static str],
    names_from: u8,
    example: &'static str,
}

pub(super) const MINUTES: Field = Field {
    name: "the minute",
    least: 0,
    most: 59,
    names: &[],
    names_from: 0,
    example: "`0`, `*/15`, `0,30`",
};
pub(super) const HOURS: Field =
    Field { name: "the hour", least: 0, most: 23, names: &[], names_from: 0, example: "`6`, `*`, `8-18`" };
pub(super) const DAYS: Field = Field {
    name: "the day of the month",
    least: 1,
    most: 31,
    names: &[],
    names_from: 0,
    example: "`1`, `*`, `L`",
};
pub(super) const MONTHS: Field = Field {
    name: "the month",
    least: 1,
    most: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    names_from: 1,
    example: "`*`, `1-6`, `JAN`",
};
/// Sunday is 0 and 7.
pub(super) const WEEKDAYS: Field = Field {
    name: "the day of the week",
    least: 0,
    most: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    names_from: 0,
    example: "`*`, `MON-FRI`, `FRI#2`",
};

/// What a field says.
#[derive(Default)]
pub(super) struct Said {
    pub bits: u64,
    /// `L` as a day of the month.
    pub last: bool,
    pub nth: Vec<(u8, Nth)>,
}

/// A text of the field, and where it stands in the expression.
#[derive(Clone, Copy)]
struct Part<'t> {
    text: &'t str,
    at: usize,
}

impl Part<'_> {
    fn fault(self, message: impl Into<String>, help: impl Into<String>) -> CronFault {
        CronFault {
            span: self.at..self.at + self.text.len(),
            message: message.into(),
            help: help.into(),
            replacement: None,
        }
    }

    fn split_once(self, at: char) -> Option<(Self, Self)> {
        let (before, after) = self.text.split_once(at)?;
        let after_at = self.at + before.len() + at.len_utf8();
        Some((Self { text: before, at: self.at }, Self { text: after, at: after_at }))
    }
}

impl Field {
    /// Reads the field; what is wrong is added to `faults`.
    pub(super) fn parse(&self, text: &str, at: usize, faults: &mut Vec<CronFault>) -> Said {
        let mut said = Said::default();
        let mut start = at;
        for item in text.split(',') {
            let part = Part { text: item, at: start };
            if let Err(fault) = self.item(part, &mut said) {
                faults.push(fault);
            }
            start += item.len() + 1;
        }
        if self.most == 7 && said.bits & bit(7) != 0 {
            said.bits = (said.bits | bit(0)) & !bit(7);
        }
        said
    }

    fn item(&self, part: Part<'_>, said: &mut Said) -> Result<(), CronFault> {
        if part.text.is_empty() {
            // Nothing can be marked where nothing is: the comma before it, or the one behind.
            let part = Part { text: ",", at: part.at.saturating_sub(1) };
            return Err(
                part.fault(format!("{}: nothing stands beside a comma", self.name), "remove the comma")
            );
        }
        if part.text == "?" {
            let mut fault = part.fault(format!("{}: `?` is no value", self.name), "write `*`");
            fault.replacement = Some("*".to_owned());
            return Err(fault);
        }
        if self.special(part, said)? {
            return Ok(());
        }
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (first, last) = if range.text == "*" {
            (self.least, self.top())
        } else if let Some((first, last)) = range.split_once('-') {
            let (from, to) = (self.value(first)?, self.value(last)?);
            // A week may end with Sunday.
            let to = if self.most == 7 && to == 0 && from > 0 { 7 } else { to };
            if from > to {
                let help = format!(
                    "write the smaller first, or two ranges: `{}-{},{}-{}`",
                    first.text,
                    self.top(),
                    self.least,
                    last.text
                );
                return Err(range.fault(format!("{}: the range ends before it begins", self.name), help));
            }
            (from, to)
        } else {
            let value = self.value(range)?;
            if step.is_some() {
                let ranged = format!("{}-{}", range.text, self.top());
                let mut fault = range.fault(
                    format!("{}: a step needs a range", self.name),
                    format!("write `{ranged}`, or `*`"),
                );
                fault.replacement = Some(ranged);
                return Err(fault);
            }
            (value, value)
        };
        let step = step.map_or(Ok(1), |step| self.step(step))?;
        said.bits |= (first..=last).step_by(step).map(bit).fold(0, |bits, bit| bits | bit);
        Ok(())
    }

    /// Reads what only the days have: `L`, `FRIL`, `FRI#2`. Returns whether it was one of them.
    fn special(&self, part: Part<'_>, said: &mut Said) -> Result<bool, CronFault> {
        if self.most == 31 {
            if part.text.eq_ignore_ascii_case("L") {
                said.last = true;
                return Ok(true);
            }
            if part.text.ends_with(['W', 'w']) {
                let help = "there is no nearest weekday: write the days, or let the stage look at the date";
                return Err(part.fault(format!("{}: `W` is not known", self.name), help));
            }
        }
        if self.most != 7 {
            return Ok(false);
        }
        if let Some((day, nth)) = part.split_once('#') {
            let day = self.value(day)? % 7;
            let number = nth.text.parse().ok().filter(|nth| (1..=5).contains(nth));
            let number = number.ok_or_else(|| {
                nth.fault(
                    format!("{}: no month has it so often", self.name),
                    "write `#1` to `#5`, or `L` for the last",
                )
            })?;
            said.nth.push((day, Nth::From(number)));
            return Ok(true);
        }
        if let Some(day) = part.text.strip_suffix(['L', 'l']).filter(|day| !day.is_empty()) {
            let day = self.value(Part { text: day, at: part.at })? % 7;
            said.nth.push((day, Nth::Last));
            return Ok(true);
        }
        Ok(false)
    }

    fn value(&self, part: Part<'_>) -> Result<u8, CronFault> {
        let lower = part.text.to_ascii_lowercase();
        if let Some(at) = self.names.iter().position(|name| *name == lower) {
            return Ok(self.names_from + u8::try_from(at).unwrap_or(0));
        }
        let is_number = !lower.is_empty() && lower.bytes().all(|byte| byte.is_ascii_digit());
        let value =
            lower.parse::<u8>().ok().filter(|value| is_number && (self.least..=self.most).contains(value));
        value.ok_or_else(|| {
            let text = part.text;
            if is_number {
                let help = format!("write {} to {}", self.least, self.most);
                return part.fault(format!("{} cannot be {text}", self.name), help);
            }
            let full = self.names.iter().find(|name| lower.len() > 3 && lower.starts_with(**name));
            let mut fault = part.fault(
                format!("{} cannot be `{text}`", self.name),
                match full {
                    Some(name) => format!("names have three letters: write `{}`", name.to_uppercase()),
                    None => format!("write for example {}", self.example),
                },
            );
            fault.replacement = full.map(|name| name.to_uppercase());
            fault
        })
    }

    fn step(&self, part: Part<'_>) -> Result<usize, CronFault> {
        let most = usize::from(self.most);
        let step = part.text.parse::<usize>().ok().filter(|step| (1..=most).contains(step));
        step.ok_or_else(|| {
            part.fault(
                format!("{}: a step of `{}`", self.name, part.text),
                format!("write a step of 1 to {most}"),
            )
        })
    }

    /// The greatest value that is not another's second name.
    fn top(&self) -> u8 {
        if self.most == 7 { 6 } else { self.most }
    }
}
