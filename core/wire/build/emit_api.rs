//! Emits the enums over many messages: `ApiKey`, the request and response bodies, and the records
//! that carry the number of their type.

use std::fmt::Write;

use crate::parse::{Kind, Message};

fn of_kind(messages: &[Message], kind: Kind) -> Vec<&Message> {
    let mut found: Vec<&Message> = messages.iter().filter(|m| m.kind == kind).collect();
    found.sort_by_key(|m| m.key);
    found
}

/// Emits `ApiKey` with its table, `RequestBody` and `ResponseBody`.
pub(crate) fn apis(out: &mut String, messages: &[Message]) {
    let requests = of_kind(messages, Kind::Request);
    let responses = of_kind(messages, Kind::Response);
    out.push_str(
        "/// What a request asks for.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\npub enum ApiKey {\n",
    );
    let mut all = String::new();
    let mut infos = String::new();
    let mut from = String::new();
    for (request, response) in requests.iter().zip(&responses) {
        let (key, api) = (request.key.unwrap_or_default(), api(request));
        let _ = writeln!(out, "/// `{api}`\n{api} = {key},");
        let _ = write!(all, "ApiKey::{api}, ");
        let _ = write!(from, "{key} => Ok(ApiKey::{api}), ");
        let flexible = |m: &Message| {
            if m.flexible.is_empty() {
                i16::MAX
            } else {
                m.flexible.lo
            }
        };
        let listens = |name: &str| request.listeners.iter().any(|l| l == name);
        let _ = writeln!(
            infos,
            "ApiInfo {{ name: \"{api}\", min: {}, max: {}, request_flexible: {}, response_flexible: {}, \
             latest_unstable: {}, broker: {}, controller: {} }},",
            request.versions.lo,
            request.versions.hi,
            flexible(request),
            flexible(response),
            request.latest_unstable,
            listens("broker"),
            listens("controller"),
        );
    }
    let _ = writeln!(
        out,
        "}}\nimpl ApiKey {{ /// Every key, in order.\npub const ALL: &'static [ApiKey] = &[{all}]; }}\n\
         impl TryFrom<i16> for ApiKey {{ type Error = UnknownApiKey; \
         fn try_from(key: i16) -> Result<Self, UnknownApiKey> {{ match key {{ {from} key => Err(UnknownApiKey(key)) }} }} }}\n\
         pub(crate) static API_INFO: &[ApiInfo] = &[\n{infos}];"
    );
    bodies(out, "RequestBody", "A request of any kind.", &requests);
    bodies(out, "ResponseBody", "A response of any kind.", &responses);
}

fn api(message: &Message) -> &str {
    let name = &message.name;
    name.strip_suffix("Request")
        .or(name.strip_suffix("Response"))
        .unwrap_or(name)
}

fn bodies(out: &mut String, name: &str, what: &str, messages: &[&Message]) {
    let messages: Vec<_> = messages.iter().filter(|m| !m.versions.is_empty()).collect();
    let _ = writeln!(
        out,
        "/// {what}\n#[derive(Clone, Debug, PartialEq)]\npub enum {name} {{"
    );
    let (mut keys, mut reads, mut writes, mut froms) =
        (String::new(), String::new(), String::new(), String::new());
    for message in &messages {
        let (api, ty) = (api(message), &message.name);
        let _ = writeln!(out, "/// `{ty}`\n{api}({ty}),");
        let _ = write!(keys, "Self::{api}(_) => ApiKey::{api}, ");
        let _ = write!(
            reads,
            "ApiKey::{api} => Self::{api}({ty}::decode(d, version)?), "
        );
        let _ = write!(writes, "Self::{api}(m) => m.encode(e, version), ");
        let _ = writeln!(
            froms,
            "impl From<{ty}> for {name} {{ fn from(m: {ty}) -> Self {{ Self::{api}(m) }} }}"
        );
    }
    let _ = writeln!(
        out,
        "}}\nimpl {name} {{\n/// Which API this is of.\npub fn api_key(&self) -> ApiKey {{ match self {{ {keys} }} }}\n\
         /// Reads the body of `api` in `version`.\n\
         pub fn decode(api: ApiKey, version: i16, d: &mut Decoder) -> Result<Self, DecodeError> {{ \
         Ok(match api {{ {reads} removed => return Err(DecodeError::UnsupportedVersion {{ \
         message: removed.name(), version, min: 0, max: -1 }}) }}) }}\n\
         /// Writes the body in `version`.\n\
         pub fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {{ match self {{ {writes} }} }}\n}}\n{froms}"
    );
}

/// Emits `MetadataRecord`.
pub(crate) fn metadata_records(out: &mut String, messages: &[Message]) {
    let records = of_kind(messages, Kind::Metadata);
    out.push_str(
        "/// A record of the metadata log, of any kind.\n#[derive(Clone, Debug, PartialEq)]\npub enum MetadataRecord {\n",
    );
    let mut arms = Arms::default();
    for record in records {
        let ty = &record.name;
        let variant = ty.strip_suffix("Record").unwrap_or(ty);
        let _ = writeln!(out, "/// `{ty}`\n{variant}({ty}),");
        arms.add(ty, variant);
        let _ = write!(arms.max, "{ty}::KEY => {ty}::MAX_VERSION, ");
        let _ = writeln!(
            arms.froms,
            "impl From<{ty}> for MetadataRecord {{ fn from(r: {ty}) -> Self {{ Self::{variant}(r) }} }}"
        );
    }
    let Arms {
        keys,
        reads,
        writes,
        froms,
        max,
    } = arms;
    let _ = writeln!(
        out,
        "}}\nimpl MetadataRecord {{\n\
         /// The number of the record's type.\npub fn api_key(&self) -> i16 {{ match self {{ {keys} }} }}\n\
         /// The newest version of the record type `api_key`.\n\
         pub fn max_version(api_key: i16) -> Option<i16> {{ Some(match api_key {{ {max} _ => return None }}) }}\n\
         pub(crate) fn read_body(d: &mut Decoder, api_key: i16, version: i16) -> Result<Self, DecodeError> {{ \
         Ok(match api_key {{ {reads} key => return Err(DecodeError::UnknownRecordType {{ key }}) }}) }}\n\
         pub(crate) fn write_body(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {{ \
         match self {{ {writes} }} }}\n}}\n{froms}"
    );
}

#[derive(Default)]
struct Arms {
    keys: String,
    reads: String,
    writes: String,
    froms: String,
    max: String,
}

impl Arms {
    fn add(&mut self, ty: &str, variant: &str) {
        let _ = write!(self.keys, "Self::{variant}(_) => {ty}::KEY, ");
        let _ = write!(
            self.reads,
            "{ty}::KEY => Self::{variant}({ty}::decode(d, version)?), "
        );
        let _ = write!(self.writes, "Self::{variant}(m) => m.encode(e, version), ");
    }
}

/// Emits `CoordinatorKey` and `CoordinatorValue`.
pub(crate) fn coordinator_records(out: &mut String, messages: &[Message]) {
    let keys = of_kind(messages, Kind::CoordinatorKey);
    let values = of_kind(messages, Kind::CoordinatorValue);
    coordinator(
        out,
        "CoordinatorKey",
        "The key of a coordinator's record, of any type.",
        "Key",
        &keys,
    );
    coordinator(
        out,
        "CoordinatorValue",
        "The value of a coordinator's record, of any type.",
        "Value",
        &values,
    );
}

fn coordinator(out: &mut String, name: &str, what: &str, suffix: &str, messages: &[&Message]) {
    let _ = writeln!(
        out,
        "/// {what}\n#[derive(Clone, Debug, PartialEq)]\npub enum {name} {{"
    );
    let mut arms = Arms::default();
    for message in messages {
        let ty = &message.name;
        let variant = ty.strip_suffix(suffix).unwrap_or(ty);
        let _ = writeln!(out, "/// `{ty}`\n{variant}({ty}),");
        arms.add(ty, variant);
        let _ = writeln!(
            arms.froms,
            "impl From<{ty}> for {name} {{ fn from(r: {ty}) -> Self {{ Self::{variant}(r) }} }}"
        );
    }
    let Arms {
        keys,
        reads,
        writes,
        froms,
        ..
    } = arms;
    let _ = writeln!(
        out,
        "}}\nimpl {name} {{\n\
         /// The number of the record's type.\npub fn record_type(&self) -> i16 {{ match self {{ {keys} }} }}\n\
         /// Reads the body of a record of `record_type` in `version`.\n\
         pub(crate) fn read_body(d: &mut Decoder, record_type: i16, version: i16) -> Result<Self, DecodeError> {{ \
         Ok(match record_type {{ {reads} key => return Err(DecodeError::UnknownRecordType {{ key }}) }}) }}\n\
         pub(crate) fn write_body(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {{ \
         match self {{ {writes} }} }}\n}}\n{froms}"
    );
}
