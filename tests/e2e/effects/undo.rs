//! Taking effects back: one by one, and those of a run that failed, each undo itself never repeated blindly.

use super::*;

/// A refund that may be told to fail.
const UNDO: &str =
    "undo = 'test ! -e $BANK/no-refund; echo \"refund $CAIRN_IDEMPOTENCY_KEY\" >> $BANK/book'\n";

#[test]
fn an_effect_is_undone_once_and_done_again_after_that() {
    let bank = Bank::new(&format!("{EXACTLY}{UNDO}"));
    assert_eq!(bank.pay(0), "RAN");
    bank.project.cairn(&["effects", "undo", "invoice/7"]).expect(0);
    assert_eq!(
        (bank.book(), bank.state().as_str()),
        (vec![PAID.into(), "refund undo:invoice/7".into()], "UNDONE")
    );
    bank.project.cairn(&["effects", "undo", "invoice/7"]).expect(1);
    assert_eq!(bank.book().len(), 2, "what is undone is not undone again");
    assert_eq!(bank.pay(0), "RAN");
    assert_eq!(bank.book().len(), 3);
    bank.project.cairn(&["effects", "undo", "--run", "latest"]).expect(0);
    assert_eq!(bank.state(), "UNDONE");
}

#[test]
fn an_undo_that_failed_is_not_repeated_blindly() {
    let bank = Bank::new(&format!("{EXACTLY}{UNDO}"));
    assert_eq!(bank.pay(0), "RAN");
    bank.set("no-refund");
    let failed = bank.project.cairn(&["effects", "undo", "invoice/7"]).expect(4);
    assert!(failed.stderr.contains("settle invoice/7"), "{}", failed.stderr);
    assert_eq!(bank.state(), "UNDOING");
    bank.unset("no-refund");
    bank.project.cairn(&["effects", "undo", "invoice/7"]).expect(4);
    assert_eq!((bank.pay(4), bank.book().len()), ("IN DOUBT".to_owned(), 1));
    bank.project.cairn(&["effects", "settle", "invoice/7", "--happened"]).expect(0);
    bank.project.cairn(&["effects", "undo", "invoice/7"]).expect(0);
    assert_eq!((bank.state().as_str(), bank.book().len()), ("UNDONE", 2));

    let bank = Bank::new(&format!("{LEAST}{UNDO}"));
    assert_eq!(bank.pay(0), "RAN");
    bank.set("no-refund");
    bank.project.cairn(&["effects", "undo", "invoice/7"]).expect(4);
    bank.unset("no-refund");
    bank.project.cairn(&["effects", "undo", "invoice/7"]).expect(0);
    assert_eq!(bank.state(), "UNDONE", "at-least-once holds for an undo as well");
}

/// A second payment, and a stage that may be told to fail.
const MORE: &str = r#"
[stages.tip]
run = 'echo "pay $CAIRN_IDEMPOTENCY_KEY" >> $BANK/book'
pass_env = ["BANK"]
needs = ["pay"]
[stages.tip.effect]
mode = "at-least-once"
key = "tip/7"
undo = 'echo "refund $CAIRN_IDEMPOTENCY_KEY" >> $BANK/book'

[stages.last]
run = "test ! -e $BANK/broken"
pass_env = ["BANK"]
needs = ["tip", "after"]
"#;

const ON_FAILURE: &str = "on_failure = \"rollback\"\n";

#[test]
fn a_run_that_fails_is_rolled_back_in_reverse_order() {
    let undone = ["pay invoice/7", "pay tip/7", "refund undo:tip/7", "refund undo:invoice/7"];
    let effect = format!("{EXACTLY}{UNDO}");
    let bank = Bank::new(&effect);
    bank.define(&effect, MORE);
    bank.set("broken");
    bank.run(&[]).expect(1);
    assert_eq!(bank.book(), undone[..2], "nobody asked for it");

    for way in ["--rollback", "stage", "pipeline"] {
        let bank = Bank::new(&effect);
        bank.define(&effect, &if way == "stage" { format!("{MORE}{ON_FAILURE}") } else { MORE.to_owned() });
        if way == "pipeline" {
            let text = bank.project.read("pipeline.toml");
            bank.project
                .write("pipeline.toml", text.replace("[pipeline]\n", &format!("[pipeline]\n{ON_FAILURE}")));
        }
        bank.set("broken");
        let asked: &[&str] = if way == "--rollback" { &["--rollback"] } else { &[] };
        let outcome = bank.run(asked).expect(1);
        assert_eq!(bank.book(), undone, "{way}: {}", outcome.shown());
        let shown = bank.project.cairn(&["show", "latest"]).expect(0);
        assert!(shown.stdout.contains("its effect `tip/7` was undone"), "{}", shown.stdout);
        // What goes on does all of it again.
        bank.unset("broken");
        bank.project.cairn(&["resume"]).expect(0);
        assert_eq!(bank.book()[4..], undone[..2]);
    }
}

#[test]
fn a_rollback_undoes_only_what_its_own_run_did() {
    let effect = format!("{EXACTLY}{UNDO}");
    let bank = Bank::new(&effect);
    assert_eq!(bank.pay(0), "RAN");
    bank.define(&effect, MORE);
    bank.set("broken");
    bank.run(&["--rollback"]).expect(1);
    assert_eq!(bank.book(), ["pay invoice/7", "pay tip/7", "refund undo:tip/7"]);
}

#[test]
fn a_resumed_run_undoes_what_an_earlier_process_of_it_did() {
    let bank = Bank::new(&format!("{KEY}mode = \"at-most-once\"\nundo = \"echo undo >> $BANK/book\""));
    bank.define(
        &format!("{KEY}mode = \"at-most-once\"\nundo = \"echo undo >> $BANK/book\""),
        "[stages.last]\nrun = \"test ! -e $BANK/wait || { touch $BANK/waits; sleep 60; }; exit 1\"\nneeds = [\"after\"]\npass_env = [\"BANK\"]",
    );
    bank.set("wait");
    let mut child = bank.project.start(&["run", "--rollback"]);
    wait(|| bank.project.file("bank/waits").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    bank.unset("wait");
    bank.project.cairn(&["resume"]).expect(1);
    assert_eq!(bank.book()[1..], ["undo"]);
    assert_eq!(bank.state(), "UNDONE");
}

#[test]
fn an_interrupt_ends_an_undo_and_leaves_it_to_a_person() {
    let bank = Bank::new(&format!("{KEY}mode = \"at-most-once\""));
    bank.define(
        &format!("{KEY}mode = \"at-most-once\"\nundo = \"touch $BANK/undoes; sleep 60\""),
        "[stages.last]\nrun = \"exit 1\"\nneeds = [\"after\"]",
    );
    let mut child = bank.project.start(&["run", "--rollback"]);
    wait(|| bank.project.file("bank/undoes").exists());
    interrupt(&child);
    let began = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(bank.state(), "UNDOING");
}

#[test]
fn a_rollback_tells_of_what_may_have_taken_place() {
    let bank = Bank::new(&format!("{KEY}mode = \"at-least-once\"\nundo = \"true\""));
    bank.set("fail");
    let outcome = bank.run(&["--rollback"]).expect(1);
    let told = outcome.stdout.lines().any(|line| line.contains("undone") && line.contains("invoice/7"));
    assert!(told, "{}", outcome.stdout);
    assert_eq!(bank.state(), "INTENT");
}

#[test]
fn an_undo_that_cannot_be_started_leaves_the_effect_as_it_was() {
    let bank = Bank::new(&format!("{KEY}mode = \"at-most-once\"\nundo = [\"./nowhere\"]"));
    bank.pay(0);
    bank.project.cairn(&["effects", "undo", "invoice/7"]).expect(1);
    assert_eq!(bank.state(), "CONFIRMED");
}
