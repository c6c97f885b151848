//! What the controller is asked and what it answers.

use alloc::boxed::Box;
use alloc::string::String;

use ottla_wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, UpdateFeaturesRequest,
    UpdateFeaturesResponse,
};
use ottla_wire::metadata::RegisterControllerRecord;
use ottla_wire::{ErrorCode, Str};

use super::activation::SelfRegistration;

/// What the controller is asked. Clients' requests are taken as they came.
#[derive(Clone, Debug)]
pub enum Request {
    /// Make topics.
    CreateTopics(CreateTopicsRequest),
    /// Delete topics, by name or id.
    DeleteTopics(DeleteTopicsRequest),
    /// Give topics more partitions.
    CreatePartitions(CreatePartitionsRequest),
    /// Replace all configured values of resources.
    AlterConfigs(AlterConfigsRequest),
    /// Change some configured values of resources (KIP-339).
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    /// Change the finalized levels of features (KIP-584).
    UpdateFeatures {
        /// The request.
        request: UpdateFeaturesRequest,
        /// Its version: what an upgrade is was said in two ways.
        version: i16,
    },
    /// Give a broker a block of producer ids.
    AllocateProducerIds {
        /// The broker.
        broker_id: i32,
    },
    /// Take in a controller's registration.
    RegisterController(RegisterControllerRecord),
    /// Take in this broker's registration, fenced.
    RegisterBroker(Box<SelfRegistration>),
    /// Let a registered broker lead and be talked to.
    UnfenceBroker {
        /// The broker.
        broker_id: i32,
    },
    /// Make a restarted broker the leader of the partitions that it may lead, each under a new
    /// epoch. One batch of them at a time: [`Response::Elected`] says where to go on.
    ElectAfterRestart {
        /// The broker.
        broker_id: i32,
        /// The first topic and partition; `None` for the very first.
        from: Option<(Str, i32)>,
    },
    /// Forget a broker.
    UnregisterBroker {
        /// The broker.
        broker_id: i32,
    },
}

/// What the controller answers; each stands for one [`Request`].
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To `CreateTopics`.
    CreateTopics(CreateTopicsResponse),
    /// To `DeleteTopics`.
    DeleteTopics(DeleteTopicsResponse),
    /// To `CreatePartitions`.
    CreatePartitions(CreatePartitionsResponse),
    /// To `AlterConfigs`.
    AlterConfigs(AlterConfigsResponse),
    /// To `IncrementalAlterConfigs`.
    IncrementalAlterConfigs(IncrementalAlterConfigsResponse),
    /// To `UpdateFeatures`.
    UpdateFeatures(UpdateFeaturesResponse),
    /// To `AllocateProducerIds`.
    ProducerIds(ProducerIdBlock),
    /// To `RegisterBroker`: the broker's epoch.
    Registered {
        /// The epoch.
        broker_epoch: i64,
    },
    /// To `ElectAfterRestart`.
    Elected {
        /// Where to go on; `None` if all is done.
        next: Option<(Str, i32)>,
    },
    /// To the others: it is done.
    Done,
}

/// Producer ids for one broker to hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first.
    pub first: i64,
    /// How many.
    pub length: i64,
}

/// A whole request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AnswerError {
    /// Kafka's code.
    pub code: ErrorCode,
    /// Kafka's words.
    pub message: &'static str,
}

/// A part of a request is refused: the code and the words that go to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// Kafka's code.
    pub code: ErrorCode,
    /// In words.
    pub message: Option<String>,
}

impl ApiError {
    /// With words.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }

    /// With Kafka's standing words for the code.
    #[must_use]
    pub fn plain(code: ErrorCode) -> Self {
        let words = match code {
            ErrorCode::UnknownTopicOrPartition => "This server does not host this topic-partition.",
            ErrorCode::UnknownTopicId => "This server does not host this topic ID.",
            ErrorCode::NotController => "This is not the correct controller for this cluster.",
            _ => {
                return Self {
                    code,
                    message: None,
                };
            }
        };
        Self::new(code, words)
    }

    /// The two fields that responses have for it.
    #[must_use]
    pub fn into_fields(self) -> (i16, Option<Str>) {
        (self.code as i16, self.message.map(Str::from))
    }
}

/// The fields of a result that may be an error; success has no words.
pub(super) fn fields<T>(result: Result<T, ApiError>) -> (i16, Option<Str>) {
    match result {
        Ok(_) => (ErrorCode::None as i16, None),
        Err(error) => error.into_fields(),
    }
}
