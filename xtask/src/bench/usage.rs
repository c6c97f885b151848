//! What a process has used, as Linux tells it (proc(5)).

use std::fs;

use serde::Serialize;

/// What it has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Usage {
    /// User and system time.
    pub(super) cpu_seconds: f64,
    /// Bytes that it caused to be written to devices.
    pub(super) written_bytes: f64,
}

impl Usage {
    /// Of this process.
    pub(super) fn of(pid: u32) -> Self {
        Self {
            cpu_seconds: cpu_seconds(&read(pid, "stat")),
            written_bytes: field(&read(pid, "io"), "write_bytes:"),
        }
    }

    /// What it has used since.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            written_bytes: self.written_bytes - before.written_bytes,
        }
    }
}

/// The most memory it ever had, in MiB.
pub(super) fn peak_mib(pid: u32) -> f64 {
    field(&read(pid, "status"), "VmHWM:") / 1024.0
}

/// The memory it has now, in MiB.
pub(super) fn resident_mib(pid: u32) -> f64 {
    field(&read(pid, "status"), "VmRSS:") / 1024.0
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// User and system time, in hundredths of a second behind the name in brackets, which may hold
/// anything.
fn cpu_seconds(stat: &str) -> f64 {
    let behind = stat.rsplit(") ").next().unwrap_or_default();
    let mut ticks = behind.split(' ').skip(11);
    let mut next = || ticks.next().and_then(|text| text.parse::<f64>().ok());
    (next().unwrap_or_default() + next().unwrap_or_default()) / 100.0
}

/// The number behind a name.
fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name_of_a_process() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_seconds(stat), 3.0);
        assert_eq!(
            field("VmRSS:\t 2048 kB\nVmHWM: 4096 kB\n", "VmHWM:"),
            4096.0
        );
        assert_eq!(field("", "VmHWM:"), 0.0);
    }
}
