//! `cargo xtask check`: formatting, clippy and docs, warnings denied, over the whole workspace.

use crate::{
    process::{self, Failure, cargo},
    sim,
};

/// Runs all three; the first that fails ends it.
pub(crate) fn run() -> Result<(), Failure> {
    process::run(cargo().args(["fmt", "--all", "--check"]))?;
    process::run(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    sim::run(&["clippy".to_owned()])?;
    process::run(
        cargo()
            .args([
                "doc",
                "--workspace",
                "--no-deps",
                "--document-private-items",
            ])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}
