//! The controller against a simple model, and every row of its errors.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use ottla_wire::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use ottla_wire::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ottla_wire::messages::update_features_request::FeatureUpdateKey;
use ottla_wire::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    IncrementalAlterConfigsRequest, UpdateFeaturesRequest, alter_configs_request,
};
use ottla_wire::metadata::FeatureLevelRecord;
use ottla_wire::{Str, Uuid};
use proptest::prelude::*;

use super::*;
use crate::metadata::{Endpoint, ResourceType, features};

/// A controller with its log: what is appended, and what of it is durable and published.
struct Fixture {
    controller: Controller,
    published: MetadataImage,
    transactions: TransactionBuffer,
    appended: VecDeque<i64>,
    log: Vec<MetadataRecord>,
    answers: BTreeMap<Ticket, Result<Response, AnswerError>>,
    tickets: u64,
}

fn settings() -> ControllerSettings {
    ControllerSettings {
        node_id: 1,
        file: Entries::from([("num.partitions".into(), "3".into())]),
        max_bytes_between_snapshots: u64::MAX,
        max_snapshot_interval: None,
    }
}

fn bootstrap() -> Vec<MetadataRecord> {
    let level = |feature: &features::Feature| {
        FeatureLevelRecord {
            name: feature.name.into(),
            feature_level: feature.default_level,
            ..Default::default()
        }
        .into()
    };
    features::FINALIZED.iter().map(level).collect()
}

impl Fixture {
    /// A controller that leads, with the broker 1 registered and active.
    fn leading() -> Self {
        let mut fixture = Self {
            controller: Controller::new(settings()),
            published: MetadataImage::new(),
            transactions: TransactionBuffer::default(),
            appended: VecDeque::new(),
            log: Vec::new(),
            answers: BTreeMap::new(),
            tickets: 0,
        };
        fixture.become_leader();
        let registration = SelfRegistration {
            broker_id: 1,
            incarnation: Uuid::from_parts(4, 4),
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".into(),
                host: "localhost".into(),
                port: 9092,
                security_protocol: 0,
            }],
            rack: None,
            log_dirs: vec![Uuid::from_parts(5, 5)],
        };
        fixture
            .ask(Request::RegisterBroker(registration.into()))
            .unwrap();
        fixture
            .ask(Request::UnfenceBroker { broker_id: 1 })
            .unwrap();
        fixture
    }

    fn become_leader(&mut self) {
        let log_end = i64::try_from(self.log.len()).unwrap();
        self.step(Input::BecameLeader {
            epoch: 1,
            log_end,
            bootstrap: bootstrap(),
        });
        self.commit_all();
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.controller
            .step(Now::default(), input, &mut out)
            .unwrap();
        for output in out {
            match output {
                Output::Append {
                    base_offset,
                    records,
                } => {
                    let end = base_offset + i64::try_from(records.len()).unwrap();
                    self.appended.push_back(end - 1);
                }
                Output::Publish {
                    last_offset,
                    records,
                } => {
                    self.log.extend(records.iter().cloned());
                    assert_eq!(i64::try_from(self.log.len()).unwrap(), last_offset + 1);
                    let published = &mut self.published;
                    for record in records.iter() {
                        self.transactions
                            .feed(last_offset, record.clone(), |record| {
                                published
                                    .replay(record, &mut MetadataDelta::default())
                                    .map(drop)
                            })
                            .unwrap();
                    }
                }
                Output::Reply { ticket, answer } => {
                    assert!(
                        self.answers.insert(ticket, answer).is_none(),
                        "answered twice"
                    );
                }
                Output::Snapshot { .. } => {}
            }
        }
    }

    fn start(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.step(Input::Request {
            ticket,
            request,
            seed: Seed([self.tickets, 7]),
        });
        ticket
    }

    fn commit_all(&mut self) {
        while let Some(last_offset) = self.appended.pop_front() {
            self.step(Input::Committed {
                last_offset,
                bytes: 100,
            });
        }
    }

    fn ask(&mut self, request: Request) -> Result<Response, AnswerError> {
        let ticket = self.start(request);
        self.commit_all();
        self.answers
            .remove(&ticket)
            .expect("answered once all is committed")
    }

    fn create(&mut self, topic: CreatableTopic) -> (i16, Option<String>) {
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        match self.ask(Request::CreateTopics(request)).unwrap() {
            Response::CreateTopics(mut response) => {
                assert_eq!(response.topics.len(), 1);
                let result = response.topics.remove(0);
                (
                    result.error_code,
                    result.error_message.map(|m| m.to_string()),
                )
            }
            other => panic!("{other:?}"),
        }
    }

    fn grow(&mut self, topic: CreatePartitionsTopic) -> (i16, Option<String>) {
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        match self.ask(Request::CreatePartitions(request)).unwrap() {
            Response::CreatePartitions(response) => {
                let result = response.results[0].clone();
                (
                    result.error_code,
                    result.error_message.map(|m| m.to_string()),
                )
            }
            other => panic!("{other:?}"),
        }
    }

    fn alter(
        &mut self,
        kind: i8,
        name: &str,
        changes: &[(&str, i8, Option<&str>)],
    ) -> (i16, String) {
        let resource = AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: changes
                .iter()
                .map(|(name, op, value)| AlterableConfig {
                    name: (*name).into(),
                    config_operation: *op,
                    value: value.map(Str::from),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![resource],
            ..Default::default()
        };
        match self.ask(Request::IncrementalAlterConfigs(request)).unwrap() {
            Response::IncrementalAlterConfigs(response) => {
                let result = response.responses[0].clone();
                (
                    result.error_code,
                    result.error_message.unwrap_or_default().to_string(),
                )
            }
            other => panic!("{other:?}"),
        }
    }
}

fn topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    }
}

fn config(name: &str, value: Option<&str>) -> CreatableTopicConfig {
    CreatableTopicConfig {
        name: name.into(),
        value: value.map(Str::from),
        ..Default::default()
    }
}

fn assignment(partition_index: i32, broker_ids: &[i32]) -> CreatableReplicaAssignment {
    CreatableReplicaAssignment {
        partition_index,
        broker_ids: broker_ids.to_vec(),
        ..Default::default()
    }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    CreatableTopic {
        replication_factor: -1,
        assignments: assignments
            .iter()
            .map(|(index, ids)| assignment(*index, ids))
            .collect(),
        ..topic(name, -1)
    }
}

#[test]
fn an_empty_log_gets_the_bootstrap_records_in_a_transaction() {
    let fixture = Fixture::leading();
    assert!(matches!(
        fixture.log[0],
        MetadataRecord::BeginTransaction(_)
    ));
    assert!(
        matches!(&fixture.log[1], MetadataRecord::FeatureLevel(r) if r.name == "metadata.version")
    );
    assert!(
        matches!(&fixture.log[7], MetadataRecord::Config(r) if r.name == "min.insync.replicas")
    );
    assert!(matches!(fixture.log[8], MetadataRecord::EndTransaction(_)));
    assert_eq!(fixture.published, *fixture.controller.image());
    // The epoch of a broker is the offset of its record.
    assert_eq!(fixture.published.broker(1).unwrap().epoch, 9);
}

#[test]
fn every_way_in_which_a_topic_cannot_be_created_is_told_as_kafka_tells_it() {
    let long = "x".repeat(250);
    let with = |configs: &[(&str, Option<&str>)]| CreatableTopic {
        configs: configs
            .iter()
            .map(|(name, value)| config(name, *value))
            .collect(),
        ..topic("new", 1)
    };
    let rows: Vec<(CreatableTopic, ErrorCode, &str)> = vec![
        (
            topic("", 1),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: the empty string is not allowed",
        ),
        (
            topic(".", 1),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: '.' is not allowed",
        ),
        (
            topic("..", 1),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: '..' is not allowed",
        ),
        (
            topic(&long, 1),
            ErrorCode::InvalidTopicException,
            "is longer than the max allowed length 249",
        ),
        (
            topic("a b", 1),
            ErrorCode::InvalidTopicException,
            "'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (
            topic("there", 1),
            ErrorCode::TopicAlreadyExists,
            "Topic 'there' already exists.",
        ),
        (
            topic("a.b", 1),
            ErrorCode::InvalidTopicException,
            "Topic 'a.b' collides with existing topic: a_b",
        ),
        (
            topic("__cluster_metadata", 1),
            ErrorCode::InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (
            topic("new", 0),
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            topic("new", -2),
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            CreatableTopic {
                replication_factor: 0,
                ..topic("new", 1)
            },
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            CreatableTopic {
                replication_factor: 3,
                ..topic("new", 1)
            },
            ErrorCode::InvalidReplicationFactor,
            "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 1 broker(s) are registered.",
        ),
        (
            CreatableTopic {
                replication_factor: 1,
                ..assigned("new", &[(0, &[1])])
            },
            ErrorCode::InvalidRequest,
            "replication factor was not set to -1.",
        ),
        (
            CreatableTopic {
                num_partitions: 1,
                ..assigned("new", &[(0, &[1])])
            },
            ErrorCode::InvalidRequest,
            "numPartitions was not set to -1.",
        ),
        (
            assigned("new", &[(0, &[1]), (0, &[1])]),
            ErrorCode::InvalidReplicaAssignment,
            "Found multiple manual partition assignments for partition 0",
        ),
        (
            assigned("new", &[(0, &[1]), (2, &[1])]),
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            assigned("new", &[(0, &[])]),
            ErrorCode::InvalidReplicaAssignment,
            "includes an empty replica list",
        ),
        (
            assigned("new", &[(0, &[9])]),
            ErrorCode::InvalidReplicaAssignment,
            "includes broker 9, but no such broker is registered",
        ),
        (
            assigned("new", &[(0, &[1, 1])]),
            ErrorCode::InvalidReplicaAssignment,
            "includes the broker 1 more than once",
        ),
        (
            with(&[("nonsense", Some("1"))]),
            ErrorCode::InvalidConfig,
            "Unknown topic config name: nonsense",
        ),
        (
            with(&[("retention.ms", None)]),
            ErrorCode::InvalidConfig,
            "Null value not supported for topic configs: retention.ms",
        ),
        (
            with(&[("retention.ms", Some("soon"))]),
            ErrorCode::InvalidConfig,
            "Invalid value soon for configuration retention.ms",
        ),
        (
            with(&[("cleanup.policy", Some("burn"))]),
            ErrorCode::InvalidConfig,
            "Invalid value burn for configuration cleanup.policy",
        ),
        (
            with(&[
                ("min.compaction.lag.ms", Some("9")),
                ("max.compaction.lag.ms", Some("5")),
            ]),
            ErrorCode::InvalidConfig,
            "conflict topic config setting min.compaction.lag.ms (9) > max.compaction.lag.ms (5)",
        ),
    ];
    let mut fixture = Fixture::leading();
    fixture.create(topic("there", 1));
    fixture.create(topic("a_b", 1));
    let before = fixture.published.clone();
    for (topic, code, words) in rows {
        let (got, message) = fixture.create(topic.clone());
        let message = message.unwrap_or_default();
        assert_eq!(got, code as i16, "{}: {message}", topic.name);
        assert!(message.contains(words), "{}: {message}", topic.name);
    }
    assert_eq!(fixture.published, before);
    assert_eq!(*fixture.controller.image(), before);
}

#[test]
fn topics_of_one_request_are_judged_one_by_one_and_duplicates_are_told_once() {
    let mut fixture = Fixture::leading();
    let topics = vec![
        topic("b", 1),
        topic("twice", 1),
        topic("a", -1),
        topic("twice", 2),
    ];
    let request = CreateTopicsRequest {
        topics,
        ..Default::default()
    };
    let Response::CreateTopics(response) = fixture.ask(Request::CreateTopics(request)).unwrap()
    else {
        panic!("another answer")
    };
    let told: Vec<_> = response
        .topics
        .iter()
        .map(|t| (t.name.as_str(), t.error_code, t.num_partitions))
        .collect();
    assert_eq!(told, [("b", 0, 1), ("a", 0, 3), ("twice", 42, -1)]);
    let configs = response.topics[0].configs.as_ref().unwrap();
    let retention = configs.iter().find(|c| c.name == "retention.ms").unwrap();
    assert_eq!(retention.value.as_deref(), Some("604800000"));
    assert!(fixture.published.topic("twice").is_none());
    let ids: BTreeSet<_> = fixture.published.topics().map(|t| t.id).collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn validate_only_changes_nothing() {
    let mut fixture = Fixture::leading();
    let before = fixture.published.clone();
    let request = CreateTopicsRequest {
        topics: vec![topic("t", 1)],
        validate_only: true,
        ..Default::default()
    };
    fixture.ask(Request::CreateTopics(request)).unwrap();
    assert_eq!(fixture.published, before);
    assert_eq!(*fixture.controller.image(), before);
}

#[test]
fn topics_are_deleted_by_name_or_id_and_each_wrong_way_is_told() {
    let mut fixture = Fixture::leading();
    for name in ["a", "b", "c", "d"] {
        fixture.create(topic(name, 1));
    }
    let id = |name: &str| fixture.published.topic_id(name).unwrap();
    let state = |name: Option<&str>, topic_id| DeleteTopicState {
        name: name.map(Str::from),
        topic_id,
        ..Default::default()
    };
    let unknown = Uuid::from_parts(8, 8);
    let topics = vec![
        state(Some("a"), Uuid::ZERO),
        state(None, id("b")),
        state(None, Uuid::ZERO),
        state(Some("c"), id("c")),
        state(None, unknown),
        state(Some("missing"), Uuid::ZERO),
        // The same topic twice, by name and by id.
        state(Some("d"), Uuid::ZERO),
        state(None, id("d")),
        state(Some("twice"), Uuid::ZERO),
        state(Some("twice"), Uuid::ZERO),
    ];
    let request = DeleteTopicsRequest {
        topics,
        ..Default::default()
    };
    let Response::DeleteTopics(response) = fixture.ask(Request::DeleteTopics(request)).unwrap()
    else {
        panic!("another answer")
    };
    let told: Vec<_> = response
        .responses
        .iter()
        .map(|r| {
            (
                r.name.as_deref().unwrap_or("-"),
                ErrorCode::from(r.error_code),
            )
        })
        .collect();
    let expected = [
        ("a", ErrorCode::None),
        ("b", ErrorCode::None),
        ("-", ErrorCode::InvalidRequest),
        ("c", ErrorCode::InvalidRequest),
        ("-", ErrorCode::UnknownTopicId),
        ("missing", ErrorCode::UnknownTopicOrPartition),
        ("d", ErrorCode::InvalidRequest),
        ("twice", ErrorCode::InvalidRequest),
    ];
    assert_eq!(told, expected);
    let left: Vec<_> = fixture
        .published
        .topics()
        .map(|t| t.name.as_str())
        .collect();
    assert_eq!(left, ["c", "d"]);
}

#[test]
fn a_topic_grows_only_to_more_partitions() {
    let mut fixture = Fixture::leading();
    fixture.create(topic("t", 2));
    let to = |count, assignments: Option<Vec<Vec<i32>>>| CreatePartitionsTopic {
        name: "t".into(),
        count,
        assignments: assignments.map(|all| {
            let assignment = |broker_ids| CreatePartitionsAssignment {
                broker_ids,
                ..Default::default()
            };
            all.into_iter().map(assignment).collect()
        }),
        ..Default::default()
    };
    let rows = [
        (to(2, None), 37, "Topic already has 2 partition(s)."),
        (
            to(1, None),
            37,
            "The topic t currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            to(4, Some(vec![vec![1]])),
            39,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            to(3, Some(vec![vec![7]])),
            39,
            "includes broker 7, but no such broker is registered",
        ),
        (to(3, Some(vec![vec![1, 1]])), 39, "more than once"),
        (
            CreatePartitionsTopic {
                name: "no".into(),
                ..to(3, None)
            },
            3,
            "",
        ),
    ];
    for (request, code, words) in rows {
        let (got, message) = fixture.grow(request);
        assert_eq!(got, code, "{message:?}");
        assert!(message.unwrap_or_default().contains(words));
    }
    assert_eq!(fixture.grow(to(3, Some(vec![vec![1]]))).0, 0);
    assert_eq!(fixture.grow(to(5, None)).0, 0);
    assert_eq!(fixture.published.topic("t").unwrap().partition_count(), 5);
}

#[test]
fn configurations_are_changed_key_by_key_and_wrong_ones_are_told() {
    let mut fixture = Fixture::leading();
    fixture.create(topic("t", 1));
    let (set, delete, append, subtract) = (0, 1, 2, 3);
    assert_eq!(
        fixture.alter(2, "t", &[("retention.ms", set, Some("5"))]).0,
        0
    );
    assert_eq!(
        fixture
            .alter(2, "t", &[("cleanup.policy", append, Some("compact"))])
            .0,
        0
    );
    let configs = fixture.published.topic_configs("t").clone();
    assert_eq!(configs["cleanup.policy"], "delete,compact");
    assert_eq!(
        fixture
            .alter(2, "t", &[("cleanup.policy", subtract, Some("delete"))])
            .0,
        0
    );
    assert_eq!(
        fixture.published.topic_configs("t")["cleanup.policy"],
        "compact"
    );
    assert_eq!(
        fixture.alter(2, "t", &[("retention.ms", delete, None)]).0,
        0
    );
    assert_eq!(
        fixture.published.topic_configs("t").get("retention.ms"),
        None
    );
    assert_eq!(
        fixture
            .alter(4, "", &[("log.retention.ms", set, Some("7"))])
            .0,
        0
    );
    assert_eq!(
        fixture
            .alter(4, "1", &[("log.cleaner.threads", set, Some("2"))])
            .0,
        0
    );
    assert_eq!(
        fixture
            .alter(
                32,
                "g",
                &[("consumer.session.timeout.ms", set, Some("50000"))]
            )
            .0,
        0
    );

    type Row = (
        i8,
        &'static str,
        (&'static str, i8, Option<&'static str>),
        ErrorCode,
        &'static str,
    );
    let rows: Vec<Row> = vec![
        (
            2,
            "t",
            ("retention.ms", append, Some("1")),
            ErrorCode::InvalidConfig,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            2,
            "t",
            ("retention.ms", set, None),
            ErrorCode::InvalidRequest,
            "Null value not supported for : retention.ms",
        ),
        (
            2,
            "t",
            ("retention.ms", 9, Some("1")),
            ErrorCode::InvalidRequest,
            "Unknown operations type 9",
        ),
        (
            2,
            "t",
            ("nonsense", set, Some("1")),
            ErrorCode::InvalidConfig,
            "Unknown topic config name: nonsense",
        ),
        (
            2,
            "t",
            ("segment.bytes", set, Some("1")),
            ErrorCode::InvalidConfig,
            "segment.bytes",
        ),
        (
            2,
            "no",
            ("retention.ms", set, Some("1")),
            ErrorCode::UnknownTopicOrPartition,
            "The topic 'no' does not exist.",
        ),
        (
            2,
            "",
            ("retention.ms", set, Some("1")),
            ErrorCode::InvalidRequest,
            "Default topic resources are not allowed.",
        ),
        (
            2,
            "t",
            ("remote.storage.enable", set, Some("true")),
            ErrorCode::InvalidConfig,
            "Tiered Storage functionality is disabled",
        ),
        (
            4,
            "1",
            ("node.id", set, Some("2")),
            ErrorCode::InvalidRequest,
            "Cannot update these configs dynamically: Set(node.id)",
        ),
        (
            4,
            "7",
            ("log.retention.ms", set, Some("2")),
            ErrorCode::InvalidRequest,
            "Unexpected broker id, expected 1, but received 7",
        ),
        (
            4,
            "x",
            ("log.retention.ms", set, Some("2")),
            ErrorCode::InvalidRequest,
            "Node id must be an integer, but it is: x",
        ),
        (
            4,
            "1",
            ("min.insync.replicas", set, Some("2")),
            ErrorCode::InvalidConfig,
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ),
        (
            4,
            "",
            ("min.insync.replicas", delete, None),
            ErrorCode::InvalidConfig,
            "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
        ),
        (
            32,
            "g",
            ("nonsense", set, Some("1")),
            ErrorCode::InvalidConfig,
            "Unknown group config name: nonsense",
        ),
        (
            32,
            "",
            ("consumer.session.timeout.ms", set, Some("1")),
            ErrorCode::InvalidRequest,
            "Default group resources are not allowed.",
        ),
        (
            99,
            "t",
            ("retention.ms", set, Some("1")),
            ErrorCode::InvalidRequest,
            "Unknown resource type 99",
        ),
    ];
    let before = fixture.published.clone();
    for (kind, name, change, code, words) in rows {
        let (got, message) = fixture.alter(kind, name, &[change]);
        assert_eq!(got, code as i16, "{change:?}: {message}");
        assert!(message.contains(words), "{change:?}: {message}");
    }
    let twice = [
        ("retention.ms", set, Some("1")),
        ("retention.ms", set, Some("2")),
    ];
    assert_eq!(
        fixture.alter(2, "t", &twice),
        (42, "Error due to duplicate config keys".into())
    );
    assert_eq!(fixture.published, before);
}

#[test]
fn the_old_request_replaces_all_that_is_configured() {
    let mut fixture = Fixture::leading();
    fixture.create(topic("t", 1));
    fixture.alter(2, "t", &[("retention.ms", 0, Some("5"))]);
    let resource = alter_configs_request::AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configs: vec![alter_configs_request::AlterableConfig {
            name: "segment.bytes".into(),
            value: Some("2000000".into()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = AlterConfigsRequest {
        resources: vec![resource],
        ..Default::default()
    };
    fixture.ask(Request::AlterConfigs(request)).unwrap();
    let configs = fixture.published.topic_configs("t");
    assert_eq!(
        configs,
        &Entries::from([("segment.bytes".into(), "2000000".into())])
    );
}

#[test]
fn features_move_only_where_every_node_can_follow() {
    let mut fixture = Fixture::leading();
    let mut update = |feature: &str, level, upgrade_type| {
        let update = FeatureUpdateKey {
            feature: feature.into(),
            max_version_level: level,
            upgrade_type,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest {
            feature_updates: vec![update],
            ..Default::default()
        };
        match fixture
            .ask(Request::UpdateFeatures {
                request,
                version: 1,
            })
            .unwrap()
        {
            Response::UpdateFeatures(r) => (
                ErrorCode::from(r.error_code),
                r.error_message.unwrap_or_default().to_string(),
            ),
            other => panic!("{other:?}"),
        }
    };
    let refused = ErrorCode::InvalidUpdateVersion;
    for (feature, level, how, words) in [
        (
            "metadata.version",
            31,
            1,
            "Local controller 1 only supports versions 7-30",
        ),
        (
            "metadata.version",
            29,
            1,
            "Can't downgrade the version of this feature without setting the upgrade type",
        ),
        (
            "metadata.version",
            29,
            2,
            "Refusing to perform the requested downgrade because it might delete metadata information.",
        ),
        (
            "metadata.version",
            29,
            3,
            "Unsafe metadata downgrade is not supported in this version.",
        ),
        (
            "transaction.version",
            3,
            1,
            "Local controller 1 only supports versions 0-2",
        ),
        (
            "group.version",
            -1,
            2,
            "A feature version cannot be less than 0.",
        ),
        (
            "group.version",
            0,
            0,
            "The controller does not support the given upgrade type.",
        ),
        (
            "nonsense",
            1,
            1,
            "Local controller 1 does not support this feature.",
        ),
    ] {
        let (code, message) = update(feature, level, how);
        assert_eq!(code, refused, "{feature} {level}: {message}");
        assert!(message.contains(words), "{feature} {level}: {message}");
    }
    assert_eq!(update("transaction.version", 1, 2).0, ErrorCode::None);
    assert_eq!(update("transaction.version", 2, 1).0, ErrorCode::None);
    assert_eq!(fixture.published.feature("transaction.version"), 2);
}

#[test]
fn producer_ids_are_given_in_blocks_that_never_overlap() {
    let mut fixture = Fixture::leading();
    for block in 0..3 {
        match fixture
            .ask(Request::AllocateProducerIds { broker_id: 1 })
            .unwrap()
        {
            Response::ProducerIds(got) => {
                assert_eq!((got.first, got.length), (block * 1000, 1000));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nothing_is_answered_before_it_is_durable_and_a_failed_append_takes_all_back() {
    let mut fixture = Fixture::leading();
    let before = fixture.published.clone();
    let create = |name| {
        Request::CreateTopics(CreateTopicsRequest {
            topics: vec![topic(name, 1)],
            ..Default::default()
        })
    };
    let first = fixture.start(create("t"));
    // It rests on the first, which may yet fail: it waits, though it has nothing to append.
    let second = fixture.start(create("t"));
    assert!(fixture.answers.is_empty());
    assert!(fixture.controller.image().topic("t").is_some());
    fixture.step(Input::AppendFailed);
    for ticket in [first, second] {
        let answer = fixture.answers.remove(&ticket).unwrap();
        assert_eq!(answer.unwrap_err().code, ErrorCode::NotController);
    }
    assert_eq!(*fixture.controller.image(), before);
    fixture.appended.clear();
    let refused = fixture.ask(create("t"));
    assert_eq!(refused.unwrap_err().code, ErrorCode::NotController);
    fixture.become_leader();
    assert!(fixture.ask(create("t")).is_ok());
}

#[test]
fn what_this_broker_does_not_have_is_refused_and_not_taken_without_effect() {
    let mut fixture = Fixture::leading();
    let (code, words) = fixture.alter(8, "1", &[("root", 0, Some("DEBUG"))]);
    assert_eq!(code, ErrorCode::InvalidRequest as i16);
    assert!(words.starts_with("The loggers of a broker"), "{words}");
    for key in ["listeners", "max.connection.creation.rate"] {
        let (code, words) = fixture.alter(4, "1", &[(key, 0, Some("1"))]);
        assert_eq!(code, ErrorCode::InvalidRequest as i16);
        assert!(words.starts_with("Cannot update these configs dynamically"));
    }
    let of_group = [("consumer.session.timeout.ms", 0, Some("1000"))];
    let (code, _) = fixture.alter(32, "g", &of_group);
    assert_eq!(code, ErrorCode::InvalidConfig as i16);
}

#[test]
fn an_append_that_finds_no_room_takes_back_what_is_pending_and_the_controller_goes_on() {
    let mut fixture = Fixture::leading();
    let before = fixture.published.clone();
    let create = |name| {
        Request::CreateTopics(CreateTopicsRequest {
            topics: vec![topic(name, 1)],
            ..Default::default()
        })
    };
    let waiting = [
        fixture.start(create("a")),
        fixture.start(create("b")),
        fixture.start(Request::AllocateProducerIds { broker_id: 1 }),
    ];
    fixture.step(Input::AppendRefused { why: Refusal::Full });
    fixture.appended.clear();
    for ticket in waiting {
        let answer = fixture.answers.remove(&ticket).unwrap();
        assert_eq!(answer.unwrap_err().code, ErrorCode::KafkaStorageError);
    }
    assert_eq!(*fixture.controller.image(), before);
    assert_eq!(fixture.published, before);
    assert!(fixture.ask(create("b")).is_ok());
    assert!(fixture.published.topic("b").is_some());
}

#[test]
fn a_request_whose_records_do_not_fit_a_batch_or_cannot_be_written_is_refused_alone() {
    let mut fixture = Fixture::leading();
    let before = fixture.published.clone();
    let alter = |count: usize, bytes: usize| {
        let configs = (0..count).map(|number| AlterableConfig {
            name: format!("unknown.{number}").into(),
            value: Some("v".repeat(bytes).into()),
            ..Default::default()
        });
        Request::IncrementalAlterConfigs(IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: ResourceType::Broker as i8,
                configs: configs.collect(),
                ..Default::default()
            }],
            ..Default::default()
        })
    };
    let too_much = fixture.ask(alter(600, 32_000)).unwrap_err();
    assert_eq!(too_much.code, ErrorCode::PolicyViolation);
    let too_long = fixture.ask(alter(1, 32_768)).unwrap_err();
    assert_eq!(too_long.code, ErrorCode::InvalidRequest);
    assert_eq!(*fixture.controller.image(), before);
    assert!(fixture.ask(alter(200, 32_000)).is_ok());
}

#[test]
fn a_request_for_too_many_partitions_is_given_up_before_they_are_made() {
    let mut fixture = Fixture::leading();
    // All of them would be ten million records.
    let topics: Vec<_> = (0..1000).map(|n| topic(&format!("t{n}"), 10_000)).collect();
    for validate_only in [false, true] {
        let request = Request::CreateTopics(CreateTopicsRequest {
            topics: topics.clone(),
            validate_only,
            ..Default::default()
        });
        let refused = fixture.ask(request).unwrap_err();
        assert_eq!(refused.code, ErrorCode::PolicyViolation);
    }
    for name in ["a", "b"] {
        assert_eq!(fixture.create(topic(name, 1)).0, 0);
    }
    let grow = |name: &str| CreatePartitionsTopic {
        name: name.into(),
        count: 9_000,
        assignments: None,
        ..Default::default()
    };
    let request = Request::CreatePartitions(CreatePartitionsRequest {
        topics: vec![grow("a"), grow("b")],
        validate_only: true,
        ..Default::default()
    });
    let refused = fixture.ask(request).unwrap_err();
    assert_eq!(refused.code, ErrorCode::PolicyViolation);
}

#[test]
fn a_transaction_that_was_left_open_is_aborted_and_none_of_it_counts() {
    let mut controller = Controller::new(settings());
    let records = [
        ottla_wire::metadata::BeginTransactionRecord::default().into(),
        bootstrap().remove(0),
    ];
    let mut out = Vec::new();
    for (offset, record) in (0..).zip(records) {
        controller
            .step(Now::default(), Input::Replay { offset, record }, &mut out)
            .unwrap();
    }
    let lead = Input::BecameLeader {
        epoch: 2,
        log_end: 2,
        bootstrap: bootstrap(),
    };
    controller.step(Now::default(), lead, &mut out).unwrap();
    let [
        Output::Append {
            base_offset: 2,
            records,
        },
    ] = out.as_slice()
    else {
        panic!("{out:?}")
    };
    assert!(matches!(records[0], MetadataRecord::AbortTransaction(_)));
    assert!(matches!(records[1], MetadataRecord::BeginTransaction(_)));
}

#[test]
fn a_restarted_broker_leads_what_it_was_in_sync_with_under_new_epochs() {
    let mut fixture = Fixture::leading();
    fixture.create(topic("t", 3));
    fixture
        .ask(Request::ElectAfterRestart {
            broker_id: 1,
            from: None,
        })
        .unwrap();
    for partition in fixture.published.topic("t").unwrap().partitions.values() {
        assert_eq!(
            (
                partition.leader,
                partition.leader_epoch,
                partition.partition_epoch
            ),
            (1, 1, 1)
        );
    }
}

#[test]
fn a_snapshot_is_due_after_the_configured_bytes() {
    let mut fixture = Fixture::leading();
    fixture.controller.settings.max_bytes_between_snapshots = 1000;
    let mut out = Vec::new();
    let last_offset = fixture.controller.committed;
    let committed = |bytes| Input::Committed { last_offset, bytes };
    fixture.controller.bytes_since_snapshot = 0;
    fixture
        .controller
        .step(Now::default(), committed(999), &mut out)
        .unwrap();
    assert_eq!(out, []);
    fixture
        .controller
        .step(Now::default(), committed(1), &mut out)
        .unwrap();
    let end_offset = last_offset + 1;
    assert_eq!(
        out,
        [Output::Snapshot {
            end_offset,
            epoch: 1
        }]
    );
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Action {
    Create {
        name: usize,
        partitions: i32,
        retention: Option<i32>,
    },
    Delete {
        name: usize,
    },
    Grow {
        name: usize,
        count: i32,
    },
    Configure {
        name: usize,
        retention: Option<i32>,
    },
    ProducerIds,
    Commit,
    Refuse,
    Fail,
}

fn action() -> impl Strategy<Value = Action> {
    let name = 0..4_usize;
    prop_oneof![
        4 => (name.clone(), 1..4, proptest::option::of(0..100))
            .prop_map(|(name, partitions, retention)| Action::Create { name, partitions, retention }),
        3 => name.clone().prop_map(|name| Action::Delete { name }),
        3 => (name.clone(), 1..6).prop_map(|(name, count)| Action::Grow { name, count }),
        3 => (name, proptest::option::of(0..100))
            .prop_map(|(name, retention)| Action::Configure { name, retention }),
        1 => Just(Action::ProducerIds),
        3 => Just(Action::Commit),
        1 => Just(Action::Refuse),
        1 => Just(Action::Fail),
    ]
}

/// What the cluster should hold: topics with their partition counts and retentions.
type Model = BTreeMap<String, (i32, Option<String>)>;

fn model_of(image: &MetadataImage) -> Model {
    let topic = |t: &crate::metadata::TopicImage| {
        let retention = image.topic_configs(&t.name).get("retention.ms").cloned();
        (t.name.to_string(), (t.partition_count(), retention))
    };
    image.topics().map(topic).collect()
}

/// Does to the model what the action should do, and gives the request.
fn apply(action: &Action, model: &mut Model) -> Option<Request> {
    let name_of = |name: &usize| format!("topic-{name}");
    Some(match action {
        Action::Create {
            name,
            partitions,
            retention,
        } => {
            let (name, retention) = (name_of(name), retention.map(|r| r.to_string()));
            model
                .entry(name.clone())
                .or_insert((*partitions, retention.clone()));
            let configs = retention
                .iter()
                .map(|r| config("retention.ms", Some(r)))
                .collect();
            let topics = vec![CreatableTopic {
                configs,
                ..topic(&name, *partitions)
            }];
            Request::CreateTopics(CreateTopicsRequest {
                topics,
                ..Default::default()
            })
        }
        Action::Delete { name } => {
            model.remove(&name_of(name));
            let topic_names = vec![name_of(name).into()];
            Request::DeleteTopics(DeleteTopicsRequest {
                topic_names,
                ..Default::default()
            })
        }
        Action::Grow { name, count } => {
            if let Some((partitions, _)) = model.get_mut(&name_of(name)) {
                *partitions = (*partitions).max(*count);
            }
            let topic = CreatePartitionsTopic {
                name: name_of(name).into(),
                count: *count,
                assignments: None,
                ..Default::default()
            };
            Request::CreatePartitions(CreatePartitionsRequest {
                topics: vec![topic],
                ..Default::default()
            })
        }
        Action::Configure { name, retention } => {
            let value = retention.map(|r| r.to_string());
            if let Some((_, retention)) = model.get_mut(&name_of(name)) {
                retention.clone_from(&value);
            }
            let change = AlterableConfig {
                name: "retention.ms".into(),
                config_operation: i8::from(value.is_none()),
                value: value.map(Str::from),
                ..Default::default()
            };
            let resource = AlterConfigsResource {
                resource_type: 2,
                resource_name: name_of(name).into(),
                configs: vec![change],
                ..Default::default()
            };
            Request::IncrementalAlterConfigs(IncrementalAlterConfigsRequest {
                resources: vec![resource],
                ..Default::default()
            })
        }
        Action::ProducerIds => Request::AllocateProducerIds { broker_id: 1 },
        Action::Commit | Action::Refuse | Action::Fail => return None,
    })
}

proptest! {
    /// Whatever is asked, committed and lost, in any order: the controller holds what a simple model
    /// holds, what is published is what was committed, and the log gives the same image again.
    #[test]
    fn the_controller_agrees_with_a_simple_model(actions in proptest::collection::vec(action(), 1..60)) {
        let mut fixture = Fixture::leading();
        let (mut pending, mut committed) = (Model::new(), Model::new());
        for action in &actions {
            match apply(action, &mut pending) {
                Some(request) => {
                    fixture.start(request);
                }
                None if matches!(action, Action::Fail) => {
                    fixture.step(Input::AppendFailed);
                    fixture.appended.clear();
                    pending.clone_from(&committed);
                    fixture.become_leader();
                }
                None if matches!(action, Action::Refuse) => {
                    fixture.step(Input::AppendRefused { why: Refusal::Full });
                    fixture.appended.clear();
                    pending.clone_from(&committed);
                }
                None => {
                    fixture.commit_all();
                    committed.clone_from(&pending);
                }
            }
            prop_assert_eq!(model_of(fixture.controller.image()), pending.clone());
            prop_assert_eq!(model_of(&fixture.published), committed.clone());
        }
        fixture.commit_all();
        prop_assert_eq!(fixture.answers.len() as u64, fixture.tickets - 2);
        prop_assert_eq!(fixture.controller.image(), &fixture.published);
        let mut replayed = Controller::new(settings());
        for (offset, record) in (0..).zip(fixture.log) {
            replayed.step(Now::default(), Input::Replay { offset, record }, &mut Vec::new()).unwrap();
        }
        prop_assert_eq!(replayed.image(), &fixture.published);
    }

    /// A snapshot's records make the same image.
    #[test]
    fn an_image_and_its_records_are_the_same(actions in proptest::collection::vec(action(), 1..60)) {
        let mut fixture = Fixture::leading();
        let mut model = Model::new();
        for request in actions.iter().filter_map(|action| apply(action, &mut model)) {
            let _ = fixture.ask(request);
        }
        let mut image = MetadataImage::new();
        let mut delta = MetadataDelta::default();
        let version = fixture.published.metadata_version();
        for record in fixture.published.to_records() {
            // Through the bytes that a snapshot has.
            let bytes = record.to_bytes(crate::metadata::record_version(&record, version)).unwrap();
            let (record, _) = MetadataRecord::decode(bytes).unwrap();
            image.replay(&record, &mut delta).unwrap();
        }
        prop_assert_eq!(image, fixture.published);
    }
}
