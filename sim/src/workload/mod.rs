//! Who produces and consumes in a run, and the records that they write and know again.

pub mod admin;
pub mod consumer;
mod echo;
pub mod hostile;
pub mod member;
pub mod payload;
pub mod producer;
pub mod raw;
pub mod session;
pub mod timer;
