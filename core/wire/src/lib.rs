//! Codecs for Apache Kafka's wire messages, metadata records and record batches.
#![no_std]
