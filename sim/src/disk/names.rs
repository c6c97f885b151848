//! The names of a disk: looking them up, changing them, making the changes durable.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Result},
    path::{Component, Path},
};

use ottla_io::{OpenMode, disk::Entry};

use super::{
    of_kind,
    state::{DirectoryImages, DiskState, FileImages, Inode, ROOT},
};

/// A change of names that may not be durable yet.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link {
        directory: u64,
        name: String,
        inode: u64,
    },
    Unlink {
        directory: u64,
        name: String,
    },
    /// Both halves are one: a rename is atomic on every journalling file system.
    Rename {
        from: u64,
        old: String,
        to: u64,
        new: String,
        inode: u64,
    },
}

impl NameChange {
    pub(super) fn inode(&self) -> Option<u64> {
        match self {
            Self::Link { inode, .. } | Self::Rename { inode, .. } => Some(*inode),
            Self::Unlink { .. } => None,
        }
    }

    fn concerns(&self, of: u64) -> bool {
        match self {
            Self::Link { directory, .. } | Self::Unlink { directory, .. } => *directory == of,
            Self::Rename { from, to, .. } => *from == of || *to == of,
        }
    }
}

/// A directory and a name in it that may or may not be there.
struct Place {
    directory: u64,
    name: String,
    inode: Option<u64>,
}

impl DiskState {
    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> Result<u64> {
        let place = self.place(path)?;
        let inode = match (place.inode, mode) {
            (Some(_), OpenMode::CreateNew) => return of_kind(ErrorKind::AlreadyExists),
            (Some(inode), _) => inode,
            (None, OpenMode::Create | OpenMode::CreateNew) => self.create_file(place),
            (None, OpenMode::Read | OpenMode::ReadWrite) => return of_kind(ErrorKind::NotFound),
        };
        match self.file(inode) {
            Some(file) => {
                file.opens += 1;
                Ok(inode)
            }
            None => of_kind(ErrorKind::IsADirectory),
        }
    }

    fn create_file(&mut self, place: Place) -> u64 {
        let file = FileImages {
            named: true,
            ..FileImages::default()
        };
        let inode = self.add_inode(Inode::File(file));
        self.apply_cached(NameChange::Link {
            directory: place.directory,
            name: place.name,
            inode,
        });
        inode
    }

    pub(super) fn take_lock(&mut self, path: &Path) -> Result<u64> {
        let place = self.place(path)?;
        let inode = match place.inode {
            Some(inode) => inode,
            None => self.create_file(place),
        };
        if self.file(inode).is_none() {
            return of_kind(ErrorKind::IsADirectory);
        }
        if self.locks.insert(inode) {
            Ok(inode)
        } else {
            of_kind(ErrorKind::WouldBlock)
        }
    }

    pub(super) fn release_lock(&mut self, inode: u64) {
        self.locks.remove(&inode);
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> Result<()> {
        let mut directory = ROOT;
        let names = names(path)?;
        for (index, name) in names.iter().enumerate() {
            directory = match self.directory(directory)?.cached.get(name) {
                Some(inode) => match self.inodes.get(inode) {
                    Some(Inode::Directory(_)) => *inode,
                    _ if index + 1 == names.len() => return of_kind(ErrorKind::AlreadyExists),
                    _ => return of_kind(ErrorKind::NotADirectory),
                },
                None => {
                    let inode = self.add_inode(Inode::Directory(DirectoryImages::default()));
                    self.apply_cached(NameChange::Link {
                        directory,
                        name: name.clone(),
                        inode,
                    });
                    inode
                }
            };
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let (source, target) = (self.place(from)?, self.place(to)?);
        let Some(inode) = source.inode else {
            return of_kind(ErrorKind::NotFound);
        };
        let moves_directory = self.file(inode).is_none();
        if moves_directory && self.within(target.directory, inode) {
            return of_kind(ErrorKind::InvalidInput);
        }
        if let Some(replaced) = target.inode {
            if replaced == inode {
                return Ok(());
            }
            match self.inodes.get(&replaced) {
                Some(Inode::Directory(directory)) => {
                    if !moves_directory {
                        return of_kind(ErrorKind::IsADirectory);
                    }
                    if !directory.cached.is_empty() {
                        return of_kind(ErrorKind::DirectoryNotEmpty);
                    }
                }
                _ if moves_directory => return of_kind(ErrorKind::NotADirectory),
                _ => {}
            }
        }
        self.apply_cached(NameChange::Rename {
            from: source.directory,
            old: source.name,
            to: target.directory,
            new: target.name,
            inode,
        });
        if let Some(replaced) = target.inode {
            self.unname(replaced);
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> Result<()> {
        let place = self.place(path)?;
        let Some(inode) = place.inode else {
            return of_kind(ErrorKind::NotFound);
        };
        if self.file(inode).is_none() {
            return of_kind(ErrorKind::IsADirectory);
        }
        self.apply_cached(NameChange::Unlink {
            directory: place.directory,
            name: place.name,
        });
        self.unname(inode);
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> Result<()> {
        let place = self.place(path)?;
        let Some(inode) = place.inode else {
            return of_kind(ErrorKind::NotFound);
        };
        self.directory(inode)?;
        self.remove_contents(inode);
        self.apply_cached(NameChange::Unlink {
            directory: place.directory,
            name: place.name,
        });
        Ok(())
    }

    fn remove_contents(&mut self, directory: u64) {
        let Some(Inode::Directory(images)) = self.inodes.get(&directory) else {
            return;
        };
        let entries: Vec<(String, u64)> = images
            .cached
            .iter()
            .map(|(name, inode)| (name.clone(), *inode))
            .collect();
        for (name, inode) in entries {
            self.remove_contents(inode);
            self.apply_cached(NameChange::Unlink { directory, name });
            self.unname(inode);
        }
    }

    pub(super) fn list(&mut self, path: &Path) -> Result<Vec<Entry>> {
        let Some(inode) = self.place_or_root(path)? else {
            return of_kind(ErrorKind::NotFound);
        };
        let entries = self.directory(inode)?.cached.clone();
        Ok(entries
            .into_iter()
            .map(|(name, inode)| self.entry(name, inode))
            .collect())
    }

    pub(super) fn metadata(&mut self, path: &Path) -> Result<Entry> {
        let Some(inode) = self.place_or_root(path)? else {
            return of_kind(ErrorKind::NotFound);
        };
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(self.entry(name, inode))
    }

    fn entry(&mut self, name: String, inode: u64) -> Entry {
        let is_dir = self.file(inode).is_none();
        Entry {
            name,
            is_dir,
            len: self.len(inode),
        }
    }

    /// Makes the names of a directory durable, as they were at `mark`.
    pub(super) fn sync_dir(&mut self, path: &Path, mark: u64) -> Result<()> {
        let Some(inode) = self.place_or_root(path)? else {
            return of_kind(ErrorKind::NotFound);
        };
        self.directory(inode)?;
        let unsynced = std::mem::take(&mut self.unsynced_names);
        for (operation, change) in unsynced {
            if operation < mark && change.concerns(inode) {
                self.apply_durable(&change);
            } else {
                self.unsynced_names.push((operation, change));
            }
        }
        self.forget_unused();
        Ok(())
    }

    fn apply_cached(&mut self, change: NameChange) {
        self.apply(&change, |directory| &mut directory.cached);
        let operation = self.operation();
        self.unsynced_names.push((operation, change));
    }

    pub(super) fn apply_durable(&mut self, change: &NameChange) {
        self.apply(change, |directory| &mut directory.durable);
    }

    fn apply(
        &mut self,
        change: &NameChange,
        image: fn(&mut DirectoryImages) -> &mut BTreeMap<String, u64>,
    ) {
        match change {
            NameChange::Link {
                directory,
                name,
                inode,
            } => {
                if let Some(directory) = self.directory_mut(*directory) {
                    image(directory).insert(name.clone(), *inode);
                }
            }
            NameChange::Unlink { directory, name } => {
                if let Some(directory) = self.directory_mut(*directory) {
                    image(directory).remove(name);
                }
            }
            NameChange::Rename {
                from,
                old,
                to,
                new,
                inode,
            } => {
                if let Some(directory) = self.directory_mut(*from)
                    && image(directory).get(old) == Some(inode)
                {
                    image(directory).remove(old);
                }
                if let Some(directory) = self.directory_mut(*to) {
                    image(directory).insert(new.clone(), *inode);
                }
            }
        }
    }

    fn directory_mut(&mut self, inode: u64) -> Option<&mut DirectoryImages> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::Directory(directory)) => Some(directory),
            _ => None,
        }
    }

    fn unname(&mut self, inode: u64) {
        if let Some(file) = self.file(inode) {
            file.named = false;
        }
        self.release_if_unused(inode);
    }

    fn directory(&self, inode: u64) -> Result<&DirectoryImages> {
        match self.inodes.get(&inode) {
            Some(Inode::Directory(directory)) => Ok(directory),
            Some(Inode::File(_)) => of_kind(ErrorKind::NotADirectory),
            None => of_kind(ErrorKind::NotFound),
        }
    }

    /// Whether `directory` is `ancestor` or lies below it.
    fn within(&self, directory: u64, ancestor: u64) -> bool {
        directory == ancestor
            || match self.inodes.get(&ancestor) {
                Some(Inode::Directory(images)) => images
                    .cached
                    .values()
                    .any(|child| self.within(directory, *child)),
                _ => false,
            }
    }

    fn place_or_root(&self, path: &Path) -> Result<Option<u64>> {
        if names(path)?.is_empty() {
            return Ok(Some(ROOT));
        }
        Ok(self.place(path)?.inode)
    }

    fn place(&self, path: &Path) -> Result<Place> {
        let mut names = names(path)?;
        let Some(last) = names.pop() else {
            return of_kind(ErrorKind::IsADirectory);
        };
        let mut directory = ROOT;
        for name in names {
            let inode = self.directory(directory)?.cached.get(&name);
            directory = match inode {
                Some(inode) => *inode,
                None => return of_kind(ErrorKind::NotFound),
            };
        }
        let inode = self.directory(directory)?.cached.get(&last).copied();
        Ok(Place {
            directory,
            name: last,
            inode,
        })
    }
}

/// The names of a path, from the root down. A relative path begins at the root too.
fn names(path: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) if name.len() > 255 => {
                return of_kind(ErrorKind::InvalidFilename);
            }
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => {
                names.pop();
            }
            Component::Prefix(_) => return of_kind(ErrorKind::InvalidInput),
        }
    }
    Ok(names)
}
