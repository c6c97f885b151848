//! The broker.

pub mod config;
pub mod coordinator;
pub mod storage;
