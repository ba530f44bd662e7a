//! Days by week: a table with a column a week and a row a day of the week, a cell for each day that has something.
//!
//! It is a table of links and texts, not a picture: whoever cannot see the colours reads the signs, and whoever hears it
//! is told of each day in words.

use std::collections::BTreeMap;

use jiff::ToSpan as _;
use jiff::civil::Date;

use super::markup::Markup;
use super::state::Look;

/// What there is on one day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// How many of each look.
    looks: Vec<(Look, usize)>,
    /// More about them.
    notes: Vec<String>,
    /// Whether there may be more than was counted.
    more: bool,
    /// Where the day leads.
    pub(super) href: Option<String>,
}

/// A day of which nothing is known because it was not looked at.
const NOT_COUNTED: Look = Look { class: "next", sign: "…", word: "not counted" };

/// Different notes of one day that are told.
const NOTES_MAX: usize = 3;

impl Marks {
    /// Adds one thing.
    pub(super) fn add(&mut self, look: Look) {
        match self.looks.iter_mut().find(|(known, _)| *known == look) {
            Some((_, count)) => *count += 1,
            None => self.looks.push((look, 1)),
        }
    }

    /// Adds a word about one of them.
    pub(super) fn note(&mut self, note: &str) {
        if self.notes.len() < NOTES_MAX && !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }

    /// Tells that there may be more than was counted.
    pub(super) fn may_be_more(&mut self) {
        self.more = true;
    }

    /// Returns the looks of what there is.
    pub(super) fn looks(&self) -> impl Iterator<Item = Look> {
        self.looks.iter().map(|(look, _)| *look)
    }

    fn count(&self) -> usize {
        self.looks.iter().map(|(_, count)| count).sum()
    }

    /// Returns how many there are in three characters: `147`, `1k`; `42+` where there may be more.
    fn short(&self) -> String {
        match (self.count(), self.more) {
            (count @ ..100, true) => format!("{count}+"),
            (_, true) => "99+".to_owned(),
            (count @ ..1000, false) => count.to_string(),
            (count, false) => format!("{}k", count / 1000),
        }
    }

    /// Returns the look that asks most for a person's eye.
    fn worst(&self) -> Option<Look> {
        let worst = self.looks.iter().map(|(look, _)| *look).max_by_key(|look| look.weight());
        worst.or(self.more.then_some(NOT_COUNTED))
    }

    /// Says what there is: `2 succeeded, 1 dropped (overlap)`.
    pub(super) fn words(&self) -> String {
        let all: Vec<String> =
            self.looks.iter().map(|(look, count)| format!("{count} {}", look.word)).collect();
        let mut words = all.join(", ");
        if self.more {
            words.push_str(if words.is_empty() {
                NOT_COUNTED.word
            } else {
                ", and more that is not counted"
            });
        }
        if self.notes.is_empty() { words } else { format!("{words} ({})", self.notes.join("; ")) }
    }
}

/// Returns a day as it is read: `Tue 3 Nov 2026`.
pub(super) fn day_words(day: Date) -> String {
    day.strftime("%a %-d %b %Y").to_string()
}

/// Weeks of the longest calendar.
const WEEKS_MAX: i32 = 160;

/// Draws the days from `first` to `last`, both a part. `caption` tells what it is about to those who hear it.
pub(super) fn draw(
    caption: &str,
    days: &BTreeMap<Date, Marks>,
    (first, last): (Date, Date),
    today: Option<Date>,
) -> Markup {
    let start = first.checked_sub(i64::from(first.weekday().to_monday_zero_offset()).days()).unwrap_or(first);
    let span = (last - start).get_days();
    let weeks: Vec<Date> = (0..=(span / 7).clamp(0, WEEKS_MAX))
        .filter_map(|week| start.checked_add(i64::from(week * 7).days()).ok())
        .collect();
    let mut markup = Markup::default();
    markup.html("<table class=\"calendar\"><caption class=\"hidden\">").text(caption);
    markup.html("</caption><thead><tr><td></td>");
    let mut at = 0;
    while at < weeks.len() {
        // A month is named over the weeks that begin in it, as far as they are shown.
        let month = |week: &Date| (*week).max(first).first_of_month();
        let named = month(&weeks[at]);
        let wide = weeks[at..].iter().take_while(|week| month(week) == named).count();
        let format = if wide > 2 { "%b %Y" } else { "%b" };
        markup.html("<th scope=\"colgroup\"").attribute("colspan", wide).html(">");
        markup.text(named.strftime(format)).html("</th>");
        at += wide;
    }
    markup.html("</tr></thead><tbody>");
    for row in 0..7_i64 {
        let name = weeks.first().and_then(|week| week.checked_add(row.days()).ok());
        markup.html("<tr><th scope=\"row\">");
        markup.text(name.map_or_else(String::new, |day| day.strftime("%a").to_string())).html("</th>");
        for week in &weeks {
            let day = week.checked_add(row.days()).ok().filter(|day| (first..=last).contains(day));
            match day {
                None => markup.html("<td></td>"),
                Some(day) => cell(&mut markup, day, days.get(&day), today),
            };
        }
        markup.html("</tr>");
    }
    markup.html("</tbody></table>");
    markup
}

fn cell<'m>(markup: &'m mut Markup, day: Date, marks: Option<&Marks>, today: Option<Date>) -> &'m mut Markup {
    markup.html(if today == Some(day) { "<td class=\"today\">" } else { "<td>" });
    let Some((marks, look)) = marks.and_then(|marks| Some((marks, marks.worst()?))) else {
        let of = if today == Some(day) { ", today" } else { "" };
        markup.html("<span class=\"cell none\"><span class=\"hidden\">").text(day_words(day)).html(of);
        return markup.html(": none</span></span></td>");
    };
    let label = format!("{}: {}", day_words(day), marks.words());
    markup.html(if marks.href.is_some() { "<a class=\"cell " } else { "<span class=\"cell " });
    markup.html(look.class).html("\"").attribute("title", &label);
    if let Some(href) = &marks.href {
        markup.attribute("href", href).attribute("aria-label", &label);
    }
    markup.html("><span aria-hidden=\"true\">").html(look.sign);
    if marks.count() > 1 || (marks.more && marks.count() > 0) {
        markup.html("<small>").text(marks.short()).html("</small>");
    }
    markup.html("</span>");
    if marks.href.is_some() {
        return markup.html("</a></td>");
    }
    markup.html("<span class=\"hidden\">").text(label).html("</span></span></td>")
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::super::state::{QUEUED, WAITING};
    use super::*;

    #[test]
    fn a_day_that_was_not_counted_is_no_day_without_anything() {
        let mut marks = Marks::default();
        marks.may_be_more();
        assert_eq!((marks.words().as_str(), marks.worst()), ("not counted", Some(NOT_COUNTED)));
        marks.add(QUEUED);
        assert_eq!(marks.words(), "1 queued, and more that is not counted");
        let (day, mut markup) = (date(2026, 11, 26), Markup::default());
        cell(&mut markup, day, Some(&marks), None);
        assert!(markup.to_string().contains("<small>1+</small>"), "{markup}");
        (0..1151).for_each(|_| marks.add(QUEUED));
        assert_eq!(marks.short(), "99+");
        assert_eq!(Marks { more: false, ..marks }.short(), "1k");
    }

    #[test]
    fn a_day_stands_in_its_week_and_says_what_there_is() {
        let mut marks = Marks { href: Some("/x\"y".to_owned()), ..Marks::default() };
        marks.add(QUEUED);
        marks.add(WAITING);
        marks.add(QUEUED);
        marks.note("<why>");
        marks.note("<why>");
        let days = BTreeMap::from([(date(2026, 11, 4), marks)]);
        let html =
            draw("<x>", &days, (date(2026, 11, 1), date(2026, 11, 30)), Some(date(2026, 11, 5))).to_string();
        assert!(!html.contains("<why>") && !html.contains("<x>") && !html.contains("x\"y"), "{html}");
        assert!(html.contains("Wed 4 Nov 2026: 2 queued, 1 waiting (&lt;why&gt;)"), "{html}");
        // The first of November 2026 is a Sunday: six weeks, of which the first has one day and the last one.
        assert_eq!(html.matches("<td").count(), 1 + 7 * 6, "{html}");
        assert_eq!(html.matches("cell").count(), 30, "{html}");
        assert_eq!(html.matches("class=\"today\"").count(), 1, "{html}");
        let monday = html.split("<tr>").find(|row| row.contains(">Mon<")).unwrap();
        assert!(monday.contains("Mon 2 Nov 2026: none") && !monday.contains("Tue "), "{monday}");
    }
}
