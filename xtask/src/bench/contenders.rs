//! The brokers that are put side by side.

use std::{env, path::PathBuf};

use serde::Serialize;

use crate::{broker::Broker, interop::Place, process::Failure};

/// A kind of broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Contender {
    Ottla,
    Kafka,
    Klite,
}

impl Contender {
    /// Whom `--against` means.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "kafka" => Some(Self::Kafka),
            "klite" => Some(Self::Klite),
            _ => None,
        }
    }

    /// As it stands in the table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Ottla => "Ottla",
            Self::Kafka => "Apache Kafka 4.3.0",
            Self::Klite => "klite",
        }
    }

    /// A new one on an empty directory. One that makes topics itself gives them so many partitions.
    pub(super) fn start(self, place: &Place, partitions: u32) -> Result<Broker, Failure> {
        match self {
            Self::Ottla => Broker::start(place),
            Self::Kafka => Broker::start_kafka(place),
            Self::Klite => Broker::start_klite(place, &klite()?, partitions),
        }
    }

    /// Whether its topics are made by writing to them: it refuses Kafka's topics tool.
    pub(super) fn makes_topics_itself(self) -> bool {
        self == Self::Klite
    }
}

/// The program that `KLITE` names, or the one on `PATH`.
pub(super) fn klite() -> Result<PathBuf, Failure> {
    if let Some(path) = env::var_os("KLITE") {
        return Ok(PathBuf::from(path));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).map(|place| place.join("klite"));
    places.find(|file| file.is_file()).ok_or_else(|| {
        Failure::Found(
            "there is no klite: build it from github.com/klaudworks/klite (go build ./cmd/klite) \
             and set KLITE to the program"
                .into(),
        )
    })
}
