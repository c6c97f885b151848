//! Reads the message tables under `schema/` (their language: `schema/README.md`).
//!
//! Everything that could make the generated code wrong or fail to compile is refused here, with the
//! file and the line, so that a slip in a table never shows up as an error in generated code.

use std::fmt;
use std::path::{Path, PathBuf};

/// An inclusive range of versions; empty when `lo > hi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) lo: i16,
    pub(crate) hi: i16,
}

impl Versions {
    pub(crate) const NONE: Versions = Versions { lo: 0, hi: -1 };

    pub(crate) fn is_empty(self) -> bool {
        self.lo > self.hi
    }

    pub(crate) fn contains(self, version: i16) -> bool {
        (self.lo..=self.hi).contains(&version)
    }

    pub(crate) fn intersect(self, other: Versions) -> Versions {
        Versions {
            lo: self.lo.max(other.lo),
            hi: self.hi.min(other.hi),
        }
    }

    fn parse(text: &str) -> Option<Versions> {
        if text == "none" {
            return Some(Versions::NONE);
        }
        if let Some(lo) = text.strip_suffix('+') {
            return Some(Versions {
                lo: lo.parse().ok()?,
                hi: i16::MAX,
            });
        }
        let (lo, hi) = text.split_once('-').unwrap_or((text, text));
        let (lo, hi) = (lo.parse().ok()?, hi.parse().ok()?);
        (0 <= lo && lo <= hi).then_some(Versions { lo, hi })
    }
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    F64,
    Uuid,
    Str,
    Bytes,
    Struct(String),
    Array(Box<Type>),
}

impl Type {
    fn parse(text: &str) -> Option<Type> {
        if let Some(element) = text.strip_prefix("[]") {
            return match Type::parse(element)? {
                Type::Array(_) | Type::Bytes | Type::Bool | Type::F64 | Type::U16 | Type::U32 => {
                    None
                }
                element => Some(Type::Array(Box::new(element))),
            };
        }
        Some(match text {
            "bool" => Type::Bool,
            "int8" => Type::I8,
            "int16" => Type::I16,
            "uint16" => Type::U16,
            "int32" => Type::I32,
            "uint32" => Type::U32,
            "int64" => Type::I64,
            "float64" => Type::F64,
            "uuid" => Type::Uuid,
            "string" => Type::Str,
            "bytes" | "records" => Type::Bytes,
            name if name.starts_with(|c: char| c.is_ascii_uppercase()) => {
                Type::Struct(name.to_owned())
            }
            _ => return None,
        })
    }

    /// The struct that this is, or that this is an array of.
    pub(crate) fn struct_name(&self) -> Option<&str> {
        match self {
            Type::Struct(name) => Some(name),
            Type::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

/// A field of a struct, in its order on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    pub(crate) tag: Option<u32>,
    pub(crate) default: Option<String>,
    pub(crate) ignorable: bool,
    /// The versions in which a string is compact, where they are not the message's own.
    pub(crate) flexible: Option<Versions>,
}

/// A struct; the first of a message is the message itself.
#[derive(Clone, Debug)]
pub(crate) struct Struct {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Header,
    Metadata,
    CoordinatorKey,
    CoordinatorValue,
    Data,
}

/// One table.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) key: Option<i16>,
    pub(crate) versions: Versions,
    pub(crate) flexible: Versions,
    pub(crate) latest_unstable: bool,
    pub(crate) listeners: Vec<String>,
    pub(crate) structs: Vec<Struct>,
}

impl Message {
    pub(crate) fn find(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|s| s.name == name)
    }
}

/// Where a table is wrong, and how.
#[derive(Debug)]
pub(crate) struct TableError {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// Reads one table.
pub(crate) fn table(file: &Path, text: &str) -> Result<Message, TableError> {
    let at = |line: usize, what: String| TableError {
        file: file.to_owned(),
        line,
        what,
    };
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(i, l)| (i + 1, l))
        .filter(|(_, l)| {
            let l = l.trim();
            !l.is_empty() && !l.starts_with('#')
        });
    let (line, first) = lines
        .next()
        .ok_or_else(|| at(1, "the table is empty".into()))?;
    let mut message = heading(file, first).map_err(|what| at(line, what))?;
    message.structs[0].line = line;

    // The struct that each level of indentation fills.
    let mut open: Vec<usize> = vec![0];
    for (line, text) in lines {
        let indent = text.len() - text.trim_start().len();
        let words: Vec<&str> = text.split_whitespace().collect();
        if indent == 0 {
            let ["struct", name, versions] = words[..] else {
                return Err(at(line, "expected `struct NAME VERSIONS`".into()));
            };
            Versions::parse(versions)
                .ok_or_else(|| at(line, format!("bad versions `{versions}`")))?;
            open = vec![message.structs.len()];
            message.structs.push(Struct {
                line,
                name: name.to_owned(),
                fields: Vec::new(),
            });
            continue;
        }
        let depth = indent / 2;
        if indent % 2 != 0 || depth > open.len() {
            return Err(at(
                line,
                format!("an indentation of {indent} does not continue the lines above"),
            ));
        }
        open.truncate(depth);
        let field = field(line, &words).map_err(|what| at(line, what))?;
        let holder = open[depth - 1];
        if message.structs[holder]
            .fields
            .iter()
            .any(|f| f.name == field.name)
        {
            return Err(at(line, format!("a second field `{}`", field.name)));
        }
        // A struct defined in place gets its fields from the lines indented below this one; where it
        // is defined elsewhere this one stays empty, and `merge_structs` drops it.
        if let Some(name) = field.ty.struct_name().map(str::to_owned) {
            open.push(message.structs.len());
            message.structs.push(Struct {
                line,
                name,
                fields: Vec::new(),
            });
        }
        message.structs[holder].fields.push(field);
    }
    merge_structs(&mut message).map_err(|(line, what)| at(line, what))?;
    check(&message).map_err(|(line, what)| at(line, what))?;
    Ok(message)
}

/// Reads `message NAME KIND [key=N] versions=V [flexible=V] [listeners=A,B] [latest-unstable]`.
fn heading(file: &Path, text: &str) -> Result<Message, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["message", name, kind, attributes @ ..] = &words[..] else {
        return Err("expected `message NAME KIND ...`".into());
    };
    if file.file_stem().and_then(|s| s.to_str()) != Some(name) {
        return Err(format!("the table of `{name}` must lie in {name}.tbl"));
    }
    let kind = match *kind {
        "request" => Kind::Request,
        "response" => Kind::Response,
        "header" => Kind::Header,
        "metadata" => Kind::Metadata,
        "coordinator-key" => Kind::CoordinatorKey,
        "coordinator-value" => Kind::CoordinatorValue,
        "data" => Kind::Data,
        other => return Err(format!("unknown kind `{other}`")),
    };
    let mut message = Message {
        name: (*name).to_owned(),
        kind,
        key: None,
        versions: Versions::NONE,
        flexible: Versions::NONE,
        latest_unstable: false,
        listeners: Vec::new(),
        structs: vec![Struct {
            line: 1,
            name: (*name).to_owned(),
            fields: Vec::new(),
        }],
    };
    for word in attributes {
        match word.split_once('=').unwrap_or((word, "")) {
            ("key", v) => message.key = Some(v.parse().map_err(|_| format!("bad key `{v}`"))?),
            ("versions", v) => message.versions = versions(v)?,
            ("flexible", v) => message.flexible = versions(v)?,
            ("listeners", v) => message.listeners = v.split(',').map(str::to_owned).collect(),
            ("latest-unstable", "") => message.latest_unstable = true,
            _ => return Err(format!("unknown attribute `{word}`")),
        }
    }
    if message.versions.hi == i16::MAX {
        return Err("the versions of a message must end".into());
    }
    if message.key.is_none() && !matches!(kind, Kind::Header | Kind::Data) {
        return Err("a message of this kind needs a key".into());
    }
    Ok(message)
}

fn versions(text: &str) -> Result<Versions, String> {
    Versions::parse(text).ok_or_else(|| format!("bad versions `{text}`"))
}

/// Reads `NAME TYPE VERSIONS [null=V] [tag=N] [default=X] [ignorable] [flexible=V] [key]`.
fn field(line: usize, words: &[&str]) -> Result<Field, String> {
    let [name, ty, versions_text, attributes @ ..] = words else {
        return Err("expected `NAME TYPE VERSIONS ...`".into());
    };
    if !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(format!("bad field name `{name}`"));
    }
    let mut field = Field {
        line,
        name: (*name).to_owned(),
        ty: Type::parse(ty).ok_or_else(|| format!("unknown type `{ty}`"))?,
        versions: versions(versions_text)?,
        nullable: Versions::NONE,
        tag: None,
        default: None,
        ignorable: false,
        flexible: None,
    };
    for word in attributes {
        match word.split_once('=').unwrap_or((word, "")) {
            ("null", v) => field.nullable = versions(v)?,
            ("tag", v) => field.tag = Some(v.parse().map_err(|_| format!("bad tag `{v}`"))?),
            ("default", v) => field.default = Some(v.to_owned()),
            ("flexible", v) => field.flexible = Some(versions(v)?),
            ("ignorable", "") => field.ignorable = true,
            // A fact for tables that are looked up by this field; it changes no byte.
            ("key", "") => {}
            _ => return Err(format!("unknown attribute `{word}`")),
        }
    }
    Ok(field)
}

/// Brings each struct that is used and each that is defined together, by name.
fn merge_structs(message: &mut Message) -> Result<(), (usize, String)> {
    let mut merged: Vec<Struct> = Vec::new();
    for one in message.structs.drain(..) {
        match merged.iter_mut().find(|s| s.name == one.name) {
            None => merged.push(one),
            Some(_) if one.fields.is_empty() => {}
            Some(seen) if seen.fields.is_empty() => *seen = one,
            Some(_) => return Err((one.line, format!("a second struct `{}`", one.name))),
        }
    }
    message.structs = merged;
    Ok(())
}

fn check(message: &Message) -> Result<(), (usize, String)> {
    for (i, one) in message.structs.iter().enumerate() {
        if i > 0 && one.fields.is_empty() {
            return Err((one.line, format!("struct `{}` has no fields", one.name)));
        }
        for field in &one.fields {
            let bad = |what: String| Err((field.line, what));
            let can_be_null = matches!(
                field.ty,
                Type::Str | Type::Bytes | Type::Struct(_) | Type::Array(_)
            );
            if !field.nullable.is_empty() && !can_be_null {
                return bad(format!("`{}` cannot be null", field.name));
            }
            if let Some(tag) = field.tag {
                if one.fields.iter().filter(|f| f.tag == Some(tag)).count() > 1 {
                    return bad(format!("tag {tag} is used twice in `{}`", one.name));
                }
                if field
                    .versions
                    .intersect(message.versions)
                    .intersect(message.flexible)
                    != field.versions.intersect(message.versions)
                {
                    return bad(format!(
                        "`{}` is tagged in versions that are not flexible",
                        field.name
                    ));
                }
            }
            match (&field.default, &field.ty) {
                (None, _) => {}
                (Some(d), _) if d == "null" => {
                    if field.versions.intersect(field.nullable) != field.versions {
                        return bad(format!(
                            "`{}` is null by default but not always nullable",
                            field.name
                        ));
                    }
                }
                (Some(d), Type::Bool) if d == "true" || d == "false" => {}
                (Some(d), Type::I8 | Type::I16 | Type::U16 | Type::I32 | Type::U32 | Type::I64) => {
                    if number(d).is_none_or(|n| !fits(&field.ty, n)) {
                        return bad(format!("bad default `{d}`"));
                    }
                }
                (Some(d), _) => return bad(format!("a default of `{d}` is not for this type")),
            }
        }
    }
    Ok(())
}

/// Whether a number is one of the type's.
fn fits(ty: &Type, n: i64) -> bool {
    match ty {
        Type::I8 => i8::try_from(n).is_ok(),
        Type::I16 => i16::try_from(n).is_ok(),
        Type::U16 => u16::try_from(n).is_ok(),
        Type::I32 => i32::try_from(n).is_ok(),
        Type::U32 => u32::try_from(n).is_ok(),
        _ => true,
    }
}

/// A default in decimal or after `0x`.
pub(crate) fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
