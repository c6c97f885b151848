//! The machine that a run was made on, in words.

use std::{
    fs,
    io::{self, Write},
    thread,
    time::Instant,
};

use crate::process::root;

/// Appends that are made to learn how long the device takes.
const APPENDS: usize = 200;

/// Processors, memory, kernel, and what a small append that is synced takes where the data lies.
pub(super) fn describe() -> String {
    let processors = thread::available_parallelism().map_or(0, usize::from);
    let model = first_line("/proc/cpuinfo", "model name");
    let memory = first_line("/proc/meminfo", "MemTotal");
    let kilobytes = memory
        .split(' ')
        .next()
        .and_then(|kb| kb.parse::<f64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let device = match synced_append() {
        Ok(microseconds) => format!("{microseconds:.0} us"),
        Err(error) => format!("not known ({error})"),
    };
    format!(
        "{processors} processors ({model}) that brokers and clients share, {:.0} GiB, Linux {}; an append of \
         4 KiB with fdatasync takes {device} (median)",
        kilobytes.unwrap_or_default() / 1048576.0,
        kernel.trim(),
    )
}

/// What stands behind the colon of the first line that begins so.
fn first_line(file: &str, begins: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(begins));
    let behind = line.and_then(|line| line.split_once(':'));
    behind
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

/// Median time of one append with fdatasync, in microseconds.
fn synced_append() -> io::Result<f64> {
    let place = root().join("target").join("bench");
    fs::create_dir_all(&place)?;
    let path = place.join("appends");
    let mut file = fs::File::create(&path)?;
    let mut took = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    drop(file);
    fs::remove_file(&path)?;
    took.sort_by(f64::total_cmp);
    Ok(took[APPENDS / 2])
}
