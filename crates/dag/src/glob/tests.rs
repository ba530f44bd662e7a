use proptest::prelude::*;

use super::*;

fn path(text: &str) -> ProjectPath {
    ProjectPath::parse(text).unwrap()
}

#[test]
fn matches() {
    let check = |glob: &str, good: &[&str], bad: &[&str]| {
        let parsed = Glob::parse(glob).unwrap();
        assert!(good.iter().all(|text| parsed.is_match(&path(text))), "{glob} matches {good:?}");
        assert!(!bad.iter().any(|text| parsed.is_match(&path(text))), "{glob} does not match {bad:?}");
    };
    check(
        "build/*.json",
        &["build/a.json", "build/a.b.json"],
        &["build/.json", "build/x/a.json", "a.json", "build/a.JSON"],
    );
    check("**/*.csv", &["a.csv", "x/y/a.csv"], &[".git/a.csv", "x/.a.csv", "a.csv/b"]);
    check("raw/**", &["raw/a", "raw/x/y"], &["raw", "raw/.x/y", "raw/.y"]);
    check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a/bb", "b"]);
    check("**/**/a", &["a", "x/a"], &["b"]);
    check("{a,b*}.{csv,tsv}", &["a.csv", "b12.tsv"], &["c.csv", "a.txt"]);
    check("{,x}a{,b{c,d}}", &["a", "xa", "abc", "xabd"], &["ab"]);
    check("[a-c]?[!0-9]", &["axz", "bé_"], &["dxz", "ax1", "ax"]);
    check("[]]x", &["]x"], &["[x"]);
    check(".*", &[".hidden"], &["open"]);
    check(r"\*\[x\]", &["*[x]"], &["a[x]"]);
    check("a*b*c", &["abc", "a1b2b3c"], &["acb", "ab"]);
    check("./x//*.c", &["x/a.c"], &[]);
}

#[test]
fn patterns_that_cannot_be_read() {
    let check = |glob: &str, expect: &str| {
        assert_eq!(Glob::parse(glob).unwrap_err().to_string(), expect, "{glob}");
    };
    check("/etc/*", "the path is absolute");
    check("../*", "the path climbs out by `..`");
    check(".cairn/*", "the path lies in the state folder `.cairn`");
    check("", "the path is empty");
    check("a**", "`**` stands alone between slashes, not in `a**`");
    check("{a/b}", "`{` is not closed in `{a`");
    check("[a", "`[` is not closed in `[a`");
    check("[]", "`[` is not closed in `[]`");
    check("a\\", "`a\\` ends too early");
    check(&"{a,b}".repeat(20), "the pattern is too large");
    check(&"*/".repeat(70), "the pattern is too large");
}

#[test]
fn what_can_lie_below_a_folder() {
    let check = |glob: &str, folder: &str, expect: bool| {
        assert_eq!(
            Glob::parse(glob).unwrap().may_match_below(&path(folder)),
            expect,
            "{glob} below {folder}"
        );
    };
    check("build/*.csv", "build", true);
    check("build/*.csv", "build/site", false);
    check("build/*/x", "build/site", true);
    check("**/x", "any/where", true);
    check("**/x", "any/.where", false);
    check("a/**", "a", true);
    check("a/b", "c", false);
}

#[test]
fn bases_and_texts() {
    let check = |glob: &str, base: Option<&str>, text: &str| {
        let parsed = Glob::parse(glob).unwrap();
        assert_eq!(parsed.base(), base.map(path), "{glob}");
        assert_eq!(parsed.as_str(), text);
        assert_eq!(Glob::parse(text).unwrap(), parsed);
    };
    check("./build//x/*.csv", Some("build/x"), "build/x/*.csv");
    check("*.csv", None, "*.csv");
    check("a/**/b", Some("a"), "a/**/b");
    check(r"\{a\}/*", Some("{a}"), r"\{a\}/*");
    assert!(Glob::is_glob("a*") && Glob::is_glob("{a,b}") && Glob::is_glob(r"\\*"));
    assert!(!Glob::is_glob("a") && !Glob::is_glob(r"\*\[x]") && !Glob::is_glob("a}"));
    assert_eq!(Glob::unescape(r"\*\[x\]\a\"), r"*[x]\a\");
    let below = Glob::parse("*.csv").unwrap().below(&path("odd[1]/x"));
    assert!(below.is_match(&path("odd[1]/x/a.csv")) && !below.is_match(&path("a.csv")));
    assert_eq!(Glob::parse(below.as_str()).unwrap(), below);
    let odd = r"a*b/[x]{y}\z?";
    assert!(!Glob::is_glob(&Glob::escape(odd)));
    assert_eq!(Glob::unescape(&Glob::escape(odd)), odd);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// But for hidden files, which it does not know, globset must agree.
    #[test]
    fn globset_agrees(
        glob in "([ab]|\\*\\*/|\\*|\\?|/|\\[a-b\\]|\\[!a\\]|\\{a,b\\*\\}|\\{b,\\})(b|/|/\\*\\*/|\\*|\\?|\\{ab,a\\}){0,5}(b|\\*|/\\*\\*)",
        text in "[ab]{1,3}(/[ab]{1,3}){0,3}",
    ) {
        let Ok(ours) = Glob::parse(&glob) else { return Ok(()) };
        let theirs = globset::GlobBuilder::new(ours.as_str()).literal_separator(true).empty_alternates(true).build();
        let theirs = theirs.unwrap().compile_matcher();
        prop_assert_eq!(ours.is_match(&path(&text)), theirs.is_match(&text), "{} on {}", ours.as_str(), text);
        // A path that matches is below each of its folders.
        let mut folder = path(&text).parent();
        while let Some(parent) = folder {
            prop_assert!(!ours.is_match(&path(&text)) || ours.may_match_below(&parent));
            folder = parent.parent();
        }
    }
}
