//! What a configuration file says, and what is refused.

use super::*;

fn read(file: &str) -> Result<BrokerConfig, ConfigError> {
    BrokerConfig::from_properties(file.as_bytes(), &[])
}

#[test]
fn without_a_file_one_node_listens_on_loopback() {
    let config = BrokerConfig::single_node(&[]).unwrap();
    assert_eq!(
        (config.node_id, config.roles.broker, config.roles.controller),
        (1, true, true)
    );
    assert_eq!(
        (config.listeners[0].host.as_str(), config.listeners[0].port),
        ("127.0.0.1", 9092)
    );
    assert_eq!(config.log_dirs, [PathBuf::from("./ottla-data")]);
    assert!(config.unknown_keys.is_empty());
}

#[test]
fn a_file_written_for_kafka_is_taken_as_it_is() {
    let config = read(
        "process.roles=broker,controller\nnode.id=7\n\
         controller.quorum.bootstrap.servers=localhost:9093\n\
         listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
         inter.broker.listener.name=PLAINTEXT\n\
         advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL\n\
         num.network.threads=3\nnum.io.threads=8\nlog.dirs=/tmp/a,/tmp/b\n\
         share.coordinator.state.topic.replication.factor=1\nlog.retention.hours=168\n",
    )
    .unwrap();
    assert_eq!(config.node_id, 7);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.controller_listeners[0].port, 9093);
    assert_eq!(config.advertised_listeners[0].host, "localhost");
    assert_eq!(config.metadata_log_dir, PathBuf::from("/tmp/a"));
    assert_eq!(config.warnings(), [""; 0]);
}

#[test]
fn overrides_are_stronger_than_the_file() {
    let overrides = ["node.id=3".to_owned(), " num.partitions = 4 ".to_owned()];
    let config = BrokerConfig::from_properties(b"node.id=2", &overrides).unwrap();
    assert_eq!((config.node_id, config.get_i64("num.partitions")), (3, 4));
    let wrong = BrokerConfig::from_properties(b"", &["num.partitions".to_owned()]);
    assert!(matches!(wrong, Err(ConfigError::WrongOverride { .. })));
}

#[test]
fn a_wrong_value_is_refused_with_key_value_and_reason() {
    let error = read("num.partitions=0").unwrap_err().to_string();
    assert_eq!(
        error,
        "Invalid value 0 for configuration num.partitions: Value must be at least 1"
    );
}

#[test]
fn keys_that_nobody_knows_are_named_not_refused() {
    assert_eq!(
        read("zookeeper.connect=x\nfoo=1").unwrap().unknown_keys,
        ["foo", "zookeeper.connect"]
    );
}

#[test]
fn a_listener_that_is_encrypted_is_refused_as_not_supported_yet() {
    assert!(matches!(
        read("listeners=SSL://:9092"),
        Err(ConfigError::NotSupported { .. })
    ));
}

#[test]
fn a_wildcard_may_be_bound_but_not_advertised() {
    assert_eq!(
        read("listeners=PLAINTEXT://:9092")
            .unwrap()
            .advertised_listeners[0]
            .host,
        "localhost"
    );
    let error = read("advertised.listeners=PLAINTEXT://0.0.0.0:9092").unwrap_err();
    assert!(matches!(error, ConfigError::WildcardAdvertised { .. }));
}

#[test]
fn a_listener_without_a_host_is_advertised_as_the_machine_and_one_with_a_host_is_not() {
    let mut config = read(
        "listeners=PLAINTEXT://:9092,IN://127.0.0.1:9094\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,IN:PLAINTEXT",
    )
    .unwrap();
    assert_eq!(config.wildcard_listeners, ["PLAINTEXT"]);
    config.advertise_wildcards_as("here");
    let hosts: Vec<_> = config
        .advertised_listeners
        .iter()
        .map(|l| &l.host)
        .collect();
    assert_eq!(hosts, ["here", "127.0.0.1"]);
}

#[test]
fn an_advertised_listener_that_does_not_exist_is_refused() {
    let error = read(
        "advertised.listeners=OTHER://h:9092\nlistener.security.protocol.map=OTHER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    );
    assert!(matches!(error, Err(ConfigError::UnknownAdvertised { .. })));
    let error = read(
        "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
         controller.listener.names=CONTROLLER\nadvertised.listeners=CONTROLLER://h:9093",
    );
    assert!(matches!(error, Err(ConfigError::NoAdvertised)));
}

#[test]
fn a_listener_for_brokers_that_does_not_exist_is_refused() {
    let error = read("inter.broker.listener.name=OTHER");
    assert!(matches!(
        error,
        Err(ConfigError::NoInterBrokerListener { .. })
    ));
}

#[test]
fn an_override_of_log_dir_is_stronger_than_the_built_in_directory() {
    let one = |text: &str| BrokerConfig::single_node(&[text.to_owned()]).unwrap();
    assert_eq!(one("log.dir=/data").log_dirs, [PathBuf::from("/data")]);
    assert_eq!(one("log.dirs=/a,/b").log_dirs.len(), 2);
}

#[test]
fn a_log_directory_without_a_name_and_one_named_twice_are_refused() {
    for (text, reason) in [
        ("log.dirs=", Reason::EmptyName),
        ("log.dirs=/a,", Reason::EmptyName),
        ("log.dir=", Reason::EmptyName),
        ("log.dirs=/a,/b,/a", Reason::Twice("/a".to_owned())),
    ] {
        match read(text) {
            Err(ConfigError::Invalid(invalid)) => assert_eq!(invalid.reason, reason, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn bounds_that_are_not_taken_as_given_are_told() {
    let error = read("max.connections.per.ip.overrides=10.0.0.1").unwrap_err();
    assert!(error.to_string().contains("ADDRESS:COUNT"), "{error}");
    let told = read(
        "max.connections.per.ip.overrides=10.0.0.1:3,localhost:4\n\
         socket.request.max.bytes=2000000000",
    )
    .unwrap()
    .warnings();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("2000000000") && told[1].contains("localhost:4"));
}

#[test]
fn node_id_and_broker_id_must_agree() {
    assert_eq!(read("broker.id=4").unwrap().node_id, 4);
    assert!(matches!(
        read("broker.id=4\nnode.id=5"),
        Err(ConfigError::TwoIds { .. })
    ));
}
