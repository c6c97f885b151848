//! Generates the message codecs from the tables under `schema/`.
//!
//! Kafka describes its wire messages, its KRaft records and its coordinator records in one schema
//! language, so one generator serves them all. What it emits is kept small (one line a field, the
//! work in helper functions of `codec`), because everything else waits for this crate to compile.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

mod emit;
mod emit_api;
mod emit_struct;
mod names;
mod parse;

use parse::{Message, TableError};

fn main() {
    if let Err(error) = run() {
        eprintln!("error: {error}");
        process::exit(1);
    }
}

#[expect(
    clippy::print_stdout,
    reason = "this is how a build script speaks to cargo"
)]
fn run() -> Result<(), TableError> {
    println!("cargo::rerun-if-changed=schema");
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    for group in [
        "rpc",
        "metadata",
        "group",
        "transaction",
        "share",
        "storage",
        "raft",
    ] {
        let messages = read_group(&Path::new("schema").join(group))?;
        write(
            &out.join(format!("{group}.rs")),
            &emit::group(group, &messages),
        );
    }
    Ok(())
}

/// Reads every table of a folder, in the order of their names.
fn read_group(dir: &Path) -> Result<Vec<Message>, TableError> {
    let unreadable = |file: &Path, error: std::io::Error| TableError {
        file: file.to_owned(),
        line: 1,
        what: error.to_string(),
    };
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .map_err(|e| unreadable(dir, e))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "tbl"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| {
            parse::table(
                file,
                &fs::read_to_string(file).map_err(|e| unreadable(file, e))?,
            )
        })
        .collect()
}

fn write(path: &Path, code: &str) {
    if let Err(error) = fs::write(path, code) {
        eprintln!("error: {}: {error}", path.display());
        process::exit(1);
    }
}
