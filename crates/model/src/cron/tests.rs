use super::*;

fn cron(text: &str) -> Cron {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the marked texts and what is said of them.
fn faults(text: &str) -> Vec<(String, String)> {
    let error = text.parse::<Cron>().expect_err(text);
    error.faults.into_iter().map(|fault| (text[fault.span].to_owned(), fault.message)).collect()
}

#[test]
fn fields_are_read_as_debian_reads_them() {
    let minutes = |text: &str| (0..60).filter(|minute| cron(text).has_minute(*minute)).collect::<Vec<u8>>();
    assert_eq!(minutes("*/20 * * * *"), [0, 20, 40]);
    assert_eq!(minutes("5-10/2,59 * * * *"), [5, 7, 9, 59]);
    let weekdays = |text: &str| {
        // The 15th is the third of its name, and not the last.
        (0..7).filter(|weekday| cron(text).has_day(15, 31, *weekday)).collect::<Vec<u8>>()
    };
    assert_eq!(weekdays("0 0 * * 5-7"), [0, 5, 6]);
    assert_eq!(weekdays("0 0 * * fri-SUN"), [0, 5, 6]);
    assert_eq!(weekdays("0 0 * * 7"), [0]);
    assert_eq!(weekdays("0 0 * * TUE#3,wedL"), [2]);
    // Either field is enough, unless one of them begins with a star.
    assert!(cron("0 0 13 * FRI").has_day(13, 30, 1) && cron("0 0 13 * FRI").has_day(6, 30, 5));
    assert!(!cron("0 0 */2 * FRI").has_day(13, 30, 1) && cron("0 0 */2 * FRI").has_day(13, 30, 5));
    assert!(cron("0 0 L * *").has_day(29, 29, 0) && !cron("0 0 L * *").has_day(29, 30, 0));
    assert_eq!(cron("@Daily").fields(), ["0", "0", "*", "*", "*"]);
}

#[test]
fn only_a_star_in_minute_or_hour_follows_the_clock() {
    for (text, follows) in [
        ("30 2 * * *", false),
        ("* 2 * * *", true),
        ("0 */2 * * *", true),
        ("0-59 2 * * *", false),
        ("@hourly", true),
    ] {
        assert_eq!(cron(text).is_wildcard(), follows, "{text}");
    }
}

#[test]
fn every_fault_has_its_place() {
    let check = |text: &str, expect: &[(&str, &str)]| {
        let expect: Vec<_> = expect.iter().map(|(at, says)| ((*at).to_owned(), (*says).to_owned())).collect();
        assert_eq!(faults(text), expect, "{text}");
    };
    check(
        "61 24 0 13 8",
        &[
            ("61", "the minute cannot be 61"),
            ("24", "the hour cannot be 24"),
            ("0", "the day of the month cannot be 0"),
            ("13", "the month cannot be 13"),
            ("8", "the day of the week cannot be 8"),
        ],
    );
    check("0 0 * * monday", &[("monday", "the day of the week cannot be `monday`")]);
    check("0  5/2 * * *", &[("5", "the hour: a step needs a range")]);
    check("0,,5 6 * * *", &[(",", "the minute: nothing stands beside a comma")]);
    check("0 18-6 * * *", &[("18-6", "the hour: the range ends before it begins")]);
    check("*/0 * * * *", &[("0", "the minute: a step of `0`")]);
    check("0 0 ? * 1", &[("?", "the day of the month: `?` is no value")]);
    check("0 0 15W * *", &[("15W", "the day of the month: `W` is not known")]);
    check("0 0 * * 5#6", &[("6", "the day of the week: no month has it so often")]);
    check("0 0 31 2,4 *", &[("31", "no month of `2,4` has a day `31`")]);
    check("0 0 6 * * ?", &[("0 ", "6 fields where there are five")]);
    check("0 6 * *", &[("0 6 * *", "4 fields where there are five")]);
    check("", &[("", "an empty expression")]);
    check(" @dayly", &[("@dayly", "an unknown nickname")]);
    check("@reboot", &[("@reboot", "`@reboot` names no time")]);
    check("+5 -1 * * *", &[("+5", "the minute cannot be `+5`"), ("", "the hour cannot be ``")]);
    check("٣ 0 * * *", &[("٣", "the minute cannot be `٣`")]);
}

#[test]
fn days_that_come_at_last_are_possible() {
    for text in ["0 0 29 2 *", "0 0 31 2 MON", "0 0 31 * *", "0 0 L 2 *", "0 0 29 2 */7", "0 0 * 2 MON#5"] {
        assert!(text.parse::<Cron>().is_ok(), "{text}");
    }
    assert_eq!("0 0 30 2 *".parse::<Cron>().unwrap_err().faults[0].replacement.as_deref(), Some("L"));
}

#[test]
fn a_text_of_any_kind_is_no_panic() {
    for text in
        ["0 0 *#* * *#*", "- - - - -", "/ / / / /", "999999999999999999999 * * * *", "* * * * L", "é é é é é"]
    {
        assert!(text.parse::<Cron>().is_err(), "{text}");
    }
}
