//! A misdirected write: the next write overwrites something else, and is missing where it belongs.

use super::Stage;
use crate::scenario::Fault;

const FILES: &str = ".log";

impl Stage {
    pub(super) fn misdirect(&self, fault: &Fault) {
        let files = fault.with.files.as_deref().unwrap_or(FILES);
        self.strike(fault, "is the next");
        self.damaged(format!("the next write to {files} goes astray"));
        self.server().node().disk().misdirect_next(files);
    }
}
