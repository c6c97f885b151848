//! Reading records, alone or in a group.
pub(crate) mod protocol;
pub mod assignor;
