//! The loggers of this process and their levels, which DescribeConfigs shows and
//! IncrementalAlterConfigs changes while it runs (the resource BROKER_LOGGER, KIP-412).
//!
//! A logger is a module path of Rust and stands for all below it; `root` stands for the rest. Its
//! parts are joined by dots, as in Java: `kafka-configs` lets no colon through.
//! Levels are of this process only: a restart forgets them, as at Kafka.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ottla_wire::{ErrorCode, Str, messages::incremental_alter_configs_request::AlterableConfig};
use tracing::warn;

/// What stands for every logger that has no level of its own or of a module above it.
const ROOT: &str = "root";

/// The modules that log, sorted.
const MODULES: &[&str] = &[
    "ottla",
    "ottla.broker",
    "ottla.coordinator",
    "ottla.handlers",
    "ottla.metadata",
    "ottla.net",
    "ottla.storage",
    "ottla_core",
    "ottla_core.controller",
    "ottla_core.group",
    "ottla_core.log",
    "ottla_core.metadata",
    "ottla_io",
];

/// Kafka's levels, and what they are here. Nothing here is fatal and goes on, so `FATAL` shows what
/// `ERROR` shows.
const LEVELS: [(&str, &str); 6] = [
    ("DEBUG", "debug"),
    ("ERROR", "error"),
    ("FATAL", "error"),
    ("INFO", "info"),
    ("TRACE", "trace"),
    ("WARN", "warn"),
];

const SET: i8 = 0;
const DELETE: i8 = 1;

/// Takes a filter in the syntax of `RUST_LOG` into force.
type Apply = dyn Fn(&str) + Send + Sync;

/// The loggers of this process. Clones are the same.
#[derive(Clone)]
pub struct Loggers {
    inner: Arc<Inner>,
}

struct Inner {
    levels: Mutex<Levels>,
    apply: Box<Apply>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Levels {
    root: &'static str,
    /// Each logger with the level that was set for it, if one was.
    own: BTreeMap<String, Option<&'static str>>,
    /// What the first filter said beside levels of modules: kept as it is.
    rest: Vec<String>,
}

impl Loggers {
    /// Loggers that begin with a filter in the syntax of `RUST_LOG`; `apply` is given each that
    /// follows from a change.
    pub fn new(filter: &str, apply: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            inner: Arc::new(Inner {
                levels: Mutex::new(Levels::read(filter)),
                apply: Box::new(apply),
            }),
        }
    }

    /// Every logger with the level in force, sorted by name.
    #[must_use]
    pub fn levels(&self) -> Vec<(String, &'static str)> {
        let levels = self.lock();
        let root = std::iter::once((ROOT.to_owned(), levels.root));
        let own = levels.own.keys();
        let mut all: Vec<_> = root
            .chain(own.map(|name| (name.clone(), levels.in_force(name))))
            .collect();
        all.sort_unstable();
        all
    }

    /// Changes levels, all or none; with `validate_only` none.
    ///
    /// # Errors
    /// What Kafka answers for a logger that does not exist, a level that is none, and operations
    /// that loggers do not know.
    pub fn alter(
        &self,
        changes: &[AlterableConfig],
        validate_only: bool,
    ) -> Result<(), (ErrorCode, String)> {
        let mut levels = self.lock();
        let mut altered = levels.clone();
        for change in changes {
            altered.change(change)?;
        }
        if validate_only || altered == *levels {
            return Ok(());
        }
        *levels = altered;
        (self.inner.apply)(&levels.filter());
        drop(levels);
        for change in changes {
            let to: Option<&Str> = change
                .value
                .as_ref()
                .filter(|_| change.config_operation == SET);
            warn!(logger = %change.name, level = to.map_or("inherited", Str::as_str), "log level changed");
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Levels> {
        self.inner
            .levels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Loggers {
    fn default() -> Self {
        Self::new("info", |_| {})
    }
}

impl fmt::Debug for Loggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loggers").finish_non_exhaustive()
    }
}

impl Levels {
    fn read(filter: &str) -> Self {
        let own = MODULES.iter().map(|name| ((*name).to_owned(), None));
        let mut levels = Self {
            root: "ERROR",
            own: own.collect(),
            rest: Vec::new(),
        };
        for piece in filter.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, level) = piece.split_once('=').unwrap_or(("", piece));
            match (level_of(level), name) {
                (Some(level), "") => levels.root = level,
                (Some(level), name) if !name.contains(['[', '{']) => {
                    levels.own.insert(name.replace("::", "."), Some(level));
                }
                _ => levels.rest.push(piece.to_owned()),
            }
        }
        levels
    }

    fn change(&mut self, change: &AlterableConfig) -> Result<(), (ErrorCode, String)> {
        let name = change.name.as_str();
        let not_allowed = |operation: &str| {
            let words =
                format!("{operation} operation is not allowed for the BROKER_LOGGER resource");
            Err((ErrorCode::InvalidRequest, words))
        };
        let value = match change.config_operation {
            SET => {
                let text = change.value.as_ref().map_or("", Str::as_str);
                Some(text)
            }
            DELETE => None,
            2 => return not_allowed("APPEND"),
            3 => return not_allowed("SUBTRACT"),
            other => return not_allowed(&format!("Unknown operation type {other}")),
        };
        if name != ROOT && !self.own.contains_key(name) {
            let words = format!("Logger {name} does not exist!");
            return Err((ErrorCode::InvalidConfig, words));
        }
        let Some(text) = value else {
            if name == ROOT {
                let words = "Removing the log level of the root logger is not allowed";
                return Err((ErrorCode::InvalidRequest, words.to_owned()));
            }
            self.own.insert(name.to_owned(), None);
            return Ok(());
        };
        let Some((level, _)) = LEVELS.iter().find(|(level, _)| *level == text) else {
            let names = LEVELS.map(|(level, _)| level).join(", ");
            let words = format!(
                "Cannot set the log level of {name} to {text} as it is not a supported log level. \
                 Valid log levels are {names}"
            );
            return Err((ErrorCode::InvalidConfig, words));
        };
        if name == ROOT {
            self.root = level;
        } else {
            self.own.insert(name.to_owned(), Some(level));
        }
        Ok(())
    }

    /// The level of a logger: its own, or that of the nearest module above it.
    fn in_force(&self, name: &str) -> &'static str {
        let mut name = name;
        loop {
            if let Some(Some(level)) = self.own.get(name) {
                return level;
            }
            match name.rsplit_once('.') {
                Some((above, _)) => name = above,
                None => return self.root,
            }
        }
    }

    /// The same in the syntax of `RUST_LOG`.
    fn filter(&self) -> String {
        let tracing = |level: &str| {
            LEVELS
                .iter()
                .find(|(kafka, _)| *kafka == level)
                .map_or("info", |l| l.1)
        };
        let own = self.own.iter();
        let own = own.filter_map(|(name, level)| {
            Some(format!(
                "{}={}",
                name.replace('.', "::"),
                tracing((*level)?)
            ))
        });
        let pieces: Vec<String> = std::iter::once(tracing(self.root).to_owned())
            .chain(own)
            .chain(self.rest.iter().cloned())
            .collect();
        pieces.join(",")
    }
}

fn level_of(text: &str) -> Option<&'static str> {
    let level = LEVELS
        .iter()
        .find(|(kafka, _)| text.eq_ignore_ascii_case(kafka));
    level.map(|(kafka, _)| *kafka)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, operation: i8, level: Option<&str>) -> AlterableConfig {
        AlterableConfig {
            name: name.into(),
            config_operation: operation,
            value: level.map(Str::from),
            ..Default::default()
        }
    }

    fn shown(loggers: &Loggers, name: &str) -> &'static str {
        let levels = loggers.levels();
        levels.iter().find(|(logger, _)| logger == name).unwrap().1
    }

    #[test]
    fn a_level_holds_for_what_lies_below_until_it_is_taken_back() {
        let applied = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&applied);
        let loggers = Loggers::new("warn,a::b=error,[span]=debug", move |filter: &str| {
            seen.lock().unwrap().push(filter.to_owned());
        });
        assert_eq!(shown(&loggers, "ottla.net"), "WARN");
        assert_eq!(shown(&loggers, "a.b"), "ERROR");
        loggers
            .alter(&[change("ottla", SET, Some("DEBUG"))], false)
            .unwrap();
        assert_eq!(shown(&loggers, "ottla.net"), "DEBUG");
        assert_eq!(shown(&loggers, "ottla_core"), "WARN");
        loggers
            .alter(
                &[
                    change("ottla", DELETE, None),
                    change(ROOT, SET, Some("FATAL")),
                ],
                false,
            )
            .unwrap();
        assert_eq!(shown(&loggers, "ottla.net"), "FATAL");
        let applied = applied.lock().unwrap();
        let first = "warn,a::b=error,ottla=debug,[span]=debug".to_owned();
        assert_eq!(
            *applied,
            [first, "error,a::b=error,[span]=debug".to_owned()]
        );
    }

    #[test]
    fn a_wrong_change_is_refused_as_kafka_does_and_changes_nothing() {
        let loggers = Loggers::new("info", |_| panic!("nothing is to change"));
        let good = change("ottla", SET, Some("DEBUG"));
        let cases = [
            (
                change("nobody", SET, Some("INFO")),
                ErrorCode::InvalidConfig,
                "Logger nobody does not exist!",
            ),
            (
                change("ottla", SET, Some("LOUD")),
                ErrorCode::InvalidConfig,
                "Cannot set the log level of ottla to LOUD",
            ),
            (
                change(ROOT, DELETE, None),
                ErrorCode::InvalidRequest,
                "Removing the log level of the root logger",
            ),
            (
                change("ottla", 2, Some("INFO")),
                ErrorCode::InvalidRequest,
                "APPEND operation is not allowed",
            ),
            (
                change("ottla", 3, Some("INFO")),
                ErrorCode::InvalidRequest,
                "SUBTRACT operation is not allowed",
            ),
            (
                change("ottla", 9, Some("INFO")),
                ErrorCode::InvalidRequest,
                "Unknown operation type 9",
            ),
        ];
        for (wrong, code, words) in cases {
            let (got, text) = loggers.alter(&[good.clone(), wrong], false).unwrap_err();
            assert!(got == code && text.starts_with(words), "{got:?} {text}");
        }
        assert_eq!(loggers.alter(&[good], true), Ok(()));
        assert_eq!(shown(&loggers, "ottla"), "INFO");
    }
}
