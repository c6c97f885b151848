//! Real losses of power: an ext4 that is told to forget what it has not written (`EXT4_IOC_SHUTDOWN`).
//!
//! The simulator says what a loss of power may leave; this asks a file system. It lies in a file, is
//! mounted in a namespace of its own that goes with the test however that ends, and is shut down
//! without flushing its journal: what was neither synced nor written back by chance is gone, names
//! included, and the next mount replays the journal. The broker is stopped just before: an `fdatasync`
//! that the shutdown meets may return success for bytes that are lost (the conversion of unwritten
//! extents fails, and ext4 tells nobody during a shutdown), where a real loss of power leaves nobody to
//! be told. Where this process may not mount one, the test
//! says so and ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

use crate::{
    broker::{arguments, binary, piped},
    kills::{Ground, strike_under_load},
};

/// `EXT4_IOC_SHUTDOWN` (`linux/fs/ext4/ext4.h`), the same as XFS's `XFS_IOC_GOINGDOWN`.
const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: what the journal holds in memory is lost as well.
const WITHOUT_ITS_JOURNAL: u32 = 2;
const IMAGE_BYTES: u64 = 512 << 20;

/// A file system in a file, mounted in a namespace that ends with this.
pub(crate) struct Disk {
    /// Holds the namespace until its standard input is closed.
    holder: Child,
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    /// Makes one in `folder`; `None` if this process may not.
    fn make(folder: &Path) -> Option<Self> {
        let (image, mounted) = (folder.join("image"), folder.join("disk"));
        fs::create_dir(&mounted).unwrap();
        fs::File::create(&image)
            .unwrap()
            .set_len(IMAGE_BYTES)
            .unwrap();
        let mut format = Command::new("mkfs.ext4");
        format.args(["-q", "-F"]).arg(&image);
        if !succeeds(&mut format) {
            return None;
        }
        let mut holder = Command::new("unshare");
        holder.args(["--mount", "--propagation", "private", "sh", "-c"]);
        let mut holder = holder
            .arg("echo ready; read -r _")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let mut told = BufReader::new(holder.stdout.take()?);
        let disk = Self {
            holder,
            image,
            mounted,
        };
        told.read_line(&mut line).ok()?;
        (line == "ready\n" && disk.mount()).then_some(disk)
    }

    /// A command that runs where the disk is mounted.
    fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount"]);
        command.arg(program);
        command
    }

    fn mount(&self) -> bool {
        let mut mount = self.inside("mount");
        succeeds(
            mount
                .args(["-o", "loop"])
                .args([&self.image, &self.mounted]),
        )
    }

    /// The command that runs a broker on it.
    pub(crate) fn command(&self, data: &Path, port: u16, overrides: &[&str]) -> Command {
        let mut command = self.inside(binary());
        command.args(arguments(data, port, overrides));
        piped(&mut command, data);
        command
    }

    /// From now on nothing reaches the disk, and nothing that had not is there later.
    pub(crate) fn lose_power(&self) {
        let root = format!("/proc/{}/root{}", self.holder.id(), self.mounted.display());
        let root = fs::File::open(root).unwrap();
        // SAFETY: the opcode takes a pointer to a `u32` that it only reads.
        let asked = unsafe { ioctl(&root, Setter::<SHUTDOWN, u32>::new(WITHOUT_ITS_JOURNAL)) };
        asked.unwrap();
    }

    /// The power is back; nobody may have anything open there.
    pub(crate) fn come_back(&self) {
        assert!(succeeds(self.inside("umount").arg(&self.mounted)));
        assert!(self.mount());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[test]
fn losses_of_power_under_load_on_ext4_lose_and_duplicate_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::make(folder.path()) else {
        println!(
            "skipped: this process may not mount an ext4 (it takes root, unshare and mkfs.ext4)"
        );
        return;
    };
    let data = disk.mounted.join("data");
    strike_under_load(Ground::Powered(disk), &data);
}
