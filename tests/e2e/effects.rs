//! I6: an attempt with an outside effect is written down before it starts, and one that was cut off is never repeated
//! blindly. The system outside is a bank: a file that payments are appended to, and nothing that tells two alike apart.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use cairn_testkit::{Outcome, Project, outcomes, processes_with};

use crate::BINARY;

mod table;
mod undo;

/// Pays, and may be told to hang or to fail between the payment and its end, or before.
const PAY: &str = r#"
test ! -e "$BANK/refuse" || exit 9
echo "pay $CAIRN_IDEMPOTENCY_KEY" >> "$BANK/book"
if [ -e "$BANK/hang" ]; then touch "$BANK/paid"; sleep 60; fi
test ! -e "$BANK/fail" || exit 7
"#;

const CONFIRM: &str = r#"
test ! -e "$BANK/down" || exit 3
grep -q "pay $CAIRN_IDEMPOTENCY_KEY" "$BANK/book"
"#;

struct Bank {
    project: Project,
}

impl Bank {
    /// A project whose stage `pay` has the given lines in its effect.
    fn new(effect: &str) -> Self {
        let mut project = Project::new(BINARY);
        let bank = project.file("bank");
        fs::create_dir(&bank).unwrap();
        fs::write(bank.join("book"), "").unwrap();
        project.set_env("BANK", bank.to_str().unwrap());
        project.write("pay.sh", PAY).write("confirm.sh", CONFIRM);
        let bank = Self { project };
        bank.define(effect, "");
        bank
    }

    fn define(&self, effect: &str, more: &str) {
        self.project.write(
            "pipeline.toml",
            format!(
                r#"
[pipeline]
name = "bank"

[stages.pay]
run = "bash pay.sh"
inputs = ["pay.sh", "confirm.sh"]
pass_env = ["BANK"]

[stages.pay.effect]
{effect}

[stages.after]
run = "echo done > after.txt"
outputs = ["after.txt"]
needs = ["pay"]
{more}
"#
            ),
        );
    }

    /// Every line of the bank's book.
    fn book(&self) -> Vec<String> {
        self.project.read("bank/book").lines().map(str::to_owned).collect()
    }

    fn set(&self, name: &str) -> &Self {
        self.project.write(&format!("bank/{name}"), "");
        self
    }

    fn unset(&self, name: &str) -> &Self {
        self.project.remove(&format!("bank/{name}"));
        self
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.project.cairn(&[&["run", "--json"], arguments].concat())
    }

    /// Runs, checks the exit status, and returns how `pay` ended.
    #[track_caller]
    fn pay(&self, status: i32) -> String {
        self.pay_with(&[], status)
    }

    #[track_caller]
    fn pay_with(&self, arguments: &[&str], status: i32) -> String {
        let outcome = self.run(arguments).expect(status);
        outcomes(&outcome.stdout)["pay"].clone()
    }

    /// State, attempts and error of the only effect.
    fn effect(&self) -> (String, u64, String) {
        let listed = self.project.cairn(&["effects", "list", "--json"]).expect(0);
        let effect: serde_json::Value = serde_json::from_str(listed.stdout.trim()).unwrap();
        let text = |name: &str| effect[name].as_str().unwrap_or_default().to_owned();
        (text("state"), effect["attempts"].as_u64().unwrap(), text("error"))
    }

    fn state(&self) -> String {
        self.effect().0
    }

    /// Starts a run that hangs after the payment, and returns once it was made.
    fn hang(&self) -> Child {
        self.set("hang");
        let child = self.project.start(&["run"]);
        let paid = self.project.file("bank/paid");
        wait(|| paid.exists());
        fs::remove_file(paid).unwrap();
        self.unset("hang");
        child
    }

    /// Cuts a run off after the payment and before its end, by killing cairn itself.
    fn cut_off(&self) {
        let mut child = self.hang();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[track_caller]
pub(super) fn wait(mut until: impl FnMut() -> bool) {
    let began = Instant::now();
    while !until() {
        assert!(began.elapsed() < Duration::from_secs(30), "it did not happen in 30 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const KEY: &str = "key = \"invoice/7\"\n";
const LEAST: &str = "mode = \"at-least-once\"\nkey = \"invoice/7\"\n";
const MOST: &str = "mode = \"at-most-once\"\nkey = \"invoice/7\"\n";
const EXACTLY: &str = "mode = \"exactly-once\"\nkey = \"invoice/7\"\nconfirm = \"bash confirm.sh\"\n";
const PAID: &str = "pay invoice/7";

#[test]
fn i6_the_intent_is_durable_before_the_command_starts() {
    let bank = Bank::new(&format!("{LEAST}probe = \"cat $BANK/book\"\n"));
    let child = bank.hang();
    // Nothing of what cairn still has in memory counts.
    bank.project.cairn(&["effects", "list"]).expect(0);
    assert_eq!(bank.state(), "INTENT");
    let mut child = child;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((bank.state().as_str(), bank.book().len()), ("INTENT", 1));
}

#[test]
fn i6_at_least_once_is_done_again_under_the_same_key() {
    let bank = Bank::new(LEAST);
    bank.cut_off();
    assert_eq!(bank.book(), [PAID]);
    assert_eq!(bank.pay(0), "RAN");
    assert_eq!(bank.book(), [PAID, PAID]);
    assert_eq!(bank.effect(), ("CONFIRMED".to_owned(), 2, String::new()));
    assert_eq!(bank.pay(0), "FRESH");
    assert_eq!(bank.book().len(), 2);
}

#[test]
fn i6_at_most_once_is_left_to_a_person() {
    let bank = Bank::new(MOST);
    bank.cut_off();
    for arguments in [&[][..], &["--force"]] {
        let outcome = bank.run(arguments).expect(4);
        let ended = outcomes(&outcome.stdout);
        assert_eq!((ended["pay"].as_str(), ended["after"].as_str()), ("IN DOUBT", "BLOCKED"));
        assert_eq!((bank.book(), bank.state().as_str()), (vec![PAID.to_owned()], "IN DOUBT"));
    }
    let plan = bank.project.cairn(&["plan"]).expect(0);
    assert!(plan.stdout.contains("IN DOUBT  pay"), "{}", plan.stdout);
    let status = bank.project.cairn(&["status"]).expect(4);
    assert!(
        status.stdout.contains("in doubt: pay: its effect `invoice/7` may have taken place"),
        "{}",
        status.stdout
    );
    bank.project.cairn(&["effects", "settle", "invoice/7", "--happened"]).expect(0);
    assert_eq!(bank.pay(0), "FRESH");
    assert_eq!(bank.book(), [PAID], "a person said that it took place");
}

#[test]
fn i6_an_effect_that_did_not_happen_is_done() {
    let bank = Bank::new(MOST);
    bank.set("refuse");
    assert_eq!(bank.pay(4), "IN DOUBT", "an exit status does not tell what took place");
    bank.unset("refuse");
    assert_eq!((bank.pay(4), bank.book().len()), ("IN DOUBT".to_owned(), 0));
    bank.project.cairn(&["effects", "settle", "invoice/7", "--did-not-happen"]).expect(0);
    assert_eq!(bank.state(), "REJECTED");
    assert_eq!((bank.pay(0), bank.book()), ("RAN".to_owned(), vec![PAID.to_owned()]));
}

#[test]
fn i6_exactly_once_asks_before_it_does_it_again() {
    let bank = Bank::new(EXACTLY);
    bank.cut_off();
    assert_eq!(bank.pay(0), "RAN");
    assert_eq!((bank.book(), bank.state().as_str()), (vec![PAID.to_owned()], "CONFIRMED"));
    assert_eq!(bank.pay(0), "FRESH");

    let bank = Bank::new(EXACTLY);
    bank.cut_off();
    fs::write(bank.project.file("bank/book"), "").unwrap();
    assert_eq!(bank.pay(0), "RAN", "`confirm` says that it did not take place");
    assert_eq!((bank.book(), bank.effect().1), (vec![PAID.to_owned()], 2));
}

#[test]
fn i6_exactly_once_holds_when_nobody_can_tell_and_asks_again_later() {
    let bank = Bank::new(EXACTLY);
    bank.cut_off();
    bank.set("down");
    assert_eq!(bank.pay(4), "IN DOUBT");
    let (state, _, error) = bank.effect();
    assert_eq!((state.as_str(), bank.book().len()), ("HELD", 1));
    assert!(error.contains("exit status 3"), "{error}");
    bank.unset("down");
    assert_eq!((bank.pay(0), bank.book().len()), ("RAN".to_owned(), 1));

    let bank = Bank::new(&format!("{EXACTLY}on_uncertain = \"retry\"\n"));
    bank.cut_off();
    bank.set("down");
    assert_eq!((bank.pay(0), bank.book().len()), ("RAN".to_owned(), 2), "asked for");
}

#[test]
fn i6_a_command_that_fails_is_treated_as_one_that_was_cut_off() {
    let bank = Bank::new(EXACTLY);
    bank.set("fail");
    assert_eq!(bank.pay(0), "RAN", "it paid, then failed: `confirm` says that it took place");
    assert_eq!((bank.book().len(), bank.state().as_str()), (1, "CONFIRMED"));

    let bank = Bank::new(EXACTLY);
    bank.set("refuse");
    assert_eq!(bank.pay(1), "FAILED");
    assert_eq!((bank.book().len(), bank.state().as_str()), (0, "REJECTED"));

    let bank = Bank::new(LEAST);
    bank.set("fail");
    assert_eq!((bank.pay(1), bank.state().as_str()), ("FAILED".to_owned(), "INTENT"));
}

#[test]
fn i6_whatever_is_killed_it_is_paid_once() {
    // cairn, its keeper, and the command itself, each between the payment and its end.
    for victim in ["cairn", "keeper", "command"] {
        let bank = Bank::new(EXACTLY);
        let mut child = bank.hang();
        let own = i32::try_from(child.id()).unwrap();
        let parent_of = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
            fields.split_whitespace().nth(1).and_then(|parent| parent.parse::<i32>().ok())
        };
        let pids: Vec<u32> = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        let keeper = pids.iter().copied().find(|pid| parent_of(*pid) == Some(own)).unwrap();
        let command = pids.iter().copied().find(|pid| parent_of(*pid) == i32::try_from(keeper).ok()).unwrap();
        let kill = |pid: u32| {
            std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        };
        match victim {
            "cairn" => kill(child.id()),
            "keeper" => kill(keeper),
            _ => kill(command),
        }
        child.wait().unwrap();
        bank.run(&[]).expect(0);
        assert_eq!((bank.book().len(), bank.state().as_str()), (1, "CONFIRMED"), "{victim} was killed");
        let state = bank.project.path().to_str().unwrap();
        wait(|| processes_with(state).is_empty());
    }
}

#[test]
fn what_is_done_is_not_done_again_by_an_edit_or_by_force() {
    let bank = Bank::new(EXACTLY);
    assert_eq!(bank.pay(0), "RAN");
    bank.project.write("pay.sh", format!("# edited\n{PAY}"));
    assert_eq!(bank.pay(0), "FRESH");
    let shown = bank.project.cairn(&["run", "--force"]).expect(0);
    assert!(
        shown.stderr.contains("FRESH     pay               its effect `invoice/7` is done"),
        "{}",
        shown.stderr
    );
    assert!(shown.stderr.contains("`--force-effects` insists"), "{}", shown.stderr);
    assert_eq!(bank.book().len(), 1);
    assert_eq!(bank.pay_with(&["--force-effects"], 0), "RAN");
    assert_eq!(bank.book().len(), 2);
    assert_eq!(bank.pay_with(&["--force=after", "--force-effects"], 0), "FRESH");
    bank.define(&EXACTLY.replace("invoice/7", "invoice/8"), "");
    assert_eq!(bank.pay(0), "RAN", "another key is another effect");
    assert_eq!(bank.book(), [PAID, PAID, "pay invoice/8"]);
}

#[test]
fn without_a_key_the_input_hash_is_it() {
    let bank = Bank::new(&LEAST.replace(KEY, ""));
    assert_eq!(bank.pay(0), "RAN");
    let key = bank.book()[0].strip_prefix("pay ").unwrap().to_owned();
    assert_eq!(key.len(), 64);
    bank.project.write("pay.sh", format!("# edited\n{PAY}"));
    assert_eq!(bank.pay(0), "RAN", "other inputs are another effect");
    assert_ne!(bank.book()[1], bank.book()[0]);
}

#[test]
fn drift_is_found_by_the_probe_and_mended() {
    let bank = Bank::new(&format!("{EXACTLY}probe = \"cat $BANK/book\"\n"));
    assert_eq!(bank.pay(0), "RAN");
    assert_eq!(bank.pay(0), "FRESH");
    fs::write(bank.project.file("bank/book"), "").unwrap();
    let plan = bank.project.cairn(&["plan"]).expect(0);
    assert!(plan.stdout.contains("DRIFTED"), "{}", plan.stdout);
    let status = bank.project.cairn(&["status"]).expect(3);
    assert!(status.stdout.contains("drifted: pay"), "{}", status.stdout);
    bank.run(&["--frozen"]).expect(3);
    let outcome = bank.run(&[]).expect(0);
    assert!(outcome.stdout.contains("\"kind\":\"drifted\""), "{}", outcome.stdout);
    assert_eq!(bank.book(), [PAID], "done again, under the same key");
    assert_eq!(bank.pay(0), "FRESH");
}

#[test]
fn a_probe_without_an_answer_is_not_taken_for_one() {
    let bank = Bank::new(&format!("{EXACTLY}probe = \"test ! -e $BANK/down && cat $BANK/book\"\n"));
    assert_eq!(bank.pay(0), "RAN");
    bank.set("down");
    let outcome = bank.run(&[]).expect(1);
    assert!(outcome.stdout.contains("has no answer: exit status 1"), "{}", outcome.stdout);
    assert_eq!(bank.book().len(), 1, "nothing was done again");
    bank.unset("down");
    assert_eq!(bank.pay(0), "FRESH");
}

#[test]
fn outputs_of_an_effect_that_took_place_are_made_by_confirm_or_missed() {
    let bank = Bank::new(EXACTLY);
    let receipt = "outputs = [\"receipt.txt\"]\n\n[stages.pay.effect]\n";
    let with_outputs = |confirm: &str| {
        bank.define(confirm, "");
        let text = bank.project.read("pipeline.toml").replace("\n[stages.pay.effect]\n", receipt);
        bank.project.write("pipeline.toml", text);
        bank.project.write("pay.sh", format!("{PAY}\necho paid > receipt.txt\n"));
    };
    with_outputs(EXACTLY);
    bank.cut_off();
    let outcome = bank.run(&[]).expect(1);
    assert!(outcome.stdout.contains("took place, and its outputs are not there"), "{}", outcome.stdout);
    assert_eq!((bank.state().as_str(), bank.book().len()), ("CONFIRMED", 1));
    let confirm = "confirm = \"bash confirm.sh && echo asked > receipt.txt\"\n";
    with_outputs(&format!("mode = \"exactly-once\"\n{KEY}{confirm}"));
    assert_eq!((bank.pay(0), bank.book().len()), ("RAN".to_owned(), 1));
    assert_eq!(bank.project.read("receipt.txt"), "asked\n");
    assert_eq!(bank.pay(0), "FRESH");
}

#[test]
fn a_resumed_run_that_insists_does_not_repeat_what_it_began_itself() {
    let bank = Bank::new(&format!("{KEY}mode = \"at-most-once\""));
    bank.pay(0);
    bank.set("hang");
    let mut child = bank.project.start(&["run", "--force-effects", "pay"]);
    wait(|| bank.project.file("bank/paid").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    bank.unset("hang");
    assert_eq!(bank.book().len(), 2);
    bank.project.cairn(&["resume"]).expect(4);
    assert_eq!(bank.book().len(), 2, "it was paid by the run already, or nobody knows");
    assert_eq!(bank.state(), "IN DOUBT");
}

#[test]
fn an_effect_that_could_not_be_begun_again_stands_as_before() {
    let bank = Bank::new(&format!("{KEY}mode = \"at-most-once\""));
    bank.pay(0);
    let text = bank.project.read("pipeline.toml");
    bank.project.write("pipeline.toml", text.replace("bash pay.sh", "nowhere-such-a-command"));
    let text = bank.project.read("pipeline.toml");
    let text = text.replace("run = \"nowhere-such-a-command\"", "run = [\"./nowhere-such-a-command\"]");
    bank.project.write("pipeline.toml", text);
    bank.pay_with(&["--force-effects"], 1);
    assert_eq!(bank.state(), "CONFIRMED");
    assert_eq!(bank.book().len(), 1);
}

#[test]
fn an_interrupt_ends_a_probe_and_the_effect_is_confirmed_already() {
    let bank = Bank::new(&format!("{KEY}mode = \"at-most-once\"\nprobe = \"touch $BANK/probes; sleep 60\""));
    let mut child = bank.project.start(&["run"]);
    wait(|| bank.project.file("bank/probes").exists());
    assert_eq!(bank.book().len(), 1);
    interrupt(&child);
    let began = Instant::now();
    child.wait().unwrap();
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(bank.state(), "CONFIRMED");
}

fn interrupt(child: &Child) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::INT)
        .unwrap();
}

#[test]
fn an_effect_that_is_open_under_another_input_hash_is_not_forgotten() {
    let bank = Bank::new("mode = \"at-most-once\"");
    bank.cut_off();
    bank.pay(4);
    bank.project.write("pay.sh", format!("{PAY}\n# edited"));
    bank.pay(4);
    assert_eq!(bank.book().len(), 1);
    let listed = bank.project.cairn(&["effects", "list", "--json"]).expect(0);
    let effect: serde_json::Value = serde_json::from_str(listed.stdout.trim()).unwrap();
    bank.project.cairn(&["effects", "settle", effect["key"].as_str().unwrap(), "--did-not-happen"]).expect(0);
    bank.pay(0);
    assert_eq!(bank.book().len(), 2);
}

#[test]
fn an_interrupt_ends_a_probe_that_a_look_up_waits_for() {
    let bank = Bank::new(&format!(
        "{KEY}mode = \"at-most-once\"\nprobe = \"test ! -e $BANK/slow || {{ touch $BANK/probes; sleep 60; }}\""
    ));
    bank.pay(0);
    bank.set("slow");
    let mut child = bank.project.start(&["run"]);
    wait(|| bank.project.file("bank/probes").exists());
    interrupt(&child);
    let began = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(30));
    bank.unset("slow");
    assert_eq!(bank.pay(0), "FRESH");
}
