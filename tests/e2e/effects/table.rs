//! Rows of the table in docs/effects.md that no other test has.

use super::*;

/// Has the stage `pay` more lines, or its text another word.
fn change(bank: &Bank, from: &str, to: &str) {
    let text = bank.project.read("pipeline.toml");
    assert!(text.contains(from), "{text}");
    bank.project.write("pipeline.toml", text.replacen(from, to, 1));
}

#[test]
fn i6_a_timeout_is_a_cut() {
    for (effect, status, ended, state, paid) in [
        (LEAST, 1, "FAILED", "INTENT", 1),
        (MOST, 4, "IN DOUBT", "IN DOUBT", 1),
        (EXACTLY, 0, "RAN", "CONFIRMED", 1),
    ] {
        let bank = Bank::new(effect);
        change(&bank, "[stages.pay.effect]", "timeout = \"2s\"\n[stages.pay.effect]");
        bank.set("hang");
        let outcome = bank.run(&[]);
        assert_eq!(outcome.status, Some(status), "{effect}: {}", outcome.shown());
        assert_eq!(outcomes(&outcome.stdout)["pay"].replace('_', " "), ended, "{effect}");
        assert_eq!((bank.state().replace('_', " ").as_str(), bank.book().len()), (state, paid), "{effect}");
    }
}

#[test]
fn i6_what_is_done_is_not_done_again_by_cache_ttl_or_a_new_name() {
    for effect in [LEAST, MOST, EXACTLY] {
        let bank = Bank::new(effect);
        assert_eq!(bank.pay(0), "RAN");
        change(&bank, "[stages.pay.effect]", "cache = false\n[stages.pay.effect]");
        assert_eq!(bank.pay(0), "FRESH", "{effect}");
        change(&bank, "cache = false", "cache = { ttl = \"1s\" }");
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(bank.pay(0), "FRESH", "{effect}");
        let renamed = bank
            .project
            .read("pipeline.toml")
            .replace("stages.pay", "stages.wire")
            .replace("\"pay\"", "\"wire\"");
        bank.project.write("pipeline.toml", renamed);
        let outcome = bank.run(&[]).expect(0);
        assert_eq!(outcomes(&outcome.stdout)["wire"], "FRESH", "{effect}: {}", outcome.shown());
        assert_eq!(bank.book(), [PAID], "{effect}");
    }
}

#[test]
fn i6_a_command_that_could_not_be_started_did_nothing() {
    for effect in [LEAST, MOST, EXACTLY] {
        let bank = Bank::new(effect);
        change(&bank, "run = \"bash pay.sh\"", "run = [\"./no-such-program\"]");
        assert_eq!(bank.pay(1), "FAILED", "{effect}");
        assert_eq!((bank.book().len(), bank.state().as_str()), (0, "REJECTED"), "{effect}");
        change(&bank, "run = [\"./no-such-program\"]", "run = \"bash pay.sh\"");
        assert_eq!((bank.pay(0), bank.book().len()), ("RAN".to_owned(), 1), "{effect}");
    }
}

#[test]
fn i6_lost_outputs_do_not_repeat_the_effect() {
    for effect in [LEAST, MOST] {
        let bank = Bank::new(effect);
        change(
            &bank,
            "run = \"bash pay.sh\"",
            "run = \"bash pay.sh && head -c 9999 /dev/zero > receipt\"\noutputs = [\"receipt\"]",
        );
        assert_eq!(bank.pay(0), "RAN");
        bank.project.remove("receipt");
        fs::remove_dir_all(bank.project.file(".cairn/objects")).unwrap();
        assert_eq!(bank.pay(1), "FAILED", "{effect}");
        assert_eq!(bank.book(), [PAID], "{effect}");
    }
}
