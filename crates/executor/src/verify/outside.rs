//! What a command may do where nobody looks: before an instance is executed again, not because it has to, its command,
//! environment and scripts are searched for what leads out of the copy that it is executed in.
//!
//! A script can hide all of this. It is a search for words, and says so: what it finds is not executed, what it does not
//! find is not thereby harmless.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cairn_dag::Instance;
use cairn_model::{Content, Level};

use super::finding::Reason;
use super::load;
use super::place::folder_outside;
use crate::Engine;
use crate::gather::{Gathered, Origin};

/// Scripts up to this size are searched.
const SCRIPT_MAX: u64 = 256 * 1024;

/// Where the system is: what a command reads there is the same in every execution.
const SYSTEM: [&str; 10] =
    ["/bin", "/dev", "/etc", "/lib", "/lib64", "/nix", "/opt", "/proc", "/sbin", "/usr"];

/// Commands of ours that speak to the run.
const NOTES: [&str; 4] = ["once", "seen", "mark", "reject"];

/// Returns why an instance must not be executed beside its run at all, or not unless `effects` may be repeated.
pub(super) fn refused(
    engine: &Engine,
    instance: &Instance,
    gathered: &Gathered,
    level: Level,
    effects: bool,
) -> Option<Reason> {
    let reason = |text: String, help: &str| Some(Reason { text, help: Some(help.to_owned()) });
    if instance.effect.is_some() && !effects {
        let text = "it has an effect outside, which would be done again".to_owned();
        return reason(text, "`--effects` executes it all the same, under the same key");
    }
    let texts = texts(engine, instance, gathered);
    let root = engine.project.root().to_string_lossy();
    if let Some(text) = texts.iter().find(|text| text.kind != Kind::Other && names_folder(&text.words, &root))
    {
        return reason(
            format!(
                "{} names the project by its absolute path, so that it would write to the project itself",
                text.of
            ),
            "write paths relative to the folder that the command starts in",
        );
    }
    if let Some((text, word)) = texts.iter().find_map(|text| Some((text, note_of(&text.words)?))) {
        let text = format!("{} calls `cairn {word}`, whose memory belongs to a run", text.of);
        return Some(Reason { text, help: None });
    }
    if level == Level::Off
        && let Ok(Some(link)) = folder_outside(engine.project.root(), engine.project.state())
    {
        return reason(
            format!("`{}` is a link to a folder outside of the project", link.display()),
            "with `sandbox = \"private\"` only the inputs of the stage are there",
        );
    }
    let found = found_outside(&texts);
    match found.first() {
        Some(first) if !effects => reason(
            format!(
                "it names {first}, which is not part of the project: what it does there would be done again"
            ),
            "`--effects` executes it all the same; what it does there is not looked at",
        ),
        _ => None,
    }
}

/// Returns the paths and servers that an instance names outside of the project.
pub(super) fn unseen(engine: &Engine, instance: &Instance, gathered: &Gathered) -> Vec<String> {
    let mut unseen = found_outside(&texts(engine, instance, gathered));
    unseen.extend(instance.records.as_ref().into_iter().flat_map(load::unseen));
    unseen
}

/// A text that an instance is executed by.
struct Text {
    /// `its command`.
    of: String,
    words: String,
    kind: Kind,
}

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What is executed, or a variable.
    Words,
    /// A script that the command names: there an address may well be a remark.
    Script,
    /// Another input. It may be a script that a script calls, or data: only calls of the run are looked for in it.
    Other,
}

fn texts(engine: &Engine, instance: &Instance, gathered: &Gathered) -> Vec<Text> {
    let argv = instance.command.argv();
    let mut texts = vec![Text { of: "its command".to_owned(), words: argv.join(" "), kind: Kind::Words }];
    let passed = engine.gatherer.passed(instance);
    let passed = passed.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    for (name, value) in instance.env.iter().chain(passed) {
        texts.push(Text { of: format!("its variable `{name}`"), words: value.clone(), kind: Kind::Words });
    }
    for input in &gathered.files {
        let is_small = matches!(&input.content, Content::File(file) if file.size <= SCRIPT_MAX);
        let is_named = argv.iter().any(|part| part.contains(input.path.as_str()));
        if !is_small || matches!(input.origin, Origin::Made) {
            continue;
        }
        let kind = if is_named { Kind::Script } else { Kind::Other };
        if let Ok(words) = fs::read_to_string(engine.project.on_disk(&input.path)) {
            texts.push(Text { of: format!("its input `{}`", input.path), words, kind });
        }
    }
    texts
}

/// Returns the lines of a script that are no remarks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let is_remark =
        |line: &&str| ["#", "//", "--", "*"].iter().any(|sign| line.trim_start().starts_with(sign));
    text.lines().filter(move |line| !is_remark(line))
}

/// Returns which of our commands a text calls that speak to the run: as words of a shell, or as texts of a list.
fn note_of(text: &str) -> Option<&'static str> {
    code(text).find_map(|line| {
        let words: Vec<&str> = words(line).collect();
        let mut pairs = words.windows(2).filter(|pair| pair[0] == "cairn" || pair[0].ends_with("/cairn"));
        pairs.find_map(|pair| NOTES.into_iter().find(|note| *note == pair[1]))
    })
}

fn names_folder(text: &str, folder: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    folder.len() > 1
        && text.match_indices(folder).any(|(at, _)| !text[at + folder.len()..].starts_with(goes_on))
}

fn found_outside(texts: &[Text]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for text in texts.iter().filter(|text| text.kind != Kind::Other) {
        let is_script = text.kind == Kind::Script;
        for line in code(&text.words) {
            let (servers, rest) = servers(line);
            for (scheme, server) in servers {
                // Of a script's web addresses most are remarks, licences and names of namespaces.
                if !is_script || !matches!(scheme, "http" | "https" | "file") {
                    found.insert(format!("the server `{scheme}://{server}`"));
                }
            }
            if !is_script {
                found.extend(words(&rest).filter(|word| is_outside(word)).map(|word| format!("`{word}`")));
            }
        }
    }
    found.into_iter().collect()
}

/// Takes the addresses out of a line: returns scheme and server of each, and the line without them. Names, passwords and
/// paths have no place in a message; they may hold any sign that separates words.
fn servers(line: &str) -> (Vec<(&str, &str)>, String) {
    let (mut found, mut rest, mut left) = (Vec::new(), String::new(), line);
    while let Some(at) = left.find("://") {
        let of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let begin = left[..at].trim_end_matches(of_scheme).len();
        let after = &left[at + 3..];
        let end = after.find(|c: char| c.is_whitespace() || "'\"`<>".contains(c)).unwrap_or(after.len());
        found.push((&left[begin..at], server(&after[..end])));
        rest.push_str(&left[..begin]);
        rest.push(' ');
        left = &after[end..];
    }
    rest.push_str(left);
    (found, rest)
}

/// Returns the server that what follows `://` names.
pub(super) fn server(address: &str) -> &str {
    let until = |text: &'_ str, signs: &str| text.find(|c| signs.contains(c)).unwrap_or(text.len());
    let authority = &address[..until(address, "/?#")];
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit());
    let host = match (authority.rsplit_once('@'), address.rsplit_once('@')) {
        (Some((_, host)), _) => host,
        // A password with a slash in it: what stands before that is no server.
        (None, Some((_, host))) if authority.split_once(':').is_some_and(|(_, port)| !is_port(port)) => host,
        (None, _) => authority,
    };
    &host[..until(host, "/?#&;,|()\\")]
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || "'\"`;|&()<>{}[],=$\\".contains(c))
        .filter(|word| !word.is_empty())
}

/// Returns whether a word is a path outside of the system's folders at which something is or could be; `/word/` in a
/// command is more often a pattern.
fn is_outside(word: &str) -> bool {
    let path = Path::new(word);
    if !word.starts_with('/') || SYSTEM.iter().any(|system| path.starts_with(system)) {
        return false;
    }
    let parent = path.parent().filter(|parent| parent.parent().is_some());
    path.parent().is_some() && (path.exists() || parent.is_some_and(Path::exists))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, is_script: bool) -> Vec<String> {
        let kind = if is_script { Kind::Script } else { Kind::Words };
        found_outside(&[Text { of: String::new(), words: text.to_owned(), kind }])
    }

    #[test]
    fn what_leads_out_is_found_and_patterns_are_not() {
        let none: [&str; 0] = [];
        assert_eq!(found("awk '/foo/ { print }' in.txt | sed 's/a/b/' > /dev/null", false), none);
        assert_eq!(found("/usr/bin/env python3 load.py", false), none);
        assert_eq!(found("cp in.txt /tmp/there", false), ["`/tmp/there`"]);
        assert_eq!(found("psql postgres://me:secret@db/x", false), ["the server `postgres://db`"]);
        assert_eq!(found("# see postgres://db/x\nurl = 'http://www.w3.org/2000/svg'", true), none);
        assert_eq!(found("db = connect('postgresql://db/x')", true), ["the server `postgresql://db`"]);
    }

    #[test]
    fn no_part_of_a_password_is_told() {
        for address in [
            "postgres://me:se&cr;et@db:5432/x",
            "postgres://me:se=c,r[e]t@db:5432/x?a=/tmp/b",
            "postgres://me:se/cret@db:5432/x",
            "postgres://me:se@cret@db:5432/x",
            "postgres://me:$PASS(w)@db:5432/x",
        ] {
            assert_eq!(
                found(&format!("psql \"{address}\""), false),
                ["the server `postgres://db:5432`"],
                "{address}"
            );
        }
        assert_eq!(found("curl https://db:80/x@y", false), ["the server `https://db:80`"]);
        assert_eq!(found("curl 'a://b/c' > /tmp/there", false), ["`/tmp/there`", "the server `a://b`"]);
    }

    #[test]
    fn calls_of_the_run_are_found() {
        let check = |text: &str, expect: Option<&str>| assert_eq!(note_of(text), expect, "{text}");
        check("set -e; cairn once \"charge:$id\" -- curl -sf x", Some("once"));
        check("n=$(cairn mark --get n)", Some("mark"));
        check("subprocess.run(['cairn', 'seen', '--key', 'id'])", Some("seen"));
        check("# cairn once is not called", None);
        check("echo cairn status; once; cairns mark", None);
    }

    #[test]
    fn a_folder_is_named_by_whole_parts() {
        assert!(names_folder("cat /home/me/p/x", "/home/me/p"));
        assert!(names_folder("cd /home/me/p", "/home/me/p"));
        assert!(!names_folder("cat /home/me/projects/x", "/home/me/p"));
    }
}
