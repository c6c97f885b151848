//! One file an API, or a family of small ones: a typed request in, a typed response out.
//!
//! Every handler has one shape:
//!
//! ```ignore
//! pub async fn handle<I: Io>(broker: &Arc<Broker<I>>, context: &RequestContext, request: XRequest) -> XResponse
//! ```
//!
//! and one line in the table of [`crate::dispatch`]. A handler is polled once when its request
//! arrives, in the order of arrival on its connection: what it does before its first `.await` that
//! is pending (taking a log's next offsets, say) therefore happens in that order, while what it
//! waits for overlaps with the requests behind it.

pub mod api_versions;
pub mod configs_admin;
pub mod delete_groups;
pub mod delete_records;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
mod errors;
pub mod fetch;
pub mod find_coordinator;
mod groups;
pub mod heartbeat;
pub mod init_producer_id;
mod internal_topics;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
mod operations;
pub mod produce;
pub mod sync_group;
mod topics;
pub mod topics_admin;
