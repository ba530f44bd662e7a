//! Links the C++ library, which RocksDB needs, into the binary where the compiler has it as an archive. To look up its
//! names at each start takes a third of all that `cairn once` executes.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CXX");
    let (Some(archive), Some(out)) = (archive(), std::env::var_os("OUT_DIR")) else { return };
    // The linker takes a library from the first folder that has it, in whichever form.
    let link = Path::new(&out).join("libstdc++.a");
    let _ = std::fs::remove_file(&link);
    if std::fs::copy(archive, &link).is_ok() {
        println!("cargo:rustc-link-search=native={}", Path::new(&out).display());
    }
}

/// Returns where the compiler has the archive, `None` where it has none.
fn archive() -> Option<PathBuf> {
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if (target("OS").as_str(), target("ENV").as_str()) != ("linux", "gnu") {
        return None;
    }
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut words = compiler.split_whitespace();
    let asked = Command::new(words.next()?).args(words).arg("-print-file-name=libstdc++.a").output().ok()?;
    let path = PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim());
    // Of what it does not have, a compiler gives the name alone.
    path.is_absolute().then_some(path)
}
