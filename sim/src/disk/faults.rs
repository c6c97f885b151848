//! The faults that a disk shows for as long as they last.

/// The faults that a disk shows, until they are set anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFaults {
    /// Out of ten thousand reads, this many fail.
    pub read_errors: u32,
    /// Out of ten thousand writes, this many fail, some of them half-way.
    pub write_errors: u32,
    /// Out of ten thousand syncs, this many fail.
    pub sync_errors: u32,
    /// Every operation takes this many times as long; 0 and 1 are as usual.
    pub slow: u32,
    /// Nothing comes back from the device.
    pub stalled: bool,
    /// Files can take up so many bytes in all, and no more.
    pub limit_bytes: Option<u64>,
}

impl DiskFaults {
    /// Both at once.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        let rate = |one: u32, two: u32| one.saturating_add(two).min(10_000);
        let limit_bytes = match (self.limit_bytes, other.limit_bytes) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self {
            read_errors: rate(self.read_errors, other.read_errors),
            write_errors: rate(self.write_errors, other.write_errors),
            sync_errors: rate(self.sync_errors, other.sync_errors),
            slow: self.slow.max(other.slow),
            stalled: self.stalled || other.stalled,
            limit_bytes,
        }
    }
}
