//! Emits one struct: its fields, its defaults, and how it is read and written in each version.

use std::fmt::Write;

use crate::names;
use crate::parse::{Field, Message, Struct, Type, Versions, number};

/// A condition on the version `v`, as code.
fn condition(versions: Versions, message: Versions) -> String {
    let within = versions.intersect(message);
    if message.is_empty() || within.is_empty() {
        "false".into()
    } else if within == message {
        "true".into()
    } else if within.lo == within.hi {
        format!("v == {}", within.lo)
    } else if within.hi == message.hi {
        format!("v >= {}", within.lo)
    } else if within.lo == message.lo {
        format!("v <= {}", within.hi)
    } else {
        format!("({}..={}).contains(&v)", within.lo, within.hi)
    }
}

/// A field with all that the emitters ask about it.
struct Plan<'a> {
    field: &'a Field,
    name: String,
    /// When the field is there, when it may be null, and when its lengths are compact.
    present: String,
    null: String,
    flex: String,
    optional: bool,
}

impl<'a> Plan<'a> {
    fn new(field: &'a Field, message: &Message) -> Self {
        let flexible = field.flexible.unwrap_or(message.flexible);
        let flex = match condition(flexible, message.versions).as_str() {
            "true" => "true",
            "false" => "false",
            _ => "flex",
        };
        Plan {
            field,
            name: names::field(&field.name),
            present: condition(field.versions, message.versions),
            null: condition(field.nullable, message.versions),
            flex: flex.into(),
            optional: !field.nullable.is_empty(),
        }
    }

    fn rust_type(&self) -> String {
        let ty = rust_type(&self.field.ty);
        if self.optional {
            format!("Option<{ty}>")
        } else {
            ty
        }
    }

    fn default(&self) -> String {
        let value = match (&self.field.ty, self.field.default.as_deref()) {
            (_, Some("null")) => return "None".into(),
            (Type::Bool, d) => d.unwrap_or("false").into(),
            (Type::I8 | Type::I16 | Type::U16 | Type::I32 | Type::U32 | Type::I64, d) => {
                let n = d.and_then(number).unwrap_or(0);
                match (&self.field.ty, n) {
                    (Type::I32, n) if n == i64::from(i32::MAX) => "i32::MAX".into(),
                    (Type::I32, n) if n == i64::from(i32::MIN) => "i32::MIN".into(),
                    (Type::I64, i64::MAX) => "i64::MAX".into(),
                    _ => n.to_string(),
                }
            }
            (Type::F64, _) => "0.0".into(),
            (Type::Uuid, _) => "Uuid::ZERO".into(),
            (Type::Str, _) => "Str::new()".into(),
            (Type::Bytes, _) => "Bytes::new()".into(),
            (Type::Array(_), _) => "Vec::new()".into(),
            (Type::Struct(name), _) => format!("{name}::default()"),
        };
        if self.optional {
            format!("Some({value})")
        } else {
            value
        }
    }

    /// Whether `self.x` differs from its default, as code.
    fn differs(&self) -> String {
        let x = format!("self.{}", self.name);
        let collection = matches!(self.field.ty, Type::Str | Type::Bytes | Type::Array(_));
        match (self.optional, self.field.default.as_deref()) {
            (true, Some("null")) => format!("{x}.is_some()"),
            (true, _) if collection => format!("{x}.as_ref().is_none_or(|x| !x.is_empty())"),
            (true, _) => format!("{x}.as_ref().is_none_or(|x| *x != Default::default())"),
            (false, _) if collection => format!("!{x}.is_empty()"),
            (false, Some("true")) => format!("!{x}"),
            (false, _) if self.field.ty == Type::Bool => x,
            (false, _) => format!("{x} != {}", self.default()),
        }
    }

    fn read(&self) -> String {
        let (flex, null) = (&self.flex, &self.null);
        match (&self.field.ty, self.optional) {
            (Type::Str, false) => format!("d.str({flex})?"),
            (Type::Str, true) => format!("d.opt_str({flex}, {null})?"),
            (Type::Bytes, false) => format!("d.bytes({flex})?"),
            (Type::Bytes, true) => format!("d.opt_bytes({flex}, {null})?"),
            (Type::Array(_), false) => format!("d.array({flex}, v)?"),
            (Type::Array(_), true) => format!("d.opt_array({flex}, {null}, v)?"),
            (Type::Struct(name), false) => format!("{name}::read(d, v)?"),
            (Type::Struct(_), true) if self.field.tag.is_some() => {
                format!("d.opt_tagged_struct({null}, v)?")
            }
            (Type::Struct(_), true) => format!("d.opt_struct({null}, v)?"),
            (fixed, _) => format!("d.{}()?", method(fixed)),
        }
    }

    fn write(&self, at: &str) -> String {
        let (flex, null, name) = (&self.flex, &self.null, &self.name);
        match (&self.field.ty, self.optional) {
            (Type::Str, false) => format!("e.str({flex}, &self.{name}, {at})?"),
            (Type::Str, true) => format!("e.opt_str({flex}, {null}, self.{name}.as_ref(), {at})?"),
            (Type::Bytes, false) => format!("e.bytes({flex}, &self.{name}, {at})?"),
            (Type::Bytes, true) => {
                format!("e.opt_bytes({flex}, {null}, self.{name}.as_ref(), {at})?")
            }
            (Type::Array(_), false) => format!("e.array({flex}, &self.{name}, v, {at})?"),
            (Type::Array(_), true) => {
                format!("e.opt_array({flex}, {null}, self.{name}.as_deref(), v, {at})?")
            }
            (Type::Struct(_), false) => format!("self.{name}.write(e, v)?"),
            (Type::Struct(_), true) => {
                let null_marker = if self.field.tag.is_some() { "0" } else { "-1" };
                format!("e.opt_struct({null}, {null_marker}, self.{name}.as_ref(), v, {at})?")
            }
            (fixed, _) => format!("e.{}(self.{name})", method(fixed)),
        }
    }

    fn arbitrary(&self) -> String {
        let (present, null) = (&self.present, &self.null);
        let value = match &self.field.ty {
            Type::Array(_) => "g.array(v)".into(),
            Type::Struct(name) => format!("{name}::arbitrary(g, v)"),
            Type::Str => "g.str()".into(),
            Type::Bytes => "g.bytes()".into(),
            fixed => format!("g.{}()", method(fixed)),
        };
        let value = if self.optional {
            format!("if {null} && g.bool() {{ None }} else {{ Some({value}) }}")
        } else {
            value
        };
        format!("if {present} {{ {value} }} else {{ {} }}", self.default())
    }
}

fn rust_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".into(),
        Type::I8 => "i8".into(),
        Type::I16 => "i16".into(),
        Type::U16 => "u16".into(),
        Type::I32 => "i32".into(),
        Type::U32 => "u32".into(),
        Type::I64 => "i64".into(),
        Type::F64 => "f64".into(),
        Type::Uuid => "Uuid".into(),
        Type::Str => "Str".into(),
        Type::Bytes => "Bytes".into(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", rust_type(element)),
    }
}

/// The name of the codec's method for a type of a fixed size.
fn method(ty: &Type) -> String {
    rust_type(ty).to_lowercase()
}

/// Emits a struct and its codec.
pub(crate) fn structure(out: &mut String, message: &Message, one: &Struct) {
    let fields: Vec<Plan<'_>> = one
        .fields
        .iter()
        .filter(|f| !f.versions.intersect(message.versions).is_empty())
        .map(|f| Plan::new(f, message))
        .collect();
    let flexible = !message.flexible.is_empty();
    definition(out, one, &fields, flexible);
    let name = &one.name;
    let sizes: Vec<String> = (message.versions.lo..=message.versions.hi)
        .map(|v| min_size(message, one, v).to_string())
        .collect();
    let _ = writeln!(
        out,
        "impl Struct for {name} {{ const STRUCT_NAME: &'static str = \"{name}\"; \
         const MIN_SIZES: (i16, &'static [u16]) = ({}, &[{}]);",
        message.versions.lo,
        sizes.join(",")
    );
    read(out, message, &fields, flexible);
    write(out, message, one, &fields, flexible);
    out.push_str("}\n");
    arbitrary(out, name, message, &fields, flexible);
}

fn definition(out: &mut String, one: &Struct, fields: &[Plan<'_>], flexible: bool) {
    let name = &one.name;
    let _ = writeln!(
        out,
        "#[derive(Clone, Debug, PartialEq)]\npub struct {name} {{"
    );
    for field in fields {
        let _ = writeln!(out, "pub {}: {},", field.name, field.rust_type());
    }
    if flexible {
        out.push_str("pub unknown_tagged_fields: Vec<RawTaggedField>,\n");
    }
    let _ = writeln!(
        out,
        "}}\nimpl Default for {name} {{ fn default() -> Self {{ Self {{"
    );
    for field in fields {
        let _ = writeln!(out, "{}: {},", field.name, field.default());
    }
    if flexible {
        out.push_str("unknown_tagged_fields: Vec::new(),\n");
    }
    out.push_str("} } }\n");
}

/// Binds `flex`, where the message is flexible in some versions only.
fn bind_flex(out: &mut String, message: &Message) -> String {
    match condition(message.flexible, message.versions) {
        c if c == "true" || c == "false" => c,
        c => {
            let _ = writeln!(out, "let flex = {c};");
            "flex".into()
        }
    }
}

fn read(out: &mut String, message: &Message, fields: &[Plan<'_>], flexible: bool) {
    out.push_str("fn read(d: &mut Decoder, v: i16) -> Result<Self, DecodeError> {\n");
    let flex = bind_flex(out, message);
    for field in fields {
        let name = &field.name;
        let _ = match (field.field.tag, field.present.as_str()) {
            (Some(_), _) => writeln!(out, "let mut {name} = {};", field.default()),
            (None, "true") => writeln!(out, "let {name} = {};", field.read()),
            (None, present) => {
                writeln!(
                    out,
                    "let {name} = if {present} {{ {} }} else {{ {} }};",
                    field.read(),
                    field.default()
                )
            }
        };
    }
    if flexible {
        out.push_str("let mut unknown_tagged_fields = Vec::new();\n");
        let tagged: Vec<_> = fields.iter().filter(|f| f.field.tag.is_some()).collect();
        if tagged.is_empty() {
            let _ = writeln!(
                out,
                "if {flex} {{ d.unknown_tags(&mut unknown_tagged_fields)?; }}"
            );
        } else {
            let _ = writeln!(
                out,
                "if {flex} {{ for _ in 0..d.tag_count()? {{ match d.begin_tag()? {{"
            );
            for field in tagged {
                let guard = match field.present.as_str() {
                    "true" => String::new(),
                    present => format!("if {present} "),
                };
                let _ = writeln!(
                    out,
                    "({}, end) {guard}=> {{ {} = {}; d.end_tag(end)?; }}",
                    field.field.tag.unwrap_or_default(),
                    field.name,
                    field.read()
                );
            }
            out.push_str(
                "(tag, end) => d.unknown_tag(tag, end, &mut unknown_tagged_fields)?,\n} } }\n",
            );
        }
    }
    let names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
    let _ = writeln!(
        out,
        "Ok(Self {{ {}{} }})\n}}",
        names.iter().map(|n| format!("{n}, ")).collect::<String>(),
        if flexible {
            "unknown_tagged_fields"
        } else {
            ""
        }
    );
}

fn write(out: &mut String, message: &Message, one: &Struct, fields: &[Plan<'_>], flexible: bool) {
    out.push_str("fn write(&self, e: &mut Encoder, v: i16) -> Result<(), EncodeError> {\n");
    let flex = bind_flex(out, message);
    let at = |field: &Plan<'_>| format!("\"{}.{}\"", one.name, field.name);
    for field in fields {
        let at = at(field);
        let mut lacks = String::new();
        if field.present != "true" && !field.field.ignorable {
            lacks = format!("if {} {{ return Err(lacks({at}, v)); }}", field.differs());
        }
        let _ = match (field.field.tag, field.present.as_str()) {
            (Some(_), _) if lacks.is_empty() => Ok(()),
            (Some(_), present) => writeln!(out, "if !({present}) {{ {lacks} }}"),
            (None, "true") => writeln!(out, "{};", field.write(&at)),
            (None, present) if lacks.is_empty() => {
                writeln!(out, "if {present} {{ {}; }}", field.write(&at))
            }
            (None, present) => {
                writeln!(out, "if {present} {{ {}; }} else {lacks}", field.write(&at))
            }
        };
    }
    if flexible {
        let mut tagged: Vec<_> = fields.iter().filter(|f| f.field.tag.is_some()).collect();
        tagged.sort_by_key(|f| f.field.tag);
        let _ = writeln!(out, "if {flex} {{");
        if tagged.is_empty() {
            let _ = writeln!(out, "e.unknown_tags(&self.unknown_tagged_fields)?;");
        } else {
            for (i, field) in tagged.iter().enumerate() {
                let present = match field.present.as_str() {
                    "true" => String::new(),
                    present => format!("{present} && "),
                };
                let _ = writeln!(out, "let t{i} = {present}({});", field.differs());
            }
            let count = (0..tagged.len())
                .map(|i| format!("usize::from(t{i})"))
                .collect::<Vec<_>>()
                .join(" + ");
            let _ = writeln!(
                out,
                "let mut raw = e.begin_tags({count}, &self.unknown_tagged_fields)?;"
            );
            for (i, field) in tagged.iter().enumerate() {
                let tag = field.field.tag.unwrap_or_default();
                let _ = writeln!(
                    out,
                    "if t{i} {{ let start = e.begin_tag({tag}, &mut raw)?; {}; e.end_tag(start)?; }}",
                    field.write(&at(field))
                );
            }
            let _ = writeln!(out, "e.rest_of_tags(raw)?;");
        }
        let _ = match flex.as_str() {
            "true" => writeln!(out, "}}"),
            _ => writeln!(
                out,
                "}} else if !self.unknown_tagged_fields.is_empty() {{ \
                 return Err(lacks(\"{}.unknown_tagged_fields\", v)); }}",
                one.name
            ),
        };
    }
    out.push_str("Ok(())\n}\n");
}

/// The fewest bytes that a struct takes in one version.
fn min_size(message: &Message, one: &Struct, version: i16) -> usize {
    let flex = message.flexible.contains(version);
    let fields: usize = one
        .fields
        .iter()
        .filter(|f| f.tag.is_none() && f.versions.contains(version))
        .map(|f| {
            let compact = f.flexible.unwrap_or(message.flexible).contains(version);
            match &f.ty {
                Type::Bool | Type::I8 => 1,
                Type::I16 | Type::U16 => 2,
                Type::I32 | Type::U32 => 4,
                Type::I64 | Type::F64 => 8,
                Type::Uuid => 16,
                Type::Str => {
                    if compact {
                        1
                    } else {
                        2
                    }
                }
                Type::Bytes | Type::Array(_) => {
                    if compact {
                        1
                    } else {
                        4
                    }
                }
                Type::Struct(_) if f.nullable.contains(version) => 1,
                Type::Struct(name) => message
                    .find(name)
                    .map_or(0, |s| min_size(message, s, version)),
            }
        })
        .sum();
    fields + usize::from(flex)
}

/// Emits a generator of values, for the tests of this crate.
fn arbitrary(out: &mut String, name: &str, message: &Message, fields: &[Plan<'_>], flexible: bool) {
    let _ = writeln!(
        out,
        "#[cfg(test)]\nimpl crate::arbitrary::Arbitrary for {name} {{ \
         fn arbitrary(g: &mut crate::arbitrary::Gen<'_>, v: i16) -> Self {{ Self {{"
    );
    for field in fields {
        let _ = writeln!(out, "{}: {},", field.name, field.arbitrary());
    }
    if flexible {
        let first = fields
            .iter()
            .filter_map(|f| f.field.tag)
            .max()
            .map_or(0, |t| t + 1);
        let _ = writeln!(
            out,
            "unknown_tagged_fields: if {} {{ g.tags({first}) }} else {{ Vec::new() }},",
            condition(message.flexible, message.versions)
        );
    }
    out.push_str("} } }\n");
}
