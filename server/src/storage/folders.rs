//! The folders of partitions: their names, making one, throwing one away.

use std::{io, path::Path, sync::Arc, time::Duration};

use futures_util::FutureExt;
use ottla_core::{
    log::{FileName, Log, checkpoint},
    partition::{Partition as Machine, PartitionConfig, TopicPartition},
};
use ottla_io::{Disk, Io};

use super::{CreateError, Shared, Uuid, cell::Cell, directory, lanes, recovery::Known};

/// The topic of the metadata quorum.
pub(super) const METADATA_TOPIC: &str = "__cluster_metadata";

/// The end of the name of a folder that is being thrown away.
const DELETE: &str = "-delete";
/// The ends of the names of folders that Kafka keeps beside partitions and that are no partitions.
const OTHERS: [&str; 2] = ["-future", "-stray"];

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
    if name.ends_with(DELETE) {
        return Folder::Deleted;
    }
    if OTHERS.iter().any(|end| name.ends_with(end)) {
        return Folder::Other;
    }
    match name.rsplit_once('-') {
        Some((topic, partition)) if !topic.is_empty() => match partition.parse::<i32>() {
            Ok(number) if number >= 0 && number.to_string() == partition => {
                Folder::Partition(TopicPartition::new(topic, number))
            }
            _ => Folder::Other,
        },
        _ => Folder::Other,
    }
}

/// The name that a partition's folder gets when it is thrown away: Kafka's, which keeps within the
/// 255 bytes that a file name may have.
fn deleted_name(name: &str, id: Uuid) -> String {
    let id: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let suffix = format!(".{id}{DELETE}");
    let mut kept = name.len().min(255 - suffix.len());
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    format!("{}{suffix}", &name[..kept])
}

impl<I: Io> Shared<I> {
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
            Some(topic_id),
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
        let (Some(root), Some(name)) = (folder.parent(), folder.file_name()) else {
            return Ok(());
        };
        let name = deleted_name(&name.to_string_lossy(), directory::random_uuid(&self.io));
        let renamed = root.join(name);
        self.io.disk().rename(folder, &renamed).await?;
        self.io.disk().sync_dir(root).await?;
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
        ] {
            assert!(!matches!(parse(other), Folder::Deleted), "{other}");
        }
        assert_eq!(parse("orders-01"), Folder::Other);
        assert_eq!(parse(&deleted_name("orders-0", Uuid::ONE)), Folder::Deleted);
        assert_eq!(deleted_name(&"x".repeat(249), Uuid::ONE).len(), 255);
    }
}
