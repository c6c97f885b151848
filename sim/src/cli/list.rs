//! `list`: the scenarios, each with its first line.

use std::path::PathBuf;

use super::{Done, Misuse, Status};

/// Which folder.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder they are in.
    #[arg(long, default_value = "scenarios")]
    dir: PathBuf,
}

pub(super) fn list(arguments: &Arguments) -> Done {
    let place = arguments.dir.display();
    let entries = std::fs::read_dir(&arguments.dir).map_err(|error| Misuse::of(place, error))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let first = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches(['#', ' ']);
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        println!("{name:<26} {first}");
    }
    Ok(Status::Passed)
}
