//! Emits one module of messages: the Rust file of one folder of tables.

use std::fmt::Write;

use crate::emit_struct;
use crate::names::snake;
use crate::parse::{Kind, Message};

/// The code of a folder of tables.
pub(crate) fn group(group: &str, messages: &[Message]) -> String {
    let mut out = String::new();
    for message in messages {
        self::message(&mut out, message);
    }
    for message in messages {
        let _ = writeln!(
            out,
            "pub use self::{}::{};",
            snake(&message.name),
            message.name
        );
    }
    match group {
        "rpc" => crate::emit_api::apis(&mut out, messages),
        "metadata" => crate::emit_api::metadata_records(&mut out, messages),
        "group" | "transaction" | "share" => {
            crate::emit_api::coordinator_records(&mut out, messages)
        }
        _ => {}
    }
    each(&mut out, group, "each", messages, |_| true);
    if group == "rpc" {
        each(&mut out, group, "each_request", messages, |message| {
            message.kind == Kind::Request
        });
    }
    out
}

/// Emits the macro `name` for tests: it calls another with each of the messages that are wanted.
fn each(
    out: &mut String,
    group: &str,
    name: &str,
    messages: &[Message],
    wanted: fn(&Message) -> bool,
) {
    let calls: String = messages
        .iter()
        .filter(|message| !message.versions.is_empty() && wanted(message))
        .map(|message| format!("$f!({}::{});", group_path(group), message.name))
        .collect();
    let _ = writeln!(
        out,
        "#[cfg(test)]\nmacro_rules! {name} {{ ($f:ident) => {{ {calls} }} }}\n\
         #[cfg(test)]\npub(crate) use {name};"
    );
}

fn group_path(group: &str) -> String {
    let module = if group == "rpc" { "messages" } else { group };
    format!("crate::{module}")
}

fn message(out: &mut String, message: &Message) {
    let _ = writeln!(
        out,
        "/// `{}`{}.\npub mod {} {{\nuse crate::codec::prelude::*;",
        message.name,
        message
            .key
            .map_or(String::new(), |key| format!(", key {key}")),
        snake(&message.name)
    );
    for one in &message.structs {
        emit_struct::structure(out, message, one);
    }
    let (name, versions) = (&message.name, message.versions);
    let flexible = if message.flexible.is_empty() {
        "i16::MAX".into()
    } else {
        message.flexible.lo.to_string()
    };
    let _ = writeln!(
        out,
        "impl Message for {name} {{ const MIN_VERSION: i16 = {}; const MAX_VERSION: i16 = {}; \
         const FLEXIBLE_FROM: i16 = {flexible}; }}",
        versions.lo, versions.hi
    );
    if let Some(key) = message.key {
        match message.kind {
            Kind::Request => {
                let response = name.replace("Request", "Response");
                let api = name.strip_suffix("Request").unwrap_or(name);
                let _ = writeln!(
                    out,
                    "impl ApiRequest for {name} {{ const KEY: ApiKey = ApiKey::{api}; \
                     type Response = super::{}::{response}; }}",
                    snake(&response)
                );
            }
            Kind::Response => {
                let api = name.strip_suffix("Response").unwrap_or(name);
                let _ = writeln!(
                    out,
                    "impl ApiResponse for {name} {{ const KEY: ApiKey = ApiKey::{api}; }}"
                );
            }
            _ => {
                let _ = writeln!(
                    out,
                    "impl {name} {{ /// The number that names this record's type.\npub const KEY: i16 = {key}; }}"
                );
            }
        }
    }
    out.push_str("}\n");
}
