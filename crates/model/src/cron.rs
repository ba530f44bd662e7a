//! Cron expressions as Debian's cron reads them: what they say, field by field; when they next hold is asked elsewhere.
//!
//! Five fields (minute, hour, day of month, month, day of week) or a nickname such as `@daily`; numbers, names, lists,
//! ranges and steps; `L` for a month's last day, `FRI#2` and `FRIL` for its second and last Friday. One reading for the
//! check of a pipeline file and for the scheduler, so that they cannot differ.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod field;

use field::{DAYS, Field, HOURS, MINUTES, MONTHS, WEEKDAYS};

/// A checked cron expression; some time matches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    /// Minutes of the hour that match, bit 0 for minute 0.
    minutes: u64,
    hours: u64,
    /// Days of the month, bit 1 for the first.
    days: u64,
    /// Whether the last day of the month matches too.
    last_day: bool,
    /// Months, bit 1 for January.
    months: u64,
    /// Days of the week, bit 0 for Sunday.
    weekdays: u64,
    /// Days of the week of which only one in a month matches.
    nth: Vec<(u8, Nth)>,
    /// Whether both day fields must hold: where one of them begins with `*`. Otherwise one of them is enough.
    both_days: bool,
    /// Whether minute or hour begins with `*`: then it follows the clock through its changes.
    wildcard: bool,
}

/// Which of the month's days of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nth {
    /// The first to the fifth, from 1.
    From(u8),
    /// The last.
    Last,
}

/// One fault of a cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronFault {
    /// Bytes of the expression.
    pub span: Range<usize>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do.
    pub help: String,
    /// What to write in the place of `span`, where that is mechanical.
    pub replacement: Option<String>,
}

/// A text that is no cron expression: all its faults, at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no cron expression: {}", faults.first().map_or("", |fault| fault.message.as_str()))]
pub struct CronError {
    /// What was read.
    pub text: String,
    /// What is wrong with it, in the order of the text.
    pub faults: Vec<CronFault>,
}

impl CronError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        self.faults.first().map(|fault| fault.help.clone())
    }
}

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

const FIELDS: [&Field; 5] = [&MINUTES, &HOURS, &DAYS, &MONTHS, &WEEKDAYS];

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        parse(text).map_err(|faults| CronError { text: text.to_owned(), faults })
    }
}

impl TryFrom<String> for Cron {
    type Error = CronError;

    fn try_from(text: String) -> Result<Self, CronError> {
        text.parse()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Cron {
    /// Returns the five fields as they were written, a nickname written out, with one blank between them.
    pub fn fields(&self) -> [&str; 5] {
        let mut fields = written_out(&self.text).split_ascii_whitespace();
        std::array::from_fn(|_| fields.next().unwrap_or("*"))
    }

    /// Returns whether the expression follows the clock where that is set forward or back: where minute or hour begins
    /// with `*`. Any other has fixed times, which come once a date.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Returns whether a minute of the hour matches.
    pub fn has_minute(&self, minute: u8) -> bool {
        self.minutes & bit(minute) != 0
    }

    /// Returns whether an hour of the day matches.
    pub fn has_hour(&self, hour: u8) -> bool {
        self.hours & bit(hour) != 0
    }

    /// Returns whether a month matches, from 1 for January.
    pub fn has_month(&self, month: u8) -> bool {
        self.months & bit(month) != 0
    }

    /// Returns whether a day of a matching month matches: `day` from 1, in a month of `days` days, on a day of the week
    /// with 0 for Sunday.
    pub fn has_day(&self, day: u8, days: u8, weekday: u8) -> bool {
        let by_day = self.days & bit(day) != 0 || (self.last_day && day == days);
        let nth = |(of, nth): &(u8, Nth)| {
            *of == weekday
                && match nth {
                    Nth::From(nth) => (day - 1) / 7 + 1 == *nth,
                    Nth::Last => day + 7 > days,
                }
        };
        let by_weekday = self.weekdays & bit(weekday) != 0 || self.nth.iter().any(nth);
        if self.both_days { by_day && by_weekday } else { by_day || by_weekday }
    }
}

const fn bit(of: u8) -> u64 {
    1 << of
}

/// Returns the fields that a nickname stands for.
fn written_out(text: &str) -> &str {
    let name = text.trim();
    NICKNAMES
        .iter()
        .find(|(nickname, _)| name.eq_ignore_ascii_case(nickname))
        .map_or(text, |(_, fields)| fields)
}

fn parse(text: &str) -> Result<Cron, Vec<CronFault>> {
    let fields_text = written_out(text);
    if fields_text.trim_start().starts_with('@') {
        return Err(vec![unknown_nickname(text)]);
    }
    let words = words(fields_text);
    if words.len() != FIELDS.len() {
        return Err(vec![wrong_number(text, &words)]);
    }
    let mut faults = Vec::new();
    let mut read = FIELDS
        .iter()
        .zip(&words)
        .map(|(field, span)| field.parse(&fields_text[span.clone()], span.start, &mut faults));
    let mut next = || read.next().unwrap_or_default();
    let (minutes, hours, days, months, weekdays) = (next(), next(), next(), next(), next());
    drop(read);
    if !faults.is_empty() {
        return Err(faults);
    }
    let star = |field: usize| fields_text[words[field].clone()].starts_with('*');
    let cron = Cron {
        text: text.trim().to_owned(),
        minutes: minutes.bits,
        hours: hours.bits,
        days: days.bits,
        last_day: days.last,
        months: months.bits,
        weekdays: weekdays.bits,
        nth: weekdays.nth,
        both_days: star(2) || star(4),
        wildcard: star(0) || star(1),
    };
    if cron.is_possible() {
        return Ok(cron);
    }
    let days = &fields_text[words[2].clone()];
    Err(vec![CronFault {
        span: words[2].clone(),
        message: format!("no month of `{}` has a day `{days}`", &fields_text[words[3].clone()]),
        help: "this never comes: write `L` for the last day of a month, or another month".to_owned(),
        replacement: Some("L".to_owned()),
    }])
}

impl Cron {
    /// Returns whether some date matches. Of days of the week each comes on every date in time, so only the days of the
    /// month can rule a date out.
    fn is_possible(&self) -> bool {
        const LONGEST: [u8; 13] = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let by_day = (1..=12).filter(|month| self.has_month(*month)).any(|month| {
            self.last_day || (1..=LONGEST[usize::from(month)]).any(|day| self.days & bit(day) != 0)
        });
        by_day || !self.both_days
    }
}

fn words(text: &str) -> Vec<Range<usize>> {
    let start = text.as_ptr() as usize;
    text.split_ascii_whitespace()
        .map(|word| word.as_ptr() as usize - start)
        .zip(text.split_ascii_whitespace())
        .map(|(at, word)| at..at + word.len())
        .collect()
}

fn unknown_nickname(text: &str) -> CronFault {
    let start = text.len() - text.trim_start().len();
    let span = start..start + text.trim().len();
    let (message, help) = if text.trim().eq_ignore_ascii_case("@reboot") {
        (
            "`@reboot` names no time".to_owned(),
            "write a time, or start the run from where the system starts".to_owned(),
        )
    } else {
        let known: Vec<String> = NICKNAMES.iter().map(|(name, _)| format!("`{name}`")).collect();
        ("an unknown nickname".to_owned(), format!("write five fields, or one of {}", known.join(", ")))
    };
    CronFault { span, message, help, replacement: None }
}

fn wrong_number(text: &str, words: &[Range<usize>]) -> CronFault {
    let count = words.len();
    let mut fault = CronFault {
        span: 0..text.len(),
        message: match count {
            0 => "an empty expression".to_owned(),
            1 => "1 field where there are five".to_owned(),
            _ => format!("{count} fields where there are five"),
        },
        help: "write minute, hour, day of month, month and day of week: `30 6 * * 1-5` is 06:30 from Monday to Friday"
            .to_owned(),
        replacement: None,
    };
    // Quartz and its kin have seconds in front, and a year behind.
    if count == 6 && &text[words[0].clone()] == "0" {
        fault.span = words[0].start..words[1].start;
        "there are no seconds: remove the first field".clone_into(&mut fault.help);
        fault.replacement = Some(String::new());
    }
    fault
}

#[cfg(test)]
mod tests;
