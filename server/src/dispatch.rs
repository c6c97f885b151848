//! From a frame to a handler and back: the table of APIs.
//!
//! `apis!` below is the one place that says which APIs this broker speaks, in which versions, and
//! who answers them. An API is advertised exactly when it has a line there, so nothing is advertised
//! that has no handler. Versions are those of Apache Kafka 4.3.0.
//!
//! A request that cannot be read gets what Kafka gives: the connection is closed, because a client
//! and a broker that disagree about where a frame's fields lie have nothing more to say to each
//! other. ApiVersions alone is answered in any version, in the form of version 0 (KIP-35).

use std::{future::Future, ops::RangeInclusive, pin::Pin, sync::Arc};

use bytes::Bytes;
use ottla_io::Io;
use ottla_wire::{
    ApiRequest, DecodeError, Decoder, EncodeError, Encoder, Message, Pieces, UnknownApiKey,
    messages::{self, ApiKey, RequestHeader, ResponseHeader, api_versions_response::ApiVersion},
};

use crate::{
    broker::Broker,
    context::{ConnectionInfo, RequestContext},
    handlers::{
        api_versions, configs_admin, delete_groups, delete_records, describe_cluster,
        describe_configs, describe_groups, describe_log_dirs, describe_producers, describe_quorum,
        describe_topic_partitions, fetch, find_coordinator, heartbeat, init_producer_id,
        join_group, leave_group, list_groups, list_offsets, metadata, offset_commit, offset_delete,
        offset_fetch, offset_for_leader_epoch, produce, sync_group, topics_admin,
    },
};

/// A request on its way to an answer.
pub type Answering = Pin<Box<dyn Future<Output = Result<Answer, RequestError>> + Send>>;

/// What becomes of a request.
#[derive(Debug)]
pub enum Answer {
    /// These bytes: a frame, its length before it.
    Respond(Pieces),
    /// Nothing: the client asked for no answer (a produce request with acks=0).
    Silence,
    /// The connection ends: the only way to tell a client that wants no answer that it failed.
    Close,
}

/// Why a request cannot be answered. Its connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The frame is too short to say what it asks for.
    #[error("a frame of {len} bytes is no request")]
    NoHeader {
        /// The frame's length.
        len: usize,
    },
    /// There is no such API.
    #[error(transparent)]
    UnknownApi(#[from] UnknownApiKey),
    /// This broker does not have the API.
    #[error("{api} is not served here")]
    ApiNotServed {
        /// The API.
        api: ApiKey,
    },
    /// This broker has the API in other versions.
    #[error("{api} version {version} is not served here, only {min} to {max}")]
    VersionNotServed {
        /// The API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
        /// The oldest here.
        min: i16,
        /// The newest here.
        max: i16,
    },
    /// Its header cannot be read.
    #[error("the header of {api} version {version} cannot be read: {error}")]
    BadHeader {
        /// The API.
        api: ApiKey,
        /// The version.
        version: i16,
        /// What is wrong.
        error: DecodeError,
    },
    /// Its body cannot be read.
    #[error("{api} version {version} cannot be read: {error}")]
    BadBody {
        /// The API.
        api: ApiKey,
        /// The version.
        version: i16,
        /// What is wrong.
        error: DecodeError,
    },
    /// The answer cannot be written: a fault of ours.
    #[error("the answer to {api} version {version} cannot be written: {error}")]
    BadAnswer {
        /// The API.
        api: ApiKey,
        /// The version.
        version: i16,
        /// What is wrong.
        error: EncodeError,
    },
}

/// A request whose header is read and whose API and version are served.
#[derive(Debug)]
pub struct Request {
    /// Its circumstances.
    pub context: RequestContext,
    /// Reads its body.
    body: Decoder,
    /// An ApiVersions request in a version that is not served.
    unsupported_api_versions: bool,
}

/// Reads a frame's header.
///
/// # Errors
/// When the frame is no request that this broker serves.
pub fn read_header(
    frame: Bytes,
    connection: &Arc<ConnectionInfo>,
) -> Result<Request, RequestError> {
    let Some((&[key_high, key_low, version_high, version_low], _)) = frame.split_first_chunk()
    else {
        return Err(RequestError::NoHeader { len: frame.len() });
    };
    let api = ApiKey::try_from(i16::from_be_bytes([key_high, key_low]))?;
    let version = i16::from_be_bytes([version_high, version_low]);
    let served = line(api).ok_or(RequestError::ApiNotServed { api })?;
    let is_served = served.served.contains(&version);
    if !is_served && api != ApiKey::ApiVersions {
        let (min, max) = (*served.served.start(), *served.served.end());
        return Err(RequestError::VersionNotServed {
            api,
            version,
            min,
            max,
        });
    }
    let mut body = Decoder::new(frame);
    let header =
        RequestHeader::decode(&mut body, api.request_header_version(version)).map_err(|error| {
            RequestError::BadHeader {
                api,
                version,
                error,
            }
        })?;
    Ok(Request {
        context: RequestContext {
            api_key: api,
            api_version: if is_served { version } else { 0 },
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            connection: Arc::clone(connection),
        },
        body,
        unsupported_api_versions: !is_served,
    })
}

/// Starts to answer a request. Nothing happens before the future's first poll, which reads the body.
pub fn answer<I: Io>(broker: &Arc<Broker<I>>, request: Request) -> Answering {
    let broker = Arc::clone(broker);
    if request.unsupported_api_versions {
        let context = request.context;
        return Box::pin(async move {
            let response = api_versions::unsupported_version();
            Ok(Answer::Respond(encode(&context, &response)?))
        });
    }
    route(broker, request)
}

struct Line {
    /// The versions with a handler.
    served: RangeInclusive<i16>,
    /// The versions that are told to clients: see Produce.
    advertised: RangeInclusive<i16>,
}

/// Makes the table's look-ups. A line is `Api: its request, versions that are told, handler;`, with
/// `silent_if`, for an API where some requests want no answer, and what then closes the connection.
macro_rules! apis {
    ($(
        $api:ident: $request:ident, $min:literal..=$max:literal, $handler:path
        $(, silent_if $silent:expr, close_if $failed:expr)?;
    )*) => {
        /// Every API in the table.
        pub(crate) const SERVED: &[ApiKey] = &[$(ApiKey::$api),*];

        fn line(api: ApiKey) -> Option<Line> {
            match api {
                $(ApiKey::$api => Some(Line {
                    served: i16::max($min, messages::$request::MIN_VERSION)..=$max,
                    advertised: $min..=$max,
                }),)*
                #[allow(unreachable_patterns, reason = "the table may come to hold every API")]
                _ => None,
            }
        }

        fn route<I: Io>(broker: Arc<Broker<I>>, request: Request) -> Answering {
            let Request { context, body, .. } = request;
            match context.api_key {
                $(ApiKey::$api => Box::pin(async move {
                    let request = decode::<messages::$request>(&context, body)?;
                    $(let silent = ($silent as fn(&messages::$request) -> bool)(&request);)?
                    let response = $handler(&broker, &context, request).await;
                    $(if silent {
                        let failed: fn(&ResponseTo<messages::$request>) -> bool = $failed;
                        return Ok(if failed(&response) { Answer::Close } else { Answer::Silence });
                    })?
                    Ok(Answer::Respond(encode(&context, &response)?))
                }),)*
                #[allow(unreachable_patterns, reason = "the table may come to hold every API")]
                api => Box::pin(std::future::ready(Err(RequestError::ApiNotServed { api }))),
            }
        }

        #[cfg(test)]
        fn decode_default_of_every_version() {
            $(for version in line(ApiKey::$api).unwrap().served {
                let request = messages::$request::default();
                if let Ok(bytes) = request.to_bytes(version) {
                    messages::$request::decode_exact(bytes, version).unwrap();
                }
                let response = ResponseTo::<messages::$request>::default();
                if let Ok(bytes) = response.to_bytes(version) {
                    ResponseTo::<messages::$request>::decode_exact(bytes, version).unwrap();
                }
                assert_eq!(<messages::$request as ApiRequest>::KEY, ApiKey::$api);
            })*
        }
    };
}

// The table, in the order of the keys.
apis! {
    Produce: ProduceRequest, 0..=13, produce::handle, silent_if |request| request.acks == 0, close_if produce::has_errors;
    Fetch: FetchRequest, 4..=18, fetch::handle;
    ListOffsets: ListOffsetsRequest, 1..=11, list_offsets::handle;
    Metadata: MetadataRequest, 0..=13, metadata::handle;
    OffsetCommit: OffsetCommitRequest, 2..=10, offset_commit::handle;
    OffsetFetch: OffsetFetchRequest, 1..=10, offset_fetch::handle;
    FindCoordinator: FindCoordinatorRequest, 0..=6, find_coordinator::handle;
    JoinGroup: JoinGroupRequest, 0..=9, join_group::handle;
    Heartbeat: HeartbeatRequest, 0..=4, heartbeat::handle;
    LeaveGroup: LeaveGroupRequest, 0..=5, leave_group::handle;
    SyncGroup: SyncGroupRequest, 0..=5, sync_group::handle;
    DescribeGroups: DescribeGroupsRequest, 0..=6, describe_groups::handle;
    ListGroups: ListGroupsRequest, 0..=5, list_groups::handle;
    ApiVersions: ApiVersionsRequest, 0..=4, api_versions::handle;
    CreateTopics: CreateTopicsRequest, 2..=7, topics_admin::create_topics;
    DeleteTopics: DeleteTopicsRequest, 1..=6, topics_admin::delete_topics;
    DeleteRecords: DeleteRecordsRequest, 0..=2, delete_records::handle;
    InitProducerId: InitProducerIdRequest, 0..=5, init_producer_id::handle;
    OffsetForLeaderEpoch: OffsetForLeaderEpochRequest, 2..=4, offset_for_leader_epoch::handle;
    DescribeConfigs: DescribeConfigsRequest, 1..=4, describe_configs::handle;
    AlterConfigs: AlterConfigsRequest, 0..=2, configs_admin::alter_configs;
    DescribeLogDirs: DescribeLogDirsRequest, 1..=5, describe_log_dirs::handle;
    CreatePartitions: CreatePartitionsRequest, 0..=3, topics_admin::create_partitions;
    DeleteGroups: DeleteGroupsRequest, 0..=2, delete_groups::handle;
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest, 0..=1, configs_admin::incremental_alter_configs;
    OffsetDelete: OffsetDeleteRequest, 0..=0, offset_delete::handle;
    DescribeQuorum: DescribeQuorumRequest, 0..=2, describe_quorum::handle;
    UpdateFeatures: UpdateFeaturesRequest, 0..=2, configs_admin::update_features;
    DescribeCluster: DescribeClusterRequest, 0..=2, describe_cluster::handle;
    DescribeProducers: DescribeProducersRequest, 0..=0, describe_producers::handle;
    ListConfigResources: ListConfigResourcesRequest, 0..=1, configs_admin::list_config_resources;
    DescribeTopicPartitions: DescribeTopicPartitionsRequest, 0..=0, describe_topic_partitions::handle;
}

#[allow(
    dead_code,
    reason = "used where an API has requests that want no answer"
)]
type ResponseTo<Q> = <Q as ApiRequest>::Response;

/// What is told of the table to clients.
#[must_use]
pub fn advertised() -> Vec<ApiVersion> {
    let told = |&api: &ApiKey| {
        let versions = line(api)?.advertised;
        Some(ApiVersion {
            api_key: api.code(),
            min_version: *versions.start(),
            max_version: *versions.end(),
            ..Default::default()
        })
    };
    SERVED.iter().filter_map(told).collect()
}

fn decode<Q: ApiRequest>(context: &RequestContext, body: Decoder) -> Result<Q, RequestError> {
    let (api, version) = (context.api_key, context.api_version);
    let mut body = body;
    // Bytes behind the body are ignored, as Kafka ignores them.
    Q::decode(&mut body, version).map_err(|error| RequestError::BadBody {
        api,
        version,
        error,
    })
}

/// The response's frame: length, header and body. Its payloads are not copied.
fn encode<M: Message>(context: &RequestContext, response: &M) -> Result<Pieces, RequestError> {
    let (api, version) = (context.api_key, context.api_version);
    let header = ResponseHeader {
        correlation_id: context.correlation_id,
        ..Default::default()
    };
    let mut encoder = Encoder::framed();
    header
        .encode(&mut encoder, api.response_header_version(version))
        .and_then(|()| response.encode(&mut encoder, version))
        .map_err(|error| RequestError::BadAnswer {
            api,
            version,
            error,
        })?;
    Ok(encoder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_advertised_version_is_one_of_the_wire_and_decodes() {
        decode_default_of_every_version();
        for told in advertised() {
            let api = ApiKey::try_from(told.api_key).unwrap();
            let valid = api.valid_versions();
            assert!(valid.contains(&told.max_version), "{api}");
            // librdkafka compresses only for a broker that says it takes Produce 0 (KAFKA-18659).
            assert!(
                api == ApiKey::Produce || valid.contains(&told.min_version),
                "{api}"
            );
        }
    }

    #[test]
    fn the_table_is_in_the_order_of_the_keys() {
        assert!(SERVED.is_sorted_by(|one, other| one.code() < other.code()));
    }
}
