//! The program as a person uses it: the binary is started, its commands are run against it, and
//! what they print is compared byte for byte.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails with the place of what went wrong"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the program is watched from outside, through the real network"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

const OTTLA: &str = env!("CARGO_BIN_EXE_ottla");

/// A broker on a port of its own; ended when dropped.
struct Node {
    child: Child,
    address: String,
    first_screen: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start() -> Node {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(OTTLA)
        .arg("server")
        .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
        .arg("--override")
        .arg(format!("log.dirs={}", folder.path().display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut first_screen = Vec::new();
    while first_screen
        .last()
        .is_none_or(|l: &String| !l.contains("Ctrl-C"))
    {
        first_screen.push(lines.next().expect("the broker starts").unwrap());
    }
    let address = first_screen
        .iter()
        .find_map(|l| l.trim().strip_prefix("listening"))
        .unwrap();
    Node {
        address: address.trim().to_owned(),
        child,
        first_screen,
        _folder: folder,
    }
}

impl Node {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(OTTLA);
        command
            .args(line.split(' '))
            .args(["--bootstrap-server", &self.address])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn output(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// What a command prints that is to succeed.
    fn ok(&self, line: &str) -> String {
        let output = self.output(line);
        assert!(output.status.success(), "{line}: {output:?}");
        assert!(output.stderr.is_empty(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(line)).unwrap()
    }

    /// What a command says that is to fail.
    fn fails(&self, line: &str) -> String {
        let output = self.output(line);
        assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
        assert!(output.stdout.is_empty(), "{line}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn produce(&self, line: &str, input: &[u8]) -> Output {
        let mut child = self.command(line).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    fn produced(&self, line: &str, input: &[u8]) {
        let output = self.produce(line, input);
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn the_commands_on_the_first_screen_work_as_they_stand() {
    let node = start();
    let command_of = |name: &str| {
        let line = node
            .first_screen
            .iter()
            .find_map(|l| l.trim().strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let shell = |line: &str| Command::new("sh").args(["-c", line]).output().unwrap();
    let produced = shell(&command_of("produce"));
    assert!(produced.status.success(), "{produced:?}");
    let consume = command_of("consume");
    let consumed = shell(&format!("{consume} --max-messages 1"));
    assert_eq!(consumed.stdout, b"hello\n", "{consumed:?}");
}

#[test]
fn topics_are_created_listed_described_altered_and_deleted() {
    let node = start();
    let created = node.ok("topic create events --partitions 3 --config retention.ms=1000");
    assert_eq!(
        created,
        "created events: 3 partitions, replication factor 1\n"
    );
    let again = node.fails("topic create events");
    assert!(again.contains("TOPIC_ALREADY_EXISTS"), "{again}");
    node.ok("topic create events --if-not-exists");
    assert!(node.ok("topic list").contains("events  3"));
    assert_eq!(node.json("topic list --json")[0]["partitions"], 3);

    let described = node.json("topic describe events --json");
    assert_eq!(described["configs"]["retention.ms"], "1000");
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    node.ok("topic alter events --partitions 4 --delete-config retention.ms");
    let described = node.json("topic describe events --json");
    assert_eq!(described["configs"]["retention.ms"], Value::Null);
    assert_eq!(described["partitions"].as_array().unwrap().len(), 4);

    assert_eq!(node.ok("topic delete events"), "deleted events\n");
    assert_eq!(node.json("topic list --json"), Value::Array(Vec::new()));
}

#[test]
fn what_is_produced_from_a_file_is_consumed_byte_for_byte() {
    let node = start();
    node.ok("topic create bytes --partitions 1");
    let input = b"a b  c\n\n  lead\ntab\there\n\xff\x00\xfe bin\r\nno newline";
    node.produced("produce bytes", input);
    let output = node.output("consume bytes --from-beginning --max-messages 6");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, [&input[..], b"\n"].concat());
    // The same by way of the ends, and from the middle.
    let output = node.output("consume bytes --from-beginning --exit");
    assert_eq!(output.stdout, [&input[..], b"\n"].concat());
    let output = node.output("consume bytes --partition 0 --offset 4 --max-messages 1");
    assert_eq!(output.stdout, b"\xff\x00\xfe bin\r\n");
}

#[test]
fn keys_headers_and_json_show_what_a_record_holds() {
    let node = start();
    node.ok("topic create keyed --partitions 1");
    node.produced(
        "produce keyed --key-separator : --header h=1 --compression zstd",
        b"k:v:x\n:empty key\n",
    );
    let text = node.ok("consume keyed --from-beginning --exit --print-key --print-headers");
    assert_eq!(text, "h:1\tk\tv:x\nh:1\t\tempty key\n");
    let lines = node.ok("consume keyed --from-beginning --exit --json");
    let records: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["key"], "k");
    assert_eq!(records[0]["value"], "v:x");
    assert_eq!(records[1]["offset"], 1);
    assert_eq!(records[1]["headers"][0][1], "1");

    let refused = node.produce("produce keyed --key-separator :", b"a:b\nnone\nc:d\n");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(said, "ottla: line 2 has no key separator\n");
    // What was before it is written, what was behind it is not.
    let text = node.ok("consume keyed --partition 0 --offset 2 --exit");
    assert_eq!(text, "b\n");
}

#[test]
fn a_group_goes_on_where_it_was_and_its_offsets_can_be_moved() {
    let node = start();
    node.ok("topic create t --partitions 1");
    node.produced("produce t", b"0\n1\n2\n3\n4\n");
    assert_eq!(
        node.ok("consume t --group g --from-beginning --max-messages 3"),
        "0\n1\n2\n"
    );
    assert_eq!(node.ok("consume t --group g --max-messages 1"), "3\n");
    let described = node.json("group describe g --json");
    let partition = &described["partitions"][0];
    assert_eq!(
        (&partition["committed"], &partition["lag"]),
        (&4.into(), &1.into())
    );
    assert_eq!(node.json("group list --json")[0]["group"], "g");

    node.ok("group reset-offsets g --topic t --to-earliest --dry-run");
    node.ok("group reset-offsets g --topic t --to-offset 2");
    assert_eq!(node.ok("consume t --group g --max-messages 1"), "2\n");
    assert_eq!(node.ok("group delete g"), "deleted g\n");
    let gone = node.fails("group describe g");
    assert!(gone.contains("group list` shows the groups"), "{gone}");
}

#[test]
fn an_interrupted_group_member_commits_what_it_wrote_and_leaves() {
    let node = start();
    node.ok("topic create t --partitions 1");
    node.produced("produce t", b"0\n1\n2\n");
    let mut consume = node
        .command("consume t --group g --from-beginning")
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(consume.stdout.take().unwrap()).lines();
    let read: Vec<String> = (0..3).map(|_| lines.next().unwrap().unwrap()).collect();
    assert_eq!(read, ["0", "1", "2"]);
    let interrupted = Command::new("kill")
        .args(["-INT", &consume.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    let mut said = String::new();
    consume
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(consume.wait().unwrap().success());
    assert_eq!(said, "");
    let described = node.json("group describe g --json");
    assert_eq!(described["partitions"][0]["committed"], 3);
    assert_eq!(described["members"], 0);
    assert_eq!(described["state"], "Empty");
}

#[test]
fn a_reader_that_goes_away_ends_a_command_without_a_word() {
    let node = start();
    node.ok("topic create t --partitions 1");
    node.produced("produce t", b"first\nsecond\n");
    let mut consume = node.command("consume t --from-beginning").spawn().unwrap();
    let mut first = String::new();
    // Dropping the reader closes the pipe. No record comes after that to find it out with.
    BufReader::new(consume.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert_eq!(first, "first\n");
    let output = consume.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");

    let mut script = Command::new(OTTLA)
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(script.stdout.take());
    let output = script.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill")
        .args([name, &process.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_second_signal_ends_a_close_that_waits_for_a_broker_that_says_nothing() {
    let node = start();
    node.ok("topic create t --partitions 1");
    node.produced("produce t", b"0\n");
    let mut consume = node
        .command("consume t --group g --from-beginning")
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(consume.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "0\n");
    signal("-STOP", node.child.id());
    // Two of one kind may reach a process as one.
    signal("-INT", consume.id());
    signal("-TERM", consume.id());
    let code = consume.wait().unwrap().code();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
}

#[test]
fn a_line_that_is_refused_is_told_while_standard_input_is_still_open() {
    let node = start();
    node.ok("topic create t --partitions 1 --config max.message.bytes=200");
    let mut produce = node
        .command("produce t")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = produce.stdin.take().unwrap();
    input.write_all(&[b'x'; 500]).unwrap();
    input.write_all(b"\n").unwrap();
    let mut said = String::new();
    let mut stderr = produce.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(produce.wait().unwrap().code(), Some(1));
    assert!(said.contains("line 1 was not acknowledged"), "{said}");
    drop(input);
}

#[test]
fn a_group_whose_reader_goes_away_commits_nothing_that_nobody_read() {
    let node = start();
    node.ok("topic create t --partitions 1");
    let line = [&[b'x'; 99][..], b"\n"].concat();
    node.produced("produce t", &line.repeat(20_000));
    let mut consume = node
        .command("consume t --group g --from-beginning")
        .spawn()
        .unwrap();
    // The first poll is more than a pipe holds, so the program is in the middle of it.
    let mut first = [0; 100];
    consume
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    let output = consume.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let described = node.json("group describe g --json");
    assert_eq!(described["partitions"][0]["committed"], 0);
}

#[test]
fn offsets_beyond_the_log_are_moved_to_its_ends_with_a_word() {
    let node = start();
    node.ok("topic create t --partitions 1");
    node.produced("produce t", b"0\n1\n");
    for (offset, expected) in [("99", "2"), ("1", "1"), ("0", "0")] {
        let line = format!("group reset-offsets g --topic t --to-offset {offset}");
        let output = node.output(&line);
        assert!(output.status.success(), "{output:?}");
        let table = String::from_utf8(output.stdout).unwrap();
        assert_eq!(table.split_whitespace().last(), Some(expected), "{table}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told.contains("offsets 0 to 2"), offset == "99", "{told}");
    }
}

#[test]
fn errors_are_one_line_and_what_to_do_about_it() {
    let node = start();
    node.ok("topic create t --partitions 2");
    let two_lines = |said: &str| {
        assert!(said.starts_with("ottla: "), "{said}");
        assert!(said.lines().count() <= 2, "{said}");
    };
    for (command, expected) in [
        ("topic describe nope", "topic nope"),
        ("topic delete nope", "topic nope"),
        ("consume nope", "topic nope"),
        ("consume t --partition 2", "only 0 to 1"),
        ("consume t --partition 0 --offset 7", "t-0"),
        ("topic alter t", "--partitions N"),
        ("topic alter t --config nonsense=1", "nonsense"),
        ("topic alter t --config nonsense", "not key=value"),
        ("topic create a/b", "a/b"),
        ("group delete nope", "group nope"),
        ("produce t --compression best", "use none, gzip"),
    ] {
        let said = node.fails(command);
        assert!(said.contains(expected), "{command}: {said}");
        two_lines(&said);
    }
    let wrong = node.output("consume t --frobnicate");
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn without_a_broker_every_command_says_so_and_what_to_do() {
    // Nobody listens on a port that was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    for command in ["topic list", "consume t", "produce t", "group list"] {
        let output = Command::new(OTTLA)
            .args(command.split(' '))
            .args(["--bootstrap-server", &address])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("connection refused"), "{command}: {said}");
        assert!(said.contains(" server`"), "{command}: {said}");
    }
}
