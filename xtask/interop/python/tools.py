"""Checks with Apache Kafka's own scripts and with kcat.

usage: tools.py BOOTSTRAP [DATA_DIRECTORY [NAME]]: with a data directory its files are read by
kafka-dump-log too. Prints `ok NAME` or `FAILED NAME: why` a check; ends with status 1 if any failed."""

import hashlib
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import uuid

BOOTSTRAP = sys.argv[1]
DATA = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else None
KAFKA = pathlib.Path(__file__).parent.parent / "kafka"
SERVER = ["--bootstrap-server", BOOTSTRAP]


def run(words, stdin=None, status=0):
    done = subprocess.run([str(word) for word in words], input=stdin, capture_output=True, timeout=180)
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert status is None or done.returncode == status, f"{words[:3]} ended with {done.returncode}: {out[-500:]} {err[-800:]}"
    return out + (err if status != 0 else "")


def kafka(tool, *words, **more):
    return run([KAFKA, tool, *words], **more)


def expect(pattern, text):
    assert re.search(pattern, text), f"{pattern!r} not in {text[:1500]!r}"


def topic(partitions=1):
    name = "tools-" + uuid.uuid4().hex[:10]
    kafka("topics", *SERVER, "--create", "--topic", name, "--partitions", partitions, "--replication-factor", 1)
    return name


def topics_are_made_listed_described_altered_and_deleted():
    name = topic(3)
    expect(name, kafka("topics", *SERVER, "--list"))
    expect(r"PartitionCount: 3\s+ReplicationFactor: 1", kafka("topics", *SERVER, "--describe", "--topic", name))
    kafka("topics", *SERVER, "--alter", "--topic", name, "--partitions", 5)
    expect("PartitionCount: 5", kafka("topics", *SERVER, "--describe", "--topic", name))
    expect("already exists", kafka("topics", *SERVER, "--create", "--topic", name, status=1))
    kafka("topics", *SERVER, "--delete", "--topic", name)


def configs_of_topics_and_brokers_change():
    name = topic()
    kind = ["--entity-type", "topics", "--entity-name", name]
    kafka("configs", *SERVER, *kind, "--alter", "--add-config", "retention.ms=4242,cleanup.policy=[compact,delete]")
    expect("retention.ms=4242", kafka("configs", *SERVER, *kind, "--describe"))
    kafka("configs", *SERVER, *kind, "--alter", "--delete-config", "retention.ms")
    assert "retention.ms=4242" not in kafka("configs", *SERVER, *kind, "--describe")
    expect("INVALID_CONFIG|Invalid value", kafka("configs", *SERVER, *kind, "--alter", "--add-config", "retention.ms=x", status=1))
    kafka("configs", *SERVER, "--entity-type", "brokers", "--entity-default", "--alter", "--add-config", "log.retention.ms=7200000")
    expect("log.retention.ms=7200000", kafka("configs", *SERVER, "--entity-type", "brokers", "--entity-default", "--describe"))
    kafka("configs", *SERVER, "--entity-type", "brokers", "--entity-default", "--alter", "--delete-config", "log.retention.ms")
    expect("log.dirs", kafka("configs", *SERVER, "--entity-type", "brokers", "--entity-name", 1, "--describe", "--all"))


def loggers_are_described_and_their_levels_change():
    loggers = (*SERVER, "--entity-type", "broker-loggers", "--entity-name", 1)
    expect(r"ottla\.net=(INFO|WARN) ", kafka("configs", *loggers, "--describe"))
    kafka("configs", *loggers, "--alter", "--add-config", "ottla.net=DEBUG")
    expect("ottla.net=DEBUG", kafka("configs", *loggers, "--describe"))
    expect("Invalid broker logger", kafka("configs", *loggers, "--alter", "--add-config", "nobody=DEBUG", status=1))
    expect("not a supported log level", kafka("configs", *loggers, "--alter", "--add-config", "ottla.net=LOUD", status=1))
    kafka("configs", *loggers, "--alter", "--delete-config", "ottla.net")
    expect(r"ottla\.net=(INFO|WARN) ", kafka("configs", *loggers, "--describe"))


def console_producer_and_consumer_with_a_group():
    name = topic(2)
    lines = "".join(f"k{i}:v{i}\n" for i in range(500)).encode()
    kafka("console-producer", *SERVER, "--topic", name, "--reader-property", "parse.key=true", "--reader-property",
          "key.separator=:", stdin=lines)
    out = kafka("console-consumer", *SERVER, "--topic", name, "--group", name, "--from-beginning", "--max-messages", 500,
                "--formatter-property", "print.key=true", "--formatter-property", "key.separator=:", "--timeout-ms", 30000)
    assert sorted(out.split()) == sorted(lines.decode().split())
    described = kafka("groups", *SERVER, "--describe", "--group", name)
    lag = [line.split()[5] for line in described.splitlines() if line.startswith(name)]
    assert lag == ["0", "0"], described
    expect(name, kafka("groups", *SERVER, "--list"))
    expect("Empty", kafka("groups", *SERVER, "--describe", "--group", name, "--state"))
    reset = ["--reset-offsets", "--group", name, "--topic", name, "--execute"]
    expect(r"\s0\b", kafka("groups", *SERVER, *reset, "--to-earliest"))
    described = kafka("groups", *SERVER, "--describe", "--group", name)
    assert sum(int(line.split()[5]) for line in described.splitlines() if line.startswith(name)) == 500, described
    kafka("groups", *SERVER, "--delete", "--group", name)


def offsets_are_listed_and_records_deleted():
    name = topic()
    kafka("console-producer", *SERVER, "--topic", name, stdin=b"a\nb\nc\nd\n")
    assert kafka("get-offsets", *SERVER, "--topic", name).strip() == f"{name}:0:4"
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write('{"partitions": [{"topic": "%s", "partition": 0, "offset": 3}], "version": 1}' % name)
        file.flush()
        expect("low_watermark: 3", kafka("delete-records", *SERVER, "--offset-json-file", file.name))
    assert kafka("get-offsets", *SERVER, "--topic", name, "--time", "earliest").strip() == f"{name}:0:3"
    assert kafka("get-offsets", *SERVER, "--topic", name, "--time", "max-timestamp").strip().startswith(f"{name}:0:")


def log_dirs_versions_quorum_and_features_are_described():
    name = topic()
    expect(name, kafka("log-dirs", *SERVER, "--describe", "--topic-list", name))
    expect(r"Produce\(0\)", kafka("broker-api-versions", *SERVER))
    expect("LeaderId", kafka("metadata-quorum", *SERVER, "describe", "--status"))
    expect("metadata.version", kafka("features", *SERVER, "describe"))


def performance_tools_run():
    name = topic(4)
    out = kafka("producer-perf", "--topic", name, "--num-records", 100000, "--record-size", 100, "--throughput", -1,
                "--producer-props", f"bootstrap.servers={BOOTSTRAP}", "acks=all")
    expect(r"100000 records sent.*99.9th", out)
    expect(r"100000", kafka("consumer-perf", *SERVER, "--topic", name, "--messages", 100000, "--timeout", 30000))


def kcat_brings_a_million_lines_back():
    name = topic()
    lines = b"".join(b"line %d of a file that goes there and back\n" % i for i in range(1_000_000))
    run(["kcat", "-P", "-b", BOOTSTRAP, "-t", name, "-p", 0], stdin=lines)
    done = subprocess.run(["kcat", "-C", "-b", BOOTSTRAP, "-t", name, "-p", "0", "-o", "beginning", "-e", "-q"],
                          capture_output=True, timeout=120, check=True)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(lines).digest(), f"{len(done.stdout)} of {len(lines)} bytes"
    expect(name, run(["kcat", "-L", "-b", BOOTSTRAP]))


def files_of(*suffixes):
    return [f for f in sorted(DATA.glob("*-*/*")) if f.suffix in suffixes and f.stat().st_size]


def dump_log_finds_no_fault_in_any_file():
    files = files_of(".log", ".timeindex", ".txnindex", ".snapshot")
    assert files
    for start in range(0, len(files), 40):
        batch = files[start:start + 40]
        out = kafka("dump-log", "--deep-iteration", "--files", ",".join(map(str, batch)), status=None)
        for wrong in ("Found", "Exception", "isvalid: false", "Mismatch", "corrupt"):
            assert wrong not in out, next(line for line in out.splitlines() if wrong in line)
    # Kafka 4.3.0's dump-log throws NonWritableChannelException when it closes what it opened for an
    # .index, before it prints its findings: so the sanity check alone, and the entries by hand below.
    for file in files_of(".index")[:20]:
        expect("passed sanity check", kafka("dump-log", "--index-sanity-check", "--files", file, status=None))


def every_offset_index_entry_points_at_its_batch():
    entries = 0
    for index in files_of(".index"):
        base = int(index.stem)
        log = index.with_suffix(".log").read_bytes()
        last = 0
        for relative, position in struct.iter_unpack(">ii", index.read_bytes()[:index.stat().st_size // 8 * 8]):
            if relative == 0 and position == 0 and entries:
                break  # The tail of an index that is given its full size beforehand.
            first, _ = struct.unpack_from(">qi", log, position)
            end = first + struct.unpack_from(">i", log, position + 23)[0]
            assert first <= base + relative <= end, f"{index}: {base + relative} points at {first} to {end}"
            assert position >= last, f"{index}: goes back to {position}"
            last, entries = position, entries + 1
    assert entries, "no index has an entry"


def dump_log_decodes_offsets_and_metadata():
    offsets = [f for f in DATA.glob("__consumer_offsets-*/*.log") if f.stat().st_size]
    assert offsets, "no group was stored"
    out = kafka("dump-log", "--offsets-decoder", "--files", ",".join(map(str, offsets)))
    expect(r'"topic"', out)
    log = sorted(DATA.glob("__cluster_metadata-0/*.log"))
    out = kafka("dump-log", "--cluster-metadata-decoder", "--files", ",".join(map(str, log)))
    expect("TOPIC_RECORD", out)
    expect("REGISTER_BROKER_RECORD", out)
    assert "Error" not in out and "error" not in out, out[:500]


CHECKS = [
    topics_are_made_listed_described_altered_and_deleted, configs_of_topics_and_brokers_change,
    loggers_are_described_and_their_levels_change,
    console_producer_and_consumer_with_a_group, offsets_are_listed_and_records_deleted,
    log_dirs_versions_quorum_and_features_are_described, performance_tools_run, kcat_brings_a_million_lines_back,
] + ([
    dump_log_finds_no_fault_in_any_file, every_offset_index_entry_points_at_its_batch, dump_log_decodes_offsets_and_metadata,
] if DATA else [])

failed = False
for check in CHECKS:
    if len(sys.argv) > 3 and sys.argv[3] not in check.__name__:
        continue
    try:
        check()
        print("ok", check.__name__, flush=True)
    except Exception as error:  # noqa: BLE001 - every failure is a line
        failed = True
        print(f"FAILED {check.__name__}: {type(error).__name__}: {error}", flush=True)
sys.exit(failed)
