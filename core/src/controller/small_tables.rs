//! The keys of groups and of client metrics subscriptions: two small tables, and what is checked of
//! their values.

use alloc::format;
use alloc::string::String;

use ottla_wire::ErrorCode;

use super::request::ApiError;
use crate::config::{Entries, Kind, Layers, Value, broker_key};

/// A key of a group or of a client metrics subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallKey {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its default.
    pub default: &'static str,
    /// The broker key that gives the default; empty if there is none.
    pub synonym: &'static str,
    /// What it sets, in a sentence or two, as DescribeConfigs shows it.
    pub doc: &'static str,
    /// The least value of a number.
    least: i32,
    /// The words that are allowed; empty if all are.
    words: &'static [&'static str],
}

impl SmallKey {
    const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }
}

const fn number(
    name: &'static str,
    default: &'static str,
    synonym: &'static str,
    least: i32,
) -> SmallKey {
    SmallKey {
        name,
        kind: Kind::Int,
        default,
        synonym,
        doc: "",
        least,
        words: &[],
    }
}

const fn text(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    synonym: &'static str,
    words: &'static [&'static str],
) -> SmallKey {
    SmallKey {
        name,
        kind,
        default,
        synonym,
        doc: "",
        least: 0,
        words,
    }
}

/// The keys of a group, sorted by name.
#[rustfmt::skip]
pub static GROUP_KEYS: &[SmallKey] = &[
    number("consumer.assignment.interval.ms", "1000", "group.consumer.assignment.interval.ms", 0).doc("How many milliseconds lie at the least between two assignments of a consumer group."),
    number("consumer.heartbeat.interval.ms", "5000", "group.consumer.heartbeat.interval.ms", 1).doc("How often a member of a consumer group is told to send a heartbeat, in milliseconds."),
    number("consumer.session.timeout.ms", "45000", "group.consumer.session.timeout.ms", 1).doc("After how many milliseconds without a heartbeat a member of a consumer group is removed."),
    number("share.assignment.interval.ms", "1000", "group.share.assignment.interval.ms", 0).doc("How many milliseconds lie at the least between two assignments of a share group."),
    text("share.auto.offset.reset", Kind::String, "latest", "", &[]).doc("Where a share group starts to read a partition: `earliest`, `latest`, or `by_duration:` and an ISO 8601 duration (PT1H) for records that are not older than it."),
    number("share.delivery.count.limit", "5", "group.share.delivery.count.limit", 2).doc("How often a record is given to a share group before it is given up."),
    number("share.heartbeat.interval.ms", "5000", "group.share.heartbeat.interval.ms", 1).doc("How often a member of a share group is told to send a heartbeat, in milliseconds."),
    text("share.isolation.level", Kind::String, "read_uncommitted", "", &["read_committed", "read_uncommitted"]).doc("Which records of transactions a share group gets: only those that are committed (`read_committed`), or all, even aborted ones (`read_uncommitted`)."),
    number("share.partition.max.record.locks", "2000", "group.share.partition.max.record.locks", 100).doc("How many records of a partition a share group may hold locked at once."),
    number("share.record.lock.duration.ms", "30000", "group.share.record.lock.duration.ms", 1000).doc("How many milliseconds a record stays locked for the member that a share group gave it to."),
    text("share.renew.acknowledge.enable", Kind::Boolean, "true", "", &["true", "false"]).doc("Whether members of a share group may renew the lock of a record."),
    number("share.session.timeout.ms", "45000", "group.share.session.timeout.ms", 1).doc("After how many milliseconds without a heartbeat a member of a share group is removed."),
    number("streams.assignment.interval.ms", "1000", "group.streams.assignment.interval.ms", 0).doc("How many milliseconds lie at the least between two assignments of a streams group."),
    number("streams.heartbeat.interval.ms", "5000", "group.streams.heartbeat.interval.ms", 1).doc("How often a member of a streams group is told to send a heartbeat, in milliseconds."),
    number("streams.initial.rebalance.delay.ms", "3000", "group.streams.initial.rebalance.delay.ms", 0).doc("How many milliseconds a new streams group waits for more members before its first assignment."),
    number("streams.num.standby.replicas", "0", "group.streams.num.standby.replicas", 0).doc("How many standby copies of each task's state a streams group keeps."),
    number("streams.session.timeout.ms", "45000", "group.streams.session.timeout.ms", 1).doc("After how many milliseconds without a heartbeat a member of a streams group is removed."),
];

/// The keys of a client metrics subscription (KIP-714), sorted by name.
#[rustfmt::skip]
pub static CLIENT_METRICS_KEYS: &[SmallKey] = &[
    number("interval.ms", "300000", "", 100).doc("How often a client pushes its metrics, in milliseconds."),
    text("match", Kind::List, "", "", &[]).doc("Which clients the subscription is meant for: NAME=REGEX with commas between them, all of which must fit. Empty: every client."),
    text("metrics", Kind::List, "", "", &[]).doc("What the names of the metrics that are pushed start with, with commas between them. `*` means all metrics, empty none."),
];

/// Checks what is set for a group: each value, the bounds that the broker's own keys are for it, and
/// that a session outlives its heartbeats.
pub(super) fn check_group(layers: &Layers<'_>, values: &Entries) -> Result<(), ApiError> {
    check_table("group", GROUP_KEYS, values)?;
    for key in GROUP_KEYS {
        if let Some(Ok(value)) = values
            .get(key.name)
            .map(|value| value.trim().parse::<i64>())
        {
            check_bounds(layers, key, value)?;
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let name = |what: &str| format!("{kind}.{what}.ms");
        let (session, heartbeat) = (name("session.timeout"), name("heartbeat.interval"));
        let is_set = values.contains_key(&session) || values.contains_key(&heartbeat);
        if is_set && in_force(layers, values, &session) <= in_force(layers, values, &heartbeat) {
            return refuse(format!("{session} must be greater than {heartbeat}"));
        }
    }
    Ok(())
}

/// `group.consumer.session.timeout.ms` has the bounds `group.consumer.min.session.timeout.ms` and
/// `group.consumer.max.session.timeout.ms`, and so have the others, as far as there are such keys. One
/// name leaves a word out: `group.streams.max.standby.replicas`.
fn check_bounds(layers: &Layers<'_>, key: &SmallKey, value: i64) -> Result<(), ApiError> {
    let bound = |which: &str| {
        let rest = key.synonym.strip_prefix("group.")?;
        let (kind, rest) = rest.split_once('.')?;
        let rest = rest.strip_prefix("num.").unwrap_or(rest);
        let name = broker_key(&format!("group.{kind}.{which}.{rest}"))?.name;
        match layers.broker_value(name) {
            Some(Value::Integer(bound)) => Some((name, bound)),
            _ => None,
        }
    };
    match (bound("min"), bound("max")) {
        (Some((name, least)), _) if value < least => refuse(format!(
            "{} must be greater than or equal to {name}",
            key.name
        )),
        (_, Some((name, most))) if value > most => {
            refuse(format!("{} must be less than or equal to {name}", key.name))
        }
        _ => Ok(()),
    }
}

/// A number of a group: its own, or the broker's for all groups.
fn in_force(layers: &Layers<'_>, values: &Entries, name: &str) -> i64 {
    if let Some(Ok(own)) = values.get(name).map(|value| value.trim().parse()) {
        return own;
    }
    let key = GROUP_KEYS.iter().find(|key| key.name == name);
    match key.and_then(|key| layers.broker_value(key.synonym)) {
        Some(Value::Integer(number)) => number,
        _ => 0,
    }
}

/// Checks what is set for a client metrics subscription.
pub(super) fn check_client_metrics(values: &Entries) -> Result<(), ApiError> {
    check_table("client metrics", CLIENT_METRICS_KEYS, values)
}

fn refuse(why: String) -> Result<(), ApiError> {
    Err(ApiError::new(ErrorCode::InvalidConfig, why))
}

fn check_table(what: &str, keys: &[SmallKey], values: &Entries) -> Result<(), ApiError> {
    for (name, value) in values {
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            return refuse(format!("Unknown {what} config name: {name}"));
        };
        let invalid = format!("Invalid value {value} for configuration {name}: ");
        let value = value.trim();
        match (key.kind, value.parse::<i32>()) {
            (Kind::Int, Err(_)) => {
                return refuse(format!("{invalid}Not a number of type INT"));
            }
            (Kind::Int, Ok(number)) if number < key.least => {
                return refuse(format!("{invalid}Value must be at least {}", key.least));
            }
            (Kind::Int, Ok(_)) => {}
            _ if !key.words.is_empty() && !key.words.contains(&value) => {
                let words = key.words.join(", ");
                return refuse(format!("{invalid}String must be one of: {words}"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(set: &[(&str, &str)]) -> Result<(), ApiError> {
        let none = Entries::new();
        let layers = Layers {
            broker: &none,
            cluster: &none,
            file: &none,
        };
        let values = set.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        check_group(&layers, &values.collect())
    }

    #[test]
    fn a_groups_values_are_within_the_brokers_bounds() {
        let session = "consumer.session.timeout.ms";
        assert_eq!(check(&[(session, "45000")]), Ok(()));
        for (set, why) in [
            (
                [(session, "44999")],
                "consumer.session.timeout.ms must be greater than or equal to \
                 group.consumer.min.session.timeout.ms",
            ),
            (
                [(session, "60001")],
                "consumer.session.timeout.ms must be less than or equal to \
                 group.consumer.max.session.timeout.ms",
            ),
            (
                [("share.record.lock.duration.ms", "14999")],
                "share.record.lock.duration.ms must be greater than or equal to \
                 group.share.min.record.lock.duration.ms",
            ),
            (
                [("streams.num.standby.replicas", "3")],
                "streams.num.standby.replicas must be less than or equal to \
                 group.streams.max.standby.replicas",
            ),
        ] {
            let error = check(&set).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidConfig);
            assert_eq!(error.message.as_deref(), Some(why));
        }
    }

    #[test]
    fn a_groups_session_outlives_its_heartbeats() {
        let none = Entries::new();
        let file = Entries::from([
            (
                "group.consumer.min.session.timeout.ms".into(),
                "1000".into(),
            ),
            (
                "group.consumer.max.heartbeat.interval.ms".into(),
                "99000".into(),
            ),
        ]);
        let layers = Layers {
            broker: &none,
            cluster: &none,
            file: &file,
        };
        let values = Entries::from([
            ("consumer.session.timeout.ms".into(), "9000".into()),
            ("consumer.heartbeat.interval.ms".into(), "9000".into()),
        ]);
        let error = check_group(&layers, &values).unwrap_err();
        assert_eq!(
            error.message.as_deref(),
            Some("consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms")
        );
    }
}
