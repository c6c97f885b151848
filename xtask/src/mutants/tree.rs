//! The copy of the tree that mutants are planted in, `target/mutants/tree`.
//!
//! It has a target directory of its own beside it, so that building one mutant after another builds
//! only what differs. A file is written only if its contents differ, for the same reason. A run that
//! was interrupted leaves its mutant there: the next one puts the file right before anything else.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::file::Mutant;
use crate::process::{Failure, root};

/// What is no source, by the beginning of its name.
const SKIPPED: [&str; 4] = ["target", ".git", "node_modules", "ottla-data"];

/// The copy, as this process alone uses it.
#[derive(Debug)]
pub(super) struct Tree {
    source: PathBuf,
    copy: PathBuf,
    target: PathBuf,
    /// Held while this lives.
    _lock: fs::File,
}

impl Tree {
    /// Makes the copy, or makes it equal to the tree.
    pub(super) fn open() -> Result<Self, Failure> {
        let place = root().join("target").join("mutants");
        let failed = |error| Failure::Start(place.display().to_string(), error);
        fs::create_dir_all(&place).map_err(failed)?;
        let lock = fs::File::create(place.join("lock")).map_err(failed)?;
        if lock.try_lock().is_err() {
            return Err(Failure::Found(format!(
                "{} is in use by another run of this command",
                place.display()
            )));
        }
        let tree = Self {
            source: root(),
            copy: place.join("tree"),
            target: place.join("target"),
            _lock: lock,
        };
        sync(&tree.source, &tree.copy).map_err(failed)?;
        Ok(tree)
    }

    /// The copy's root.
    pub(super) fn root(&self) -> &Path {
        &self.copy
    }

    /// Where it is built.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Does something while a mutant is in the copy. The inner error says why it does not apply.
    pub(super) fn with<T>(
        &self,
        mutant: &Mutant,
        act: impl FnOnce() -> T,
    ) -> Result<Result<T, String>, Failure> {
        let failed = |error| Failure::Start(mutant.file.clone(), error);
        let source = match fs::read_to_string(self.source.join(&mutant.file)) {
            Ok(source) => source,
            Err(error) => return Ok(Err(format!("{}: {error}", mutant.file))),
        };
        let mutated = match mutant.apply(&source) {
            Ok(mutated) => mutated,
            Err(error) => return Ok(Err(error)),
        };
        let place = self.copy.join(&mutant.file);
        fs::write(&place, mutated).map_err(failed)?;
        let done = act();
        fs::write(&place, source).map_err(failed)?;
        Ok(Ok(done))
    }
}

/// Makes `to` hold what `from` holds, and nothing else.
fn sync(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mut kept = BTreeSet::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if SKIPPED
            .iter()
            .any(|skipped| name.to_string_lossy().starts_with(skipped))
        {
            continue;
        }
        let (source, place) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            sync(&source, &place)?;
        } else {
            let contents = fs::read(&source)?;
            if fs::read(&place).ok().as_ref() != Some(&contents) {
                fs::write(&place, contents)?;
            }
        }
        kept.insert(name);
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if kept.contains(&entry.file_name()) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_becomes_equal_and_what_is_equal_is_not_written() {
        let place = std::env::temp_dir().join(format!("ottla-mutants-{}", std::process::id()));
        let (from, to) = (place.join("from"), place.join("to"));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        write(from.join("a.rs"), "same");
        write(from.join("b/c.rs"), "new");
        write(from.join("target/x"), "built");
        write(to.join("a.rs"), "same");
        write(to.join("b/c.rs"), "old");
        write(to.join("gone/d.rs"), "old");
        let before = fs::metadata(to.join("a.rs")).and_then(|file| file.modified());
        sync(&from, &to).expect("it works");
        let after = fs::metadata(to.join("a.rs")).and_then(|file| file.modified());
        assert_eq!(before.expect("a time"), after.expect("a time"));
        assert_eq!(fs::read(to.join("b/c.rs")).expect("it is there"), b"new");
        assert!(!to.join("gone").exists() && !to.join("target").exists());
        fs::remove_dir_all(place).expect("it can be removed");
    }
}
