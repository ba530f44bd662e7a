//! `cairn init`: a first project.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::project::SETTINGS;
use crate::terminal::text::{self, append};
use crate::terminal::{line::quoted, style};

/// Make a small working project: a pipeline of four stages, its scripts and data. It needs only sh and awk.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn init demo", "in a new folder `demo`"),
    ("cairn init", "in the current folder"),
]))]
pub(crate) struct Args {
    /// The folder, made where it is not there [default: the current one]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// The files: where they go, and what is in them.
const FILES: [(&str, &str); 5] = [
    ("pipeline.toml", include_str!("init/pipeline.toml")),
    ("scripts/clean.awk", include_str!("init/scripts/clean.awk")),
    ("scripts/shop.awk", include_str!("init/scripts/shop.awk")),
    ("scripts/report.awk", include_str!("init/scripts/report.awk")),
    ("data/sales.csv", include_str!("init/data/sales.csv")),
];

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let folder = args.folder.as_deref().unwrap_or(Path::new("."));
    write_files(folder)?;
    let paint = context.terminal.stdout.paint;
    let command = |text: &str| paint.with(style::HELP, text);
    let mut told = format!("made {} in `{}`:\n", text::count(FILES.len(), "file"), folder.display());
    for (path, _) in FILES {
        append!(told, "  {path}\n");
    }
    told.push_str("\nnext:\n");
    if args.folder.is_some() {
        append!(told, "  {}\n", command(&format!("cd {}", quoted(&folder.display().to_string()))));
    }
    for (typed, does) in [
        ("cairn run", "makes `report.txt`"),
        ("cairn run", "again: nothing is left to do"),
        ("cairn plan", "after you changed a file: what that touches"),
    ] {
        append!(
            told,
            "  {}{}{}\n",
            command(typed),
            " ".repeat(13 - typed.len()),
            paint.with(style::DIM, does)
        );
    }
    context.print(&told)?;
    Ok(ExitStatus::Done)
}

fn write_files(folder: &Path) -> Result<(), Failure> {
    let there: Vec<&str> = FILES
        .iter()
        .map(|(path, _)| *path)
        .chain([SETTINGS])
        .filter(|path| fs::symlink_metadata(folder.join(path)).is_ok())
        .collect();
    if !there.is_empty() {
        return Err(Failure::wrong(format!("`{}` holds {} already", folder.display(), text::list(&there)))
            .help("nothing was changed; choose an empty folder: `cairn init DIR`"));
    }
    for (path, contents) in FILES {
        let path = folder.join(path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            // Not over a file that was made just now by somebody else.
            File::create_new(&path)?.write_all(contents.as_bytes())
        });
        written.map_err(|error| {
            Failure::wrong(format!("cannot write `{}`", path.display())).because_of(Some(&error))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_and_never_over_others() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("new/demo");
        write_files(&folder).unwrap();
        for (path, contents) in FILES {
            assert_eq!(fs::read_to_string(folder.join(path)).unwrap(), contents);
        }
        fs::remove_file(folder.join("pipeline.toml")).unwrap();
        fs::write(folder.join("data/sales.csv"), "mine").unwrap();
        assert!(write_files(&folder).is_err());
        assert_eq!(fs::read_to_string(folder.join("data/sales.csv")).unwrap(), "mine");
        assert!(!folder.join("pipeline.toml").exists(), "nothing is written where anything is in the way");
    }

    /// The scripts do without cairn what the pipeline says they do.
    #[test]
    fn the_scripts_work() {
        let temp = tempfile::tempdir().unwrap();
        write_files(temp.path()).unwrap();
        let script = "mkdir -p build/shops && awk -f scripts/clean.awk data/sales.csv > build/sales.csv
            for shop in harbour market station; do
                awk -v shop=$shop -f scripts/shop.awk build/sales.csv > build/shops/$shop.csv
            done
            sort -t, -k3,3nr build/shops/*.csv > build/ranking.csv
            awk -v title=Coffee-in-June -f scripts/report.awk build/ranking.csv";
        let output = std::process::Command::new("sh")
            .args(["-euc", script])
            .current_dir(temp.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout), @r"
        Coffee in June

        station     1010 cups  3017.60  ##############################
        market       647 cups  1926.60  ###################
        harbour      500 cups  1462.00  ##############
        ");
    }
}
