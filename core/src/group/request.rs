//! What a group is asked and what it answers, free of wire versions.
//!
//! The handlers turn each version of a request into one of these and each answer into a version of
//! a response: what a version changes in behaviour is a field here (`requires_member_id`), so the
//! machine never sees a version number. Strings share the frame they came from; the machine
//! detaches what it keeps.

use alloc::vec::Vec;

use bytes::Bytes;
use ottla_wire::{Str, Uuid};

use crate::limits::{GROUP_MEMBER_METADATA_BYTES_MAX, GROUP_PROTOCOLS_MAX, GROUP_STRING_BYTES_MAX};

/// Why a group refuses. Each variant is the Kafka error of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum GroupError {
    /// The log of this group's partition is still being read.
    #[error("the coordinator is loading this group's partition")]
    CoordinatorLoadInProgress,
    /// The coordinator cannot serve now; the same one may later.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// Another broker leads this group's partition, or none does.
    #[error("this broker does not coordinate the group")]
    NotCoordinator,
    /// The metadata of an offset is longer than `offset.metadata.max.bytes`.
    #[error("the metadata of the offset is too large")]
    OffsetMetadataTooLarge,
    /// The request's generation is not the group's.
    #[error("the generation is not the group's current one")]
    IllegalGeneration,
    /// The member's protocols share nothing with the group's, or name another one.
    #[error("the member's protocols do not fit the group's")]
    InconsistentGroupProtocol,
    /// The group id is empty where it must not be.
    #[error("the group id is not valid")]
    InvalidGroupId,
    /// The group has no such member.
    #[error("the group has no such member")]
    UnknownMemberId,
    /// The session time-out is outside of the broker's bounds.
    #[error("the session time-out is outside of the allowed range")]
    InvalidSessionTimeout,
    /// The group is rebalancing: join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// The group has members, so it cannot be deleted.
    #[error("the group is not empty")]
    NonEmptyGroup,
    /// There is no such group.
    #[error("the group does not exist")]
    GroupIdNotFound,
    /// Join again with the member id in this answer (KIP-394).
    #[error("the member must join again with the id it was given")]
    MemberIdRequired,
    /// The group is at `group.max.size`.
    #[error("the group is full")]
    GroupMaxSizeReached,
    /// Another member has taken over the `group.instance.id` (KIP-345).
    #[error("another member took over the group instance id")]
    FencedInstanceId,
    /// An open transaction may still change the offset.
    #[error("a transaction that may change the offset is open")]
    UnstableOffsetCommit,
    /// The group consumes the topic, so its offsets cannot be deleted.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// The records do not fit a batch of the offsets topic.
    #[error("the group's record is too large")]
    UnknownServerError,
    /// A string is longer than a record can hold, or there are more protocols than anyone has.
    #[error("the request is larger than a group can hold")]
    InvalidRequest,
}

impl GroupError {
    /// The number of this error in Kafka's protocol.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::UnknownServerError => -1,
            Self::OffsetMetadataTooLarge => 12,
            Self::CoordinatorLoadInProgress => 14,
            Self::CoordinatorNotAvailable => 15,
            Self::NotCoordinator => 16,
            Self::IllegalGeneration => 22,
            Self::InconsistentGroupProtocol => 23,
            Self::InvalidGroupId => 24,
            Self::UnknownMemberId => 25,
            Self::InvalidSessionTimeout => 26,
            Self::RebalanceInProgress => 27,
            Self::InvalidRequest => 42,
            Self::NonEmptyGroup => 68,
            Self::GroupIdNotFound => 69,
            Self::MemberIdRequired => 79,
            Self::GroupMaxSizeReached => 81,
            Self::FencedInstanceId => 82,
            Self::GroupSubscribedToTopic => 86,
            Self::UnstableOffsetCommit => 88,
        }
    }
}

/// Why an append to the offsets partition failed, as far as a group cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendFailure {
    /// The partition has too few replicas, or did not answer in time.
    #[error("the append did not become durable in time")]
    NotAvailable,
    /// This broker does not lead the partition, or its disk failed.
    #[error("the partition is not led here or its storage failed")]
    NotLeader,
    /// It is larger than a record or a batch of the partition can be. Nothing of it is in the log.
    #[error("the records are larger than the partition takes")]
    TooLarge,
    /// The disk has no room. Nothing of it is in the log, and the partition goes on.
    #[error("the disk is full")]
    Full,
}

impl From<AppendFailure> for GroupError {
    fn from(failure: AppendFailure) -> Self {
        match failure {
            AppendFailure::NotAvailable => Self::CoordinatorNotAvailable,
            // Kafka's answer to a storage error: the client looks the coordinator up again, and
            // asks again.
            AppendFailure::NotLeader | AppendFailure::Full => Self::NotCoordinator,
            AppendFailure::TooLarge => Self::UnknownServerError,
        }
    }
}

/// A request to one group, or about all groups of a shard.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Take part in the next generation.
    Join(JoinGroup),
    /// Hand in (the leader) and ask for (everyone) a generation's assignment.
    Sync(SyncGroup),
    /// Keep the session.
    Heartbeat(Heartbeat),
    /// Remove members.
    Leave(LeaveGroup),
    /// Store offsets.
    OffsetCommit(OffsetCommit),
    /// Read offsets.
    OffsetFetch(OffsetFetch),
    /// Forget some offsets.
    OffsetDelete(OffsetDelete),
    /// Show one group.
    Describe(Str),
    /// Show all groups of the shard in short.
    List(ListGroups),
    /// Remove one group and its offsets.
    Delete(Str),
}

/// Whether a record can hold these strings.
fn all_fit<'a>(strings: impl IntoIterator<Item = &'a Str>) -> bool {
    strings
        .into_iter()
        .all(|text| text.len() <= GROUP_STRING_BYTES_MAX)
}

impl JoinGroup {
    fn fits(&self) -> bool {
        let ids = [&self.group_id, &self.member_id, &self.protocol_type];
        let names = self.protocols.iter().map(|p| &p.name);
        let metadata = self.protocols.iter().map(|p| p.metadata.len());
        self.protocols.len() <= GROUP_PROTOCOLS_MAX
            && all_fit(ids.into_iter().chain(&self.group_instance_id).chain(names))
            && metadata.fold(0, usize::saturating_add) <= GROUP_MEMBER_METADATA_BYTES_MAX
    }
}

impl Request {
    /// Refuses what would be kept, and is larger than a record or a group's memory can hold. What a
    /// request only asks about needs no bound: it is looked up and forgotten.
    ///
    /// # Errors
    /// [`GroupError::InvalidRequest`].
    pub(super) fn check(&self) -> Result<(), GroupError> {
        let fits = match self {
            Self::Join(request) => request.fits(),
            Self::OffsetCommit(request) => {
                let topics = request.topics.iter().map(|t| &t.topic.name);
                all_fit(core::iter::once(&request.group_id).chain(topics))
            }
            _ => true,
        };
        fits.then_some(()).ok_or(GroupError::InvalidRequest)
    }

    /// The answer that refuses this request as a whole.
    #[must_use]
    pub fn refused(&self, error: GroupError) -> Response {
        match self {
            Self::Join(r) => Response::Join(JoinAnswer::refused(r.member_id.clone(), error)),
            Self::Sync(_) => Response::Sync(Err(error)),
            // A member that hears nothing bad keeps its place while its group is being loaded.
            Self::Heartbeat(_) if error == GroupError::CoordinatorLoadInProgress => {
                Response::Heartbeat(Ok(()))
            }
            Self::Heartbeat(_) => Response::Heartbeat(Err(error)),
            Self::Leave(_) => Response::Leave(Err(error)),
            Self::OffsetCommit(_) => Response::OffsetCommit(Err(error)),
            Self::OffsetFetch(_) => Response::OffsetFetch(Err(error)),
            Self::OffsetDelete(_) => Response::OffsetDelete(Err(error)),
            Self::Describe(_) => Response::Describe(Err(error)),
            Self::List(_) => Response::List(Err(error)),
            Self::Delete(_) => Response::Delete(Err(error)),
        }
    }
}

/// The answer to the [`Request`] of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To [`Request::Join`].
    Join(JoinAnswer),
    /// To [`Request::Sync`].
    Sync(Result<Assignment, GroupError>),
    /// To [`Request::Heartbeat`].
    Heartbeat(Result<(), GroupError>),
    /// To [`Request::Leave`]: an answer for each member, in the request's order.
    Leave(Result<Vec<MemberResult>, GroupError>),
    /// To [`Request::OffsetCommit`].
    OffsetCommit(Result<Vec<TopicResults>, GroupError>),
    /// To [`Request::OffsetFetch`].
    OffsetFetch(Result<Vec<FetchedTopic>, GroupError>),
    /// To [`Request::OffsetDelete`].
    OffsetDelete(Result<Vec<TopicResults>, GroupError>),
    /// To [`Request::Describe`].
    Describe(Result<GroupDescription, GroupError>),
    /// To [`Request::List`].
    List(Result<Vec<GroupListing>, GroupError>),
    /// To [`Request::Delete`].
    Delete(Result<(), GroupError>),
}

/// An assignor (or whatever the protocol type calls it) that a member supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: Str,
    /// What the member wants its leader to know; opaque here but for a consumer's topics.
    pub metadata: Bytes,
}

/// JoinGroup.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct JoinGroup {
    /// The group.
    pub group_id: Str,
    /// Without a heartbeat for this long the member is out.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for this member; the session time-out in version 0.
    pub rebalance_timeout_ms: i32,
    /// Empty at first.
    pub member_id: Str,
    /// Set for a static member (KIP-345).
    pub group_instance_id: Option<Str>,
    /// "consumer", "connect", ...
    pub protocol_type: Str,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    /// The random part of the member id, should the member need one.
    pub new_member_uuid: Uuid,
    /// Whether the client is to be told its member id before it may join (version 4 on, KIP-394).
    pub requires_member_id: bool,
    /// Whether a returning static leader can be told to leave the assignment (version 9, KIP-814).
    pub can_skip_assignment: bool,
}

/// The answer to JoinGroup.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct JoinAnswer {
    /// `None` for success.
    pub error: Option<GroupError>,
    /// -1 with an error.
    pub generation_id: i32,
    /// The group's, with success.
    pub protocol_type: Option<Str>,
    /// The elected protocol, with success.
    pub protocol_name: Option<Str>,
    /// The leader's member id; empty with an error.
    pub leader: Str,
    /// The leader keeps the assignment that there is.
    pub skip_assignment: bool,
    /// The member's id.
    pub member_id: Str,
    /// For the leader: everyone.
    pub members: Vec<JoinedMember>,
}

impl JoinAnswer {
    /// A refusal.
    #[must_use]
    pub fn refused(member_id: Str, error: GroupError) -> Self {
        Self {
            error: Some(error),
            generation_id: -1,
            member_id,
            ..Self::default()
        }
    }
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Str,
    /// Its static id.
    pub group_instance_id: Option<Str>,
    /// Its metadata for the elected protocol.
    pub metadata: Bytes,
}

/// SyncGroup.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SyncGroup {
    /// The group.
    pub group_id: Str,
    /// The generation that was joined.
    pub generation_id: i32,
    /// The member.
    pub member_id: Str,
    /// Its static id.
    pub group_instance_id: Option<Str>,
    /// What the member thinks the group's is (version 5 on, KIP-559).
    pub protocol_type: Option<Str>,
    /// What the member thinks was elected (version 5 on).
    pub protocol_name: Option<Str>,
    /// The leader's decision, by member id.
    pub assignments: Vec<(Str, Bytes)>,
}

/// A member's part of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Assignment {
    /// The group's protocol type.
    pub protocol_type: Option<Str>,
    /// The elected protocol.
    pub protocol_name: Option<Str>,
    /// What the leader decided; opaque.
    pub assignment: Bytes,
}

/// Heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// The group.
    pub group_id: Str,
    /// The member's generation.
    pub generation_id: i32,
    /// The member.
    pub member_id: Str,
    /// Its static id.
    pub group_instance_id: Option<Str>,
}

/// LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LeaveGroup {
    /// The group.
    pub group_id: Str,
    /// Who leaves. An empty member id with a static id is an operator removing a static member.
    pub members: Vec<MemberIdentity>,
}

/// A member, by either of its ids.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MemberIdentity {
    /// May be empty when the static id is set.
    pub member_id: Str,
    /// The static id.
    pub group_instance_id: Option<Str>,
}

/// What came of one member's leaving.
pub type MemberResult = (MemberIdentity, Result<(), GroupError>);

/// A topic, by name and, where the caller knows it, id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TopicName {
    /// The name.
    pub name: Str,
    /// [`Uuid::ZERO`] if unknown.
    pub id: Uuid,
}

/// OffsetCommit, for topics that the metadata knows.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct OffsetCommit {
    /// The group; may be empty.
    pub group_id: Str,
    /// -1 for a commit from outside of the group's membership.
    pub generation_id: i32,
    /// Empty for a commit from outside.
    pub member_id: Str,
    /// The member's static id.
    pub group_instance_id: Option<Str>,
    /// Versions 2 to 4: keep the offsets for this long; -1 for the broker's own retention.
    pub retention_time_ms: i64,
    /// Whether an unknown group is GROUP_ID_NOT_FOUND (version 9 on) or ILLEGAL_GENERATION.
    pub knows_group_id_not_found: bool,
    /// What to store.
    pub topics: Vec<CommitTopic>,
}

/// One topic of [`OffsetCommit`].
#[derive(Clone, Debug, PartialEq, Default)]
pub struct CommitTopic {
    /// The topic.
    pub topic: TopicName,
    /// Its partitions.
    pub partitions: Vec<CommitPartition>,
}

/// One partition of [`OffsetCommit`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CommitPartition {
    /// The partition.
    pub partition: i32,
    /// The position to store.
    pub offset: i64,
    /// The leader epoch of the last record consumed; -1 if unknown.
    pub leader_epoch: i32,
    /// The client's note; null and empty are the same.
    pub metadata: Option<Str>,
}

/// What came of each partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TopicResults {
    /// The topic.
    pub topic: TopicName,
    /// Partition and result, in the request's order.
    pub partitions: Vec<(i32, Option<GroupError>)>,
}

/// OffsetFetch for one group.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct OffsetFetch {
    /// The group.
    pub group_id: Str,
    /// The partitions asked for; `None` for all that have an offset.
    pub topics: Option<Vec<(TopicName, Vec<i32>)>>,
    /// Refuse offsets that an open transaction may change (KIP-447).
    pub require_stable: bool,
}

/// One topic of the answer to [`OffsetFetch`].
#[derive(Clone, Debug, PartialEq, Default)]
pub struct FetchedTopic {
    /// The topic.
    pub topic: TopicName,
    /// Its partitions.
    pub partitions: Vec<FetchedOffset>,
}

/// One partition of the answer to [`OffsetFetch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    /// The partition.
    pub partition: i32,
    /// -1 if there is none.
    pub offset: i64,
    /// -1 if unknown.
    pub leader_epoch: i32,
    /// The client's note.
    pub metadata: Str,
    /// The id of the topic that was committed; [`Uuid::ZERO`] if unknown. It may be an earlier topic's of
    /// the same name where all offsets are asked for.
    pub topic_id: Uuid,
    /// Set for an offset that may not be shown.
    pub error: Option<GroupError>,
}

/// OffsetDelete.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OffsetDelete {
    /// The group.
    pub group_id: Str,
    /// The partitions.
    pub topics: Vec<(Str, Vec<i32>)>,
}

/// What DescribeGroups says of a group.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct GroupDescription {
    /// Kafka's name of the state.
    pub state: &'static str,
    /// Empty if the group has none.
    pub protocol_type: Str,
    /// The elected protocol, while stable.
    pub protocol: Str,
    /// The members; their metadata only while stable.
    pub members: Vec<MemberDescription>,
}

/// What DescribeGroups says of a member.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: Str,
    /// Its static id.
    pub group_instance_id: Option<Str>,
    /// The client id it joined with.
    pub client_id: Str,
    /// Where it joined from.
    pub client_host: Str,
    /// Its metadata for the elected protocol.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// ListGroups. Filters are compared without regard to case; an empty one lets everything through.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ListGroups {
    /// Names of states (KIP-518).
    pub states: Vec<Str>,
    /// Names of types (KIP-848).
    pub types: Vec<Str>,
}

/// What ListGroups says of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// The group.
    pub group_id: Str,
    /// Empty for a group that only stores offsets.
    pub protocol_type: Str,
    /// Kafka's name of the state.
    pub state: &'static str,
    /// Kafka's name of the type.
    pub group_type: &'static str,
}
