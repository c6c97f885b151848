//! Files and directories.

use std::{io::ErrorKind, path::PathBuf};

use bytes::Bytes;
use futures_util::future::join_all;

use super::Ground;
use crate::{Disk, File, Io, OpenMode};

type FileOf<I> = <<I as Io>::Disk as Disk>::File;

/// A fresh file with these contents.
async fn file_with<I: Io>(ground: &Ground<I>, contents: &[u8]) -> (PathBuf, FileOf<I>) {
    let path = ground.folder.join("file");
    let file = ground
        .io
        .disk()
        .open(&path, OpenMode::CreateNew)
        .await
        .unwrap();
    file.write_at(0, vec![Bytes::copy_from_slice(contents)])
        .await
        .unwrap();
    (path, file)
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it must be refused"),
        Err(error) => error.kind(),
    }
}

pub async fn what_is_written_is_read<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"hello").await;
    assert_eq!(file.read_at(0, 5).await.unwrap(), "hello");
    assert_eq!(file.read_at(1, 3).await.unwrap(), "ell");
    assert_eq!(file.len().await.unwrap(), 5);
}

pub async fn pieces_are_written_one_after_the_other<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"").await;
    let pieces = ["ab", "", "c", "def"].map(Bytes::from);
    file.write_at(0, pieces.into()).await.unwrap();
    assert_eq!(file.read_at(0, 10).await.unwrap(), "abcdef");
}

pub async fn more_pieces_than_one_call_takes_are_all_written<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"").await;
    let whole = pattern(3 * 2500);
    let pieces = (0..2500)
        .map(|piece| whole.slice(piece * 3..piece * 3 + 3))
        .collect();
    file.write_at(0, pieces).await.unwrap();
    assert_eq!(file.read_at(0, whole.len() + 1).await.unwrap(), whole);
}

pub async fn write_in_the_middle_leaves_the_rest<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"abcdef").await;
    file.write_at(2, vec![Bytes::from_static(b"XY")])
        .await
        .unwrap();
    assert_eq!(file.read_at(0, 10).await.unwrap(), "abXYef");
}

pub async fn write_beyond_the_end_leaves_zeros<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"ab").await;
    file.write_at(5, vec![Bytes::from_static(b"z")])
        .await
        .unwrap();
    assert_eq!(file.read_at(0, 10).await.unwrap(), &b"ab\0\0\0z"[..]);
    assert_eq!(file.len().await.unwrap(), 6);
}

pub async fn empty_write_changes_nothing<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"ab").await;
    file.write_at(1, vec![]).await.unwrap();
    file.write_at(100, vec![Bytes::new()]).await.unwrap();
    file.write_durable_at(100, vec![]).await.unwrap();
    assert_eq!(file.read_at(0, 200).await.unwrap(), "ab");
}

pub async fn read_past_the_end_is_short<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"abc").await;
    assert_eq!(file.read_at(1, 100).await.unwrap(), "bc");
    assert_eq!(file.read_at(3, 100).await.unwrap(), "");
    assert_eq!(file.read_at(1_000_000, 100_000).await.unwrap(), "");
}

pub async fn read_of_nothing_is_empty<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"abc").await;
    assert_eq!(file.read_at(1, 0).await.unwrap(), "");
}

pub async fn large_read_is_whole<I: Io>(ground: Ground<I>) {
    let whole = pattern(3 << 20);
    let (_, file) = file_with(&ground, &whole).await;
    assert_eq!(file.read_at(0, whole.len()).await.unwrap(), whole);
    assert_eq!(
        file.read_at(1 << 20, whole.len()).await.unwrap(),
        whole.slice(1 << 20..)
    );
}

pub async fn durable_write_is_read<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"abc").await;
    file.write_durable_at(1, vec![Bytes::from_static(b"XY"), Bytes::from_static(b"Z")])
        .await
        .unwrap();
    assert_eq!(file.read_at(0, 10).await.unwrap(), "aXYZ");
    assert_eq!(file.len().await.unwrap(), 4);
}

pub async fn durable_write_of_many_pieces_is_whole<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"").await;
    let whole = pattern(5 * 1500);
    let pieces = (0..1500)
        .map(|piece| whole.slice(piece * 5..piece * 5 + 5))
        .collect();
    file.write_durable_at(0, pieces).await.unwrap();
    assert_eq!(file.read_at(0, whole.len()).await.unwrap(), whole);
}

pub async fn sync_of_an_untouched_file_succeeds<I: Io>(ground: Ground<I>) {
    let (path, file) = file_with(&ground, b"abc").await;
    file.sync_data().await.unwrap();
    file.sync_data().await.unwrap();
    let reader = ground.io.disk().open(&path, OpenMode::Read).await.unwrap();
    reader.sync_data().await.unwrap();
}

pub async fn truncate_cuts<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"abcdef").await;
    file.truncate(2).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 2);
    // What was cut does not come back.
    file.truncate(4).await.unwrap();
    assert_eq!(file.read_at(0, 10).await.unwrap(), &b"ab\0\0"[..]);
}

pub async fn truncate_extends_with_zeros<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"a").await;
    file.truncate(10_000).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 10_000);
    let read = file.read_at(1, 20_000).await.unwrap();
    assert!(read.len() == 9_999 && read.iter().all(|byte| *byte == 0));
}

pub async fn a_byte_more_and_a_byte_less_leave_a_file_as_it_was<I: Io>(ground: Ground<I>) {
    let whole = pattern(5_000);
    let (_, file) = file_with(&ground, &whole).await;
    let map = file.map(5_000).await.unwrap();
    file.truncate(5_001).await.unwrap();
    file.truncate(5_000).await.unwrap();
    file.sync_data().await.unwrap();
    assert_eq!(file.len().await.unwrap(), 5_000);
    assert_eq!(file.read_at(0, 6_000).await.unwrap(), &whole[..]);
    assert_eq!(&map[..], &whole[..]);
}

pub async fn clones_share_one_file<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"").await;
    let clone = file.clone();
    file.write_at(0, vec![Bytes::from_static(b"one")])
        .await
        .unwrap();
    clone
        .write_at(3, vec![Bytes::from_static(b"two")])
        .await
        .unwrap();
    drop(file);
    assert_eq!(clone.read_at(0, 10).await.unwrap(), "onetwo");
}

pub async fn two_handles_see_one_file<I: Io>(ground: Ground<I>) {
    let (path, file) = file_with(&ground, b"one").await;
    let other = ground
        .io
        .disk()
        .open(&path, OpenMode::ReadWrite)
        .await
        .unwrap();
    other
        .write_at(3, vec![Bytes::from_static(b"two")])
        .await
        .unwrap();
    assert_eq!(file.read_at(0, 10).await.unwrap(), "onetwo");
    file.truncate(1).await.unwrap();
    assert_eq!(other.len().await.unwrap(), 1);
}

pub async fn map_shows_the_bytes<I: Io>(ground: Ground<I>) {
    let whole = pattern(10_000);
    let (path, file) = file_with(&ground, &whole).await;
    assert_eq!(&file.map(10_000).await.unwrap()[..], &whole[..]);
    let reader = ground.io.disk().open(&path, OpenMode::Read).await.unwrap();
    assert_eq!(&reader.map(5_000).await.unwrap()[..], &whole[..5_000]);
}

pub async fn map_of_nothing_is_empty<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"").await;
    assert!(file.map(0).await.unwrap().is_empty());
}

pub async fn map_beyond_the_end_is_refused<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"abc").await;
    assert_eq!(kind(file.map(4).await), ErrorKind::UnexpectedEof);
}

pub async fn map_outlives_the_name_and_the_handle<I: Io>(ground: Ground<I>) {
    let (path, file) = file_with(&ground, b"abc").await;
    let map = file.map(3).await.unwrap();
    drop(file);
    ground.io.disk().remove_file(&path).await.unwrap();
    assert_eq!(&map[..], b"abc");
}

pub async fn open_for_reading_refuses_what_is_missing<I: Io>(ground: Ground<I>) {
    let path = ground.folder.join("missing");
    assert_eq!(
        kind(ground.io.disk().open(&path, OpenMode::Read).await),
        ErrorKind::NotFound
    );
}

pub async fn open_read_write_refuses_what_is_missing<I: Io>(ground: Ground<I>) {
    let path = ground.folder.join("missing");
    let disk = ground.io.disk();
    assert_eq!(
        kind(disk.open(&path, OpenMode::ReadWrite).await),
        ErrorKind::NotFound
    );
    assert!(disk.list(&ground.folder).await.unwrap().is_empty());
}

pub async fn open_create_keeps_what_exists<I: Io>(ground: Ground<I>) {
    let (path, _) = file_with(&ground, b"abc").await;
    let again = ground
        .io
        .disk()
        .open(&path, OpenMode::Create)
        .await
        .unwrap();
    assert_eq!(again.read_at(0, 10).await.unwrap(), "abc");
}

pub async fn open_create_new_refuses_what_exists<I: Io>(ground: Ground<I>) {
    let (path, file) = file_with(&ground, b"abc").await;
    let refused = ground.io.disk().open(&path, OpenMode::CreateNew).await;
    assert_eq!(kind(refused), ErrorKind::AlreadyExists);
    assert_eq!(file.len().await.unwrap(), 3);
}

pub async fn open_in_a_missing_folder_is_refused<I: Io>(ground: Ground<I>) {
    let path = ground.folder.join("missing").join("file");
    assert_eq!(
        kind(ground.io.disk().open(&path, OpenMode::Create).await),
        ErrorKind::NotFound
    );
}

pub async fn open_of_a_folder_is_refused<I: Io>(ground: Ground<I>) {
    for mode in [OpenMode::Read, OpenMode::ReadWrite] {
        let refused = ground.io.disk().open(&ground.folder, mode).await;
        assert_eq!(kind(refused), ErrorKind::IsADirectory);
    }
}

pub async fn write_through_a_reading_handle_is_refused<I: Io>(ground: Ground<I>) {
    let (path, _) = file_with(&ground, b"abc").await;
    let reader = ground.io.disk().open(&path, OpenMode::Read).await.unwrap();
    assert!(
        reader
            .write_at(0, vec![Bytes::from_static(b"X")])
            .await
            .is_err()
    );
    assert!(reader.truncate(0).await.is_err());
    assert_eq!(reader.read_at(0, 10).await.unwrap(), "abc");
}

pub async fn rename_replaces<I: Io>(ground: Ground<I>) {
    let (path, _) = file_with(&ground, b"new").await;
    let disk = ground.io.disk();
    let target = ground.folder.join("target");
    let old = disk.open(&target, OpenMode::Create).await.unwrap();
    old.write_at(0, vec![Bytes::from_static(b"older")])
        .await
        .unwrap();
    disk.rename(&path, &target).await.unwrap();
    assert_eq!(disk.read(&target).await.unwrap(), "new");
    assert_eq!(kind(disk.metadata(&path).await), ErrorKind::NotFound);
    // The handle still means the file that it opened.
    assert_eq!(old.read_at(0, 10).await.unwrap(), "older");
}

pub async fn rename_of_what_is_missing_is_refused<I: Io>(ground: Ground<I>) {
    let (from, to) = (ground.folder.join("missing"), ground.folder.join("to"));
    assert_eq!(
        kind(ground.io.disk().rename(&from, &to).await),
        ErrorKind::NotFound
    );
}

pub async fn rename_moves_a_folder_with_what_is_in_it<I: Io>(ground: Ground<I>) {
    let disk = ground.io.disk();
    let (from, to) = (ground.folder.join("from"), ground.folder.join("to"));
    disk.create_dir_all(&from.join("inner")).await.unwrap();
    let file = disk
        .open(&from.join("inner").join("file"), OpenMode::Create)
        .await
        .unwrap();
    file.write_at(0, vec![Bytes::from_static(b"abc")])
        .await
        .unwrap();
    disk.rename(&from, &to).await.unwrap();
    assert_eq!(
        disk.read(&to.join("inner").join("file")).await.unwrap(),
        "abc"
    );
    assert_eq!(kind(disk.metadata(&from).await), ErrorKind::NotFound);
}

pub async fn renamed_file_stays_writable_through_its_handle<I: Io>(ground: Ground<I>) {
    let (path, file) = file_with(&ground, b"abc").await;
    let to = ground.folder.join("to");
    ground.io.disk().rename(&path, &to).await.unwrap();
    file.write_at(3, vec![Bytes::from_static(b"def")])
        .await
        .unwrap();
    assert_eq!(ground.io.disk().read(&to).await.unwrap(), "abcdef");
}

pub async fn removed_file_stays_readable_through_its_handle<I: Io>(ground: Ground<I>) {
    let (path, file) = file_with(&ground, b"abc").await;
    ground.io.disk().remove_file(&path).await.unwrap();
    assert_eq!(
        kind(ground.io.disk().metadata(&path).await),
        ErrorKind::NotFound
    );
    assert_eq!(file.read_at(0, 10).await.unwrap(), "abc");
    file.write_at(3, vec![Bytes::from_static(b"d")])
        .await
        .unwrap();
    assert_eq!(file.len().await.unwrap(), 4);
}

pub async fn removed_name_may_be_made_anew<I: Io>(ground: Ground<I>) {
    let (path, old) = file_with(&ground, b"old").await;
    let disk = ground.io.disk();
    disk.remove_file(&path).await.unwrap();
    let new = disk.open(&path, OpenMode::CreateNew).await.unwrap();
    assert_eq!(new.len().await.unwrap(), 0);
    new.write_at(0, vec![Bytes::from_static(b"newer")])
        .await
        .unwrap();
    assert_eq!(old.read_at(0, 10).await.unwrap(), "old");
}

pub async fn remove_of_what_is_missing_is_refused<I: Io>(ground: Ground<I>) {
    let path = ground.folder.join("missing");
    assert_eq!(
        kind(ground.io.disk().remove_file(&path).await),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(ground.io.disk().remove_dir_all(&path).await),
        ErrorKind::NotFound
    );
}

pub async fn remove_dir_all_takes_all_with_it<I: Io>(ground: Ground<I>) {
    let disk = ground.io.disk();
    let folder = ground.folder.join("folder");
    disk.create_dir_all(&folder.join("inner")).await.unwrap();
    disk.open(&folder.join("inner").join("file"), OpenMode::Create)
        .await
        .unwrap();
    disk.remove_dir_all(&folder).await.unwrap();
    assert!(disk.list(&ground.folder).await.unwrap().is_empty());
}

pub async fn create_dir_all_makes_parents_and_may_be_repeated<I: Io>(ground: Ground<I>) {
    let disk = ground.io.disk();
    let folder = ground.folder.join("one").join("two");
    disk.create_dir_all(&folder).await.unwrap();
    disk.create_dir_all(&folder).await.unwrap();
    assert!(disk.metadata(&folder).await.unwrap().is_dir);
}

pub async fn list_is_sorted_and_tells_files_from_folders<I: Io>(ground: Ground<I>) {
    let disk = ground.io.disk();
    for name in ["b", "a-1", "a", "B"] {
        disk.open(&ground.folder.join(name), OpenMode::CreateNew)
            .await
            .unwrap();
    }
    disk.create_dir_all(&ground.folder.join("aa"))
        .await
        .unwrap();
    let entries = disk.list(&ground.folder).await.unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.is_dir))
        .collect();
    assert_eq!(
        told,
        [
            ("B", false),
            ("a", false),
            ("a-1", false),
            ("aa", true),
            ("b", false)
        ]
    );
}

pub async fn list_of_what_is_missing_is_refused<I: Io>(ground: Ground<I>) {
    let missing = ground.folder.join("missing");
    assert_eq!(
        kind(ground.io.disk().list(&missing).await),
        ErrorKind::NotFound
    );
}

pub async fn metadata_tells_length_and_kind<I: Io>(ground: Ground<I>) {
    let (path, _) = file_with(&ground, b"abc").await;
    let entry = ground.io.disk().metadata(&path).await.unwrap();
    assert_eq!(
        (entry.name.as_str(), entry.is_dir, entry.len),
        ("file", false, 3)
    );
    let entry = ground.io.disk().metadata(&ground.folder).await.unwrap();
    assert_eq!((entry.is_dir, entry.len), (true, 0));
}

pub async fn metadata_of_what_is_missing_is_refused<I: Io>(ground: Ground<I>) {
    let missing = ground.folder.join("missing");
    assert_eq!(
        kind(ground.io.disk().metadata(&missing).await),
        ErrorKind::NotFound
    );
}

pub async fn sync_dir_succeeds_and_needs_a_folder<I: Io>(ground: Ground<I>) {
    let (path, _) = file_with(&ground, b"abc").await;
    let disk = ground.io.disk();
    disk.sync_dir(&ground.folder).await.unwrap();
    assert_eq!(kind(disk.sync_dir(&path).await), ErrorKind::NotADirectory);
    let missing = ground.folder.join("missing");
    assert_eq!(kind(disk.sync_dir(&missing).await), ErrorKind::NotFound);
}

pub async fn free_and_total_space_are_told<I: Io>(ground: Ground<I>) {
    let disk = ground.io.disk();
    let free = disk.free_space(&ground.folder).await.unwrap();
    assert!(free > 0);
    assert!(disk.total_space(&ground.folder).await.unwrap() >= free);
    let missing = ground.folder.join("missing");
    assert_eq!(kind(disk.total_space(&missing).await), ErrorKind::NotFound);
}

pub async fn a_held_lock_refuses_a_second<I: Io>(ground: Ground<I>) {
    let path = ground.folder.join(".lock");
    let _held = ground.io.disk().lock(&path).await.unwrap();
    assert_eq!(
        kind(ground.io.disk().lock(&path).await),
        ErrorKind::WouldBlock
    );
    let other = ground.folder.join(".other");
    ground.io.disk().lock(&other).await.unwrap();
}

pub async fn a_dropped_lock_may_be_taken<I: Io>(ground: Ground<I>) {
    let path = ground.folder.join(".lock");
    drop(ground.io.disk().lock(&path).await.unwrap());
    let _held = ground.io.disk().lock(&path).await.unwrap();
    assert!(!ground.io.disk().metadata(&path).await.unwrap().is_dir);
}

pub async fn read_gives_the_whole_file<I: Io>(ground: Ground<I>) {
    let whole = pattern(100_000);
    let (path, _) = file_with(&ground, &whole).await;
    assert_eq!(ground.io.disk().read(&path).await.unwrap(), whole);
    let missing = ground.folder.join("missing");
    assert_eq!(
        kind(ground.io.disk().read(&missing).await),
        ErrorKind::NotFound
    );
}

pub async fn replace_puts_all_or_nothing_and_cleans_up<I: Io>(ground: Ground<I>) {
    let disk = ground.io.disk();
    let path = ground.folder.join("checkpoint");
    for contents in ["first", "the second, which is longer", "third"] {
        disk.replace(&path, Bytes::from_static(contents.as_bytes()))
            .await
            .unwrap();
        assert_eq!(disk.read(&path).await.unwrap(), contents);
    }
    assert_eq!(disk.list(&ground.folder).await.unwrap().len(), 1);
}

pub async fn replace_overwrites_a_stale_temporary_file<I: Io>(ground: Ground<I>) {
    let disk = ground.io.disk();
    let stale = disk
        .open(&ground.folder.join("checkpoint.tmp"), OpenMode::Create)
        .await
        .unwrap();
    stale.write_at(0, vec![pattern(1000)]).await.unwrap();
    let path = ground.folder.join("checkpoint");
    disk.replace(&path, Bytes::from_static(b"whole"))
        .await
        .unwrap();
    assert_eq!(disk.read(&path).await.unwrap(), "whole");
}

pub async fn writes_at_once_to_separate_places_all_arrive<I: Io>(ground: Ground<I>) {
    let (_, file) = file_with(&ground, b"").await;
    let whole = pattern(64 * 1000);
    let writes = (0..64).rev().map(|part| {
        let at = part * 1000;
        file.write_at(at as u64, vec![whole.slice(at..at + 1000)])
    });
    for written in join_all(writes).await {
        written.unwrap();
    }
    assert_eq!(file.read_at(0, whole.len()).await.unwrap(), whole);
}
