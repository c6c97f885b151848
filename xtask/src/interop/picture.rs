//! The suite `picture`: pages of the simulator, opened in headless Chromium.
//!
//! It lies here and not among the tests because it needs a browser; its screenshots are left in
//! `target/interop/picture/` to be looked at.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{PICTURE, Place, Tally};
use crate::{
    process::{Failure, run},
    sim,
};

/// The seed of the story that the browser is shown.
const SEED: &str = "3";

impl Place {
    /// Chromium by apt-get, and what drives it by npm.
    pub(super) fn install_browser(&self) -> Result<(), Failure> {
        if Command::new("chromium").arg("--version").output().is_err() {
            run(Command::new("apt-get").args(["update", "-q"]))?;
            run(Command::new("apt-get")
                .args(["install", "-y", "-q", "--no-install-recommends"])
                .args(["chromium", "fonts-dejavu-core"]))?;
        }
        run(Command::new("npm")
            .current_dir(self.sources.join(PICTURE))
            .args(["ci", "--silent", "--no-audit", "--no-fund"]))
    }

    /// Makes the pages and opens them.
    pub(super) fn picture(&self, tally: &mut Tally) -> Result<(), Failure> {
        let folder = self.installed.join(PICTURE);
        let failed = |error| Failure::Start(PICTURE.into(), error);
        fs::create_dir_all(&folder).map_err(failed)?;
        let pages = self.pages(&folder)?;
        println!("-- {PICTURE}");
        let mut browser = Command::new("node");
        browser
            .arg(self.sources.join(PICTURE).join("picture.js"))
            .args(pages)
            .arg(&folder);
        self.watch(PICTURE, browser, tally)
    }

    /// The page of a run that fails, and that of the run made by hand, which loses a record.
    fn pages(&self, folder: &std::path::Path) -> Result<[PathBuf; 2], Failure> {
        let pages = [folder.join("run.html"), folder.join("hand.html")];
        for page in &pages {
            // An old page must not stand for one that was not made.
            let _ = fs::remove_file(page);
        }
        let failed = |error| Failure::Start("ottla-sim".into(), error);
        // It fails, as it should; that the page is there is what counts.
        Command::new(sim::build()?)
            .arg("replay")
            .arg(self.sources.join(PICTURE).join("story.toml"))
            .args(["--seed", SEED, "--html"])
            .arg(&pages[0])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(failed)?;
        run(sim::cargo("test")
            .args(["--quiet", "--package", "ottla-sim", "--lib"])
            .arg("the_page_of_the_hand_made_run_is_written_for_a_browser")
            .args(["--", "--ignored"])
            .env("OTTLA_PICTURE", &pages[1])
            .stdout(Stdio::null()))?;
        match pages.iter().find(|page| !page.exists()) {
            Some(missing) => Err(Failure::Found(format!(
                "{} was not made",
                missing.display()
            ))),
            None => Ok(pages),
        }
    }
}
