//! A slip in a table is refused with its file and line, before any code is generated.

use std::path::Path;

#[path = "../build/parse.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the build script uses all of it, this test only the parser"
)]
mod parse;

fn error(table: &str) -> String {
    match parse::table(Path::new("rpc/XRequest.tbl"), table) {
        Ok(message) => panic!("accepted as {message:?}"),
        Err(error) => error.to_string(),
    }
}

const HEAD: &str = "message XRequest request key=1 versions=0-2 flexible=2+\n";

#[test]
fn a_good_table_is_read() {
    let text = format!(
        "{HEAD}  Topics []Topic 0+\n    Name string 0+ null=1+\n  Epoch int32 2+ tag=0 default=-1\n"
    );
    let message = parse::table(Path::new("rpc/XRequest.tbl"), &text).expect("a good table");
    let names: Vec<_> = message
        .structs
        .iter()
        .map(|s| (s.name.as_str(), s.fields.len()))
        .collect();
    assert_eq!(names, [("XRequest", 2), ("Topic", 1)]);
}

#[test]
fn a_wrong_line_is_named() {
    let wrong = |lines: &str| error(&format!("{HEAD}{lines}"));
    let cases = [
        (
            "  Name text 0+\n",
            "rpc/XRequest.tbl:2: unknown type `text`",
        ),
        (
            "  A int8 0+\n  A int8 0+\n",
            "rpc/XRequest.tbl:3: a second field `A`",
        ),
        (
            "  A int8 0+\n    B int8 0+\n",
            "rpc/XRequest.tbl:3: an indentation of 4 does not continue the lines above",
        ),
        (
            "  A int8 0+ default=x\n",
            "rpc/XRequest.tbl:2: bad default `x`",
        ),
        (
            "  A int8 0+ default=300\n",
            "rpc/XRequest.tbl:2: bad default `300`",
        ),
        (
            "  A int8 0+ null=0+\n",
            "rpc/XRequest.tbl:2: `A` cannot be null",
        ),
        (
            "  A string 0+ null=1+ default=null\n",
            "rpc/XRequest.tbl:2: `A` is null by default but not always nullable",
        ),
        (
            "  A int8 1+ tag=0\n",
            "rpc/XRequest.tbl:2: `A` is tagged in versions that are not flexible",
        ),
        (
            "  A int8 2+ tag=0\n  B int8 2+ tag=0\n",
            "rpc/XRequest.tbl:2: tag 0 is used twice in `XRequest`",
        ),
        (
            "  A Other 0+\n",
            "rpc/XRequest.tbl:2: struct `Other` has no fields",
        ),
        (
            "  A int8 0+ optional\n",
            "rpc/XRequest.tbl:2: unknown attribute `optional`",
        ),
        ("  A int8 2-1\n", "rpc/XRequest.tbl:2: bad versions `2-1`"),
    ];
    for (lines, expected) in cases {
        assert_eq!(wrong(lines), expected);
    }
    assert_eq!(
        error("message Y request key=1 versions=0\n"),
        "rpc/XRequest.tbl:1: the table of `Y` must lie in Y.tbl"
    );
    assert_eq!(
        error("message XRequest request versions=0\n"),
        "rpc/XRequest.tbl:1: a message of this kind needs a key"
    );
    assert_eq!(error("\n"), "rpc/XRequest.tbl:1: the table is empty");
}
