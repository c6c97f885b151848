//! Ottla's decisions: pure state machines, no clock, no chance, no I/O.
#![no_std]
extern crate alloc;
