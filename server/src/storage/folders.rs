//! The folders of partitions: their names, making one, throwing one away.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use ottla_core::{
    log::{FileName, Log, checkpoint},
    partition::{Partition as Machine, PartitionConfig, TopicPartition},
};
use ottla_io::{Disk, Io};

use super::{
    CreateError, Shared, Uuid,
    cell::{Cell, Identity},
    directory, lanes,
    recovery::Known,
};

/// The topic of the metadata quorum.
pub(super) const METADATA_TOPIC: &str = "__cluster_metadata";

/// The end of the name of a folder that is being thrown away.
const DELETE: &str = "-delete";
/// The end of the name of a folder that no topic claims, kept for whoever may want it.
const STRAY: &str = "-stray";
/// The ends of the names of folders that Kafka keeps beside partitions and that are no partitions.
const OTHERS: [&str; 2] = ["-future", STRAY];

/// What a folder in a log directory is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Folder {
    Partition(TopicPartition),
    /// Renamed to be removed.
    Deleted,
    Other,
}

/// Reads a folder's name.
pub(super) fn parse(name: &str) -> Folder {
    if is_deleted(name) {
        return Folder::Deleted;
    }
    if OTHERS.iter().any(|end| name.ends_with(end)) {
        return Folder::Other;
    }
    partition(name).map_or(Folder::Other, Folder::Partition)
}

fn partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let number = partition.parse::<i32>().ok()?;
    let plain = number >= 0 && number.to_string() == partition && !topic.is_empty();
    plain.then(|| TopicPartition::new(topic, number))
}

/// Whether a folder has such a name as [`renamed`] gives, to be thrown away: what else is in a log
/// directory is not ours to remove.
fn is_deleted(name: &str) -> bool {
    let renamed = name
        .strip_suffix(DELETE)
        .and_then(|rest| rest.rsplit_once('.'));
    renamed.is_some_and(|(kept, id)| {
        let id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        id && (partition(kept).is_some() || name.len() == NAME_BYTES_MAX)
    })
}

/// Bytes that a file's name may have.
const NAME_BYTES_MAX: usize = 255;

/// The name that a partition's folder gets when it is thrown away or set aside: Kafka's, which keeps
/// within the bytes that a file name may have.
fn renamed(name: &str, id: Uuid, end: &str) -> String {
    let id: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let suffix = format!(".{id}{end}");
    let mut kept = name.len().min(NAME_BYTES_MAX - suffix.len());
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    format!("{}{suffix}", &name[..kept])
}

impl<I: Io> Shared<I> {
    /// Makes way for a partition's folder: what an earlier one of that name left behind must not be
    /// taken for this one's. The metadata log's folder is made by the format.
    async fn make_way(&self, name: &TopicPartition, directory: usize) -> io::Result<()> {
        if name.topic.as_ref() == METADATA_TOPIC {
            return Ok(());
        }
        for other in &self.directories {
            let folder = other.path.join(name.to_string());
            match self.io.disk().metadata(&folder).await {
                Ok(found) if found.is_dir => self.set_aside(&folder).await?,
                // No log of anybody's: whoever put it there is asked to see to it, by the error.
                Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let stale = self.directories[directory].stale().contains(name);
        if stale {
            self.checkpoint(directory).await?;
        }
        Ok(())
    }

    /// Makes a partition that is not there yet, durably.
    pub(super) async fn make(
        &self,
        name: &TopicPartition,
        topic_id: Uuid,
        directory: usize,
        config: PartitionConfig,
    ) -> Result<Arc<Cell<I>>, CreateError> {
        let root = &self.directories[directory].path;
        let place = self.place(root.join(name.to_string()));
        place.configure(&config);
        let failed = |source| CreateError::Io {
            path: place.folder.clone(),
            source,
        };
        self.make_way(name, directory).await.map_err(failed)?;
        let made: io::Result<Log> = async {
            let disk = self.io.disk();
            disk.create_dir_all(&place.folder).await?;
            let metadata = checkpoint::format_partition_metadata(&topic_id.to_string());
            disk.replace(&place.path(FileName::PartitionMetadata), metadata)
                .await?;
            let mut effects = Vec::new();
            let (now, seed) = (self.io.now().wall, self.io.random_u64());
            let log = Log::create(config.log.clone(), 0, now, seed, &mut effects);
            for effect in effects {
                lanes::perform(&place, effect).await?;
            }
            disk.sync_dir(root).await?;
            Ok(log)
        }
        .await;
        let log = match made {
            Ok(log) => log,
            Err(source) => {
                self.files.forget_all(place.number);
                // What is left is thrown away, so that the name is free for another attempt.
                if let Err(error) = self.io.disk().remove_dir_all(&place.folder).await
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(folder = %place.folder.display(), %error, "a folder is left behind");
                }
                return Err(failed(source));
            }
        };
        let machine = Machine::open(self.settings.node_id, log, config.clone(), 0);
        let cell = Cell::new(
            name.clone(),
            Identity::Topic(topic_id),
            place,
            Some(machine),
            config.clone(),
            Known::default(),
            self.settings.node_id,
        );
        cell.state().configure(&self.io, config);
        self.install(Arc::clone(&cell), directory);
        Ok(cell)
    }

    /// Renames a folder so that its name is free, durably, and removes it after a while.
    pub(super) async fn discard(&self, folder: &Path, delay: Duration) -> io::Result<()> {
        let renamed = self.rename(folder, DELETE).await?;
        let io = self.io.clone();
        self.io.spawn_detached(
            "delete-partition",
            async move {
                io.sleep(delay).await;
                remove(&io, &renamed).await;
            }
            .boxed(),
        );
        Ok(())
    }
}

impl<I: Io> Shared<I> {
    /// Renames a folder so that its name is free, durably, and keeps it for whoever may want it.
    pub(super) async fn set_aside(&self, folder: &Path) -> io::Result<()> {
        let renamed = self.rename(folder, STRAY).await?;
        tracing::warn!(
            folder = %folder.display(), renamed = %renamed.display(),
            "a folder that belongs to no topic was set aside"
        );
        Ok(())
    }

    async fn rename(&self, folder: &Path, end: &str) -> io::Result<PathBuf> {
        let (Some(root), Some(name)) = (folder.parent(), folder.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let id = directory::random_uuid(&self.io);
        let to = root.join(renamed(&name.to_string_lossy(), id, end));
        self.io.disk().rename(folder, &to).await?;
        self.io.disk().sync_dir(root).await?;
        Ok(to)
    }
}

/// Removes a folder that was renamed for it. What is left behind is removed at the next start.
pub(super) async fn remove<I: Io>(io: &I, folder: &Path) {
    match io.disk().remove_dir_all(folder).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "a deleted partition cannot be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_are_kafkas() {
        let partition = |topic: &str, number| Folder::Partition(TopicPartition::new(topic, number));
        assert_eq!(parse("orders-0"), partition("orders", 0));
        assert_eq!(parse("a-b.c_d-12"), partition("a-b.c_d", 12));
        assert_eq!(
            parse("__cluster_metadata-0"),
            partition("__cluster_metadata", 0)
        );
        for other in [
            "orders",
            "-0",
            "orders-",
            "orders-x",
            "orders-01",
            "orders--1",
            "o-0.abc-future",
            "backup-delete",
            "o-0.abc-delete",
            "backup.0123456789abcdef0123456789abcdef-delete",
        ] {
            assert!(!matches!(parse(other), Folder::Deleted), "{other}");
        }
        assert_eq!(parse("orders-01"), Folder::Other);
        let long = "x".repeat(249);
        for name in ["orders-0", "a.b-12", &long] {
            let deleted = renamed(name, Uuid::ONE, DELETE);
            assert_eq!(parse(&deleted), Folder::Deleted, "{deleted}");
            assert!(deleted.len() <= 255);
            assert_eq!(parse(&renamed(name, Uuid::ONE, STRAY)), Folder::Other);
        }
    }
}
