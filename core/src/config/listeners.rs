//! Listeners: `NAME://HOST:PORT`, and which security protocol each name speaks.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

/// How a listener's connections are secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Kafka's number, as metadata records carry it.
    #[must_use]
    pub fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [
            Self::Plaintext,
            Self::Ssl,
            Self::SaslPlaintext,
            Self::SaslSsl,
        ]
        .into_iter()
        .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in capitals.
    pub name: String,
    /// The host name or address; empty for all of the machine's addresses.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How its connections are secured.
    pub protocol: SecurityProtocol,
}

/// A listener that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerError {
    /// Not of the form.
    #[error("expected NAME://HOST:PORT, got {got}")]
    WrongForm {
        /// What was there.
        got: String,
    },
    /// The name is not in listener.security.protocol.map.
    #[error("no security protocol defined for listener {name} in listener.security.protocol.map")]
    NoProtocol {
        /// The listener's name.
        name: String,
    },
    /// The map names a protocol that does not exist.
    #[error("expected NAME:PROTOCOL in listener.security.protocol.map, got {got}")]
    WrongProtocol {
        /// What was there.
        got: String,
    },
    /// Two listeners have one name.
    #[error("listener names must be unique, got {name} twice")]
    SameName {
        /// The name.
        name: String,
    },
    /// Two listeners have one port on one host.
    #[error("listener ports must be unique, got {port} twice")]
    SamePort {
        /// The port.
        port: u16,
    },
}

/// Reads a list of listeners. `protocols` is `listener.security.protocol.map`.
pub fn parse(list: &[String], protocols: &[String]) -> Result<Vec<Listener>, ListenerError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for text in list {
        let listener = parse_one(text, protocols)?;
        if listeners.iter().any(|other| other.name == listener.name) {
            return Err(ListenerError::SameName {
                name: listener.name,
            });
        }
        let same_port = |other: &Listener| {
            other.port == listener.port && other.port != 0 && other.host == listener.host
        };
        if listeners.iter().any(same_port) {
            return Err(ListenerError::SamePort {
                port: listener.port,
            });
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn parse_one(text: &str, protocols: &[String]) -> Result<Listener, ListenerError> {
    let wrong = || ListenerError::WrongForm {
        got: text.to_string(),
    };
    let (name, address) = text.split_once("://").ok_or_else(wrong)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    // An IPv6 address stands in brackets, so that its colons are not the port's.
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
        None if host.contains(':') => return Err(wrong()),
        None => host,
    };
    let valid = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
    if name.is_empty() || !name.chars().all(valid) {
        return Err(wrong());
    }
    let name = name.to_ascii_uppercase();
    let protocol = protocol_of(&name, protocols)?;
    Ok(Listener {
        name,
        host: host.to_string(),
        port,
        protocol,
    })
}

/// The protocol of the listener `name`, by `listener.security.protocol.map`.
pub fn protocol_of(name: &str, protocols: &[String]) -> Result<SecurityProtocol, ListenerError> {
    for entry in protocols {
        let wrong = || ListenerError::WrongProtocol { got: entry.clone() };
        let (listener, protocol) = entry.split_once(':').ok_or_else(wrong)?;
        if listener.trim().eq_ignore_ascii_case(name) {
            return SecurityProtocol::parse(protocol.trim()).ok_or_else(wrong);
        }
    }
    Err(ListenerError::NoProtocol {
        name: name.to_string(),
    })
}

#[cfg(test)]
mod tests {

    use super::*;

    fn read(list: &[&str]) -> Result<Vec<Listener>, ListenerError> {
        let list: Vec<_> = list.iter().map(ToString::to_string).collect();
        parse(
            &list,
            &[
                "PLAINTEXT:PLAINTEXT".into(),
                "IN:SSL".into(),
                "BAD:X".into(),
            ],
        )
    }

    #[test]
    fn name_host_port_and_protocol_are_read() {
        let listeners = read(&["plaintext://:9092", "IN://[::1]:9093"]).unwrap();
        assert_eq!((listeners[0].host.as_str(), listeners[0].port), ("", 9092));
        assert_eq!(
            (listeners[1].host.as_str(), listeners[1].protocol),
            ("::1", SecurityProtocol::Ssl)
        );
    }

    #[test]
    fn what_is_no_listener_is_refused() {
        for text in [
            "",
            "PLAINTEXT",
            "PLAINTEXT://h",
            "PLAINTEXT://h:70000",
            "://h:1",
            "A B://h:1",
            "PLAINTEXT://::1:9",
        ] {
            assert!(
                matches!(read(&[text]), Err(ListenerError::WrongForm { .. })),
                "{text}"
            );
        }
        assert!(matches!(
            read(&["OTHER://h:1"]),
            Err(ListenerError::NoProtocol { .. })
        ));
        assert!(matches!(
            read(&["BAD://h:1"]),
            Err(ListenerError::WrongProtocol { .. })
        ));
    }

    #[test]
    fn two_listeners_of_one_name_or_one_port_are_refused() {
        assert!(matches!(
            read(&["PLAINTEXT://h:1", "PLAINTEXT://h:2"]),
            Err(ListenerError::SameName { .. })
        ));
        assert!(matches!(
            read(&["PLAINTEXT://h:1", "IN://h:1"]),
            Err(ListenerError::SamePort { .. })
        ));
    }
}
