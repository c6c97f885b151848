//! Metadata transactions (KIP-868): records that count all together or not at all.
//!
//! A controller that has more records than one batch may hold brackets them with
//! `BeginTransaction` and `EndTransaction`. Whoever replays the log holds what comes between
//! them back until the end is there; an `AbortTransaction`, which the next leader writes, drops it.

use alloc::vec::Vec;

use ottla_wire::metadata::MetadataRecord;

/// Holds records of an open transaction back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransactionBuffer {
    open: Option<Open>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Open {
    start: i64,
    held: Vec<MetadataRecord>,
}

impl TransactionBuffer {
    /// Takes the record at `offset` and passes to `apply` what counts now: the record itself
    /// outside of a transaction, all held ones at a transaction's end.
    pub fn feed<E>(
        &mut self,
        offset: i64,
        record: MetadataRecord,
        mut apply: impl FnMut(&MetadataRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        match (&record, &mut self.open) {
            (MetadataRecord::BeginTransaction(_), _) => {
                self.open = Some(Open {
                    start: offset,
                    held: Vec::new(),
                });
                Ok(())
            }
            (MetadataRecord::EndTransaction(_), open) => {
                let held = open.take().unwrap_or_default().held;
                held.iter().try_for_each(apply)
            }
            (MetadataRecord::AbortTransaction(_), open) => {
                *open = None;
                Ok(())
            }
            (_, Some(open)) => {
                open.held.push(record);
                Ok(())
            }
            (record, None) => apply(record),
        }
    }

    /// The offset at which the open transaction began; `None` if none is open.
    #[must_use]
    pub fn open_since(&self) -> Option<i64> {
        self.open.as_ref().map(|open| open.start)
    }
}
