//! Bit rot: bits that had been durable for a while are others when they are read again.

use super::Stage;
use crate::scenario::Fault;

/// The logs of partitions, of which a reader would see it.
const FILES: &str = ".log";

impl Stage {
    pub(super) fn rot(&self, fault: &Fault) {
        let files = fault.with.files.as_deref().unwrap_or(FILES);
        let flipped = self
            .server()
            .node()
            .disk()
            .rot(files, fault.with.bits.unwrap_or(1));
        for (path, bit) in flipped {
            let what = format!("bit {bit} of {path} has flipped");
            self.strike(fault, &format!("of bit {bit} of {path}"));
            self.damaged(what);
        }
    }
}
