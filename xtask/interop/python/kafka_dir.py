"""Data directories go both ways: Apache Kafka starts on one that Ottla wrote, Ottla on one that Kafka wrote.

usage: kafka_dir.py OTTLA_BINARY FOLDER. Prints `ok NAME` or `FAILED NAME: why` a check; ends with
status 1 if any failed. Each check writes with one broker (topics with records of every codec, keys,
headers and a null value; a group that has read half; a topic configuration), stops it cleanly, copies
the directory, starts the other on the copy with the same server.properties, and compares."""

import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

OTTLA = pathlib.Path(sys.argv[1]).absolute()
FOLDER = pathlib.Path(sys.argv[2]).absolute()
KAFKA = pathlib.Path(__file__).parent.parent / "kafka"
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
RECORDS = 300
COMMITTED = 130
FORMAT = r"%t %p %o %T %k [%h] %S %s\n"


def free_ports():
    """Two neighbours below those that the system gives to connecting clients."""
    for port in range(21760, 31760, 2):
        try:
            for each in (port, port + 1):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", each))
            return port
        except OSError:
            continue
    raise OSError("no free port")


PORT = free_ports()
BOOTSTRAP = f"127.0.0.1:{PORT}"
SERVER = ["--bootstrap-server", BOOTSTRAP]


def run(words, stdin=None):
    done = subprocess.run([str(word) for word in words], input=stdin, capture_output=True, timeout=120)
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{words[:4]} ended with {done.returncode}: {out[-500:]} {err[-800:]}"
    return out


def kafka(tool, *words, **more):
    return run([KAFKA, tool, *words], **more)


class Kafka:
    """Apache Kafka on FOLDER/data, which it formats if it is empty."""

    def __init__(self, folder):
        self.pid = int(kafka("start", folder, PORT))
        self.log = folder / "broker.out"

    def stop(self):
        run(["kill", "-TERM", self.pid])
        run(["tail", f"--pid={self.pid}", "-f", "/dev/null"])

    def kill(self):
        subprocess.run(["kill", "-KILL", str(self.pid)], check=False, capture_output=True)


class Ottla:
    """Ottla on FOLDER/data, with the server.properties that the script writes for Kafka."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        properties = folder / "server.properties"
        properties.write_text(
            f"process.roles=broker,controller\nnode.id=1\n"
            f"listeners=PLAINTEXT://{BOOTSTRAP},CONTROLLER://127.0.0.1:{PORT + 1}\n"
            f"advertised.listeners=PLAINTEXT://{BOOTSTRAP}\ncontroller.listener.names=CONTROLLER\n"
            f"controller.quorum.bootstrap.servers=127.0.0.1:{PORT + 1}\n"
            f"log.dirs={folder / 'data'}\noffsets.topic.replication.factor=1\n")
        self.log = folder / "ottla.err"
        with open(self.log, "wb") as errors:
            self.child = subprocess.Popen([OTTLA, "server", properties], stdin=subprocess.DEVNULL,
                                          stdout=subprocess.PIPE, stderr=errors)
        for line in self.child.stdout:
            if b"listening" in line:
                return
        raise AssertionError(f"ottla ended with {self.child.wait()}: {self.log.read_text()[-1500:]}")

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        status = self.child.wait(60)
        assert status == 0, f"ottla ended with {status}"

    def kill(self):
        self.child.kill()
        self.child.wait()


def kcat(*words, stdin=None):
    return run(["kcat", "-b", BOOTSTRAP, "-q", *words], stdin=stdin)


def write(name):
    """A topic for each codec, and a group that has read a part of one."""
    for codec in CODECS:
        topic = f"{name}-{codec}"
        kafka("topics", *SERVER, "--create", "--topic", topic, "--partitions", 2, "--replication-factor", 1,
              "--config", "retention.ms=-1")
        for partition in (0, 1):
            lines = b"".join(b"k%d:%s value %d\n" % (n % 7, codec.encode(), n) for n in range(RECORDS))
            kcat("-P", "-t", topic, "-p", partition, "-z", codec, "-K:", "-H", "from=kcat", "-H", "from=twice",
                 "-X", "enable.idempotence=true", stdin=lines)
    kcat("-P", "-t", f"{name}-none", "-p", 0, "-Z", "-K:", stdin=b"tombstone:\n")
    group(name, "--reset-offsets", "--execute", "--topic", f"{name}-none:0", "--to-offset", COMMITTED)


def group(name, *words):
    return kafka("groups", *SERVER, "--group", f"{name}-readers", *words)


def everything(name):
    """All that a client sees, in a form that can be compared."""
    seen = {}
    for codec in CODECS:
        for partition in (0, 1):
            records = kcat("-C", "-e", "-o", "beginning", "-t", f"{name}-{codec}", "-p", partition, "-f", FORMAT)
            assert len(records.splitlines()) >= RECORDS, f"{name}-{codec}-{partition}: {len(records.splitlines())} records"
            seen[f"{codec}-{partition}"] = records
    described = group(name, "--describe")
    seen["committed"] = [line.split()[:5] for line in described.splitlines() if f"{name}-none" in line]
    assert seen["committed"] and seen["committed"][0][3] == str(COMMITTED), described
    topics = kafka("topics", *SERVER, "--describe")
    mine = [line for line in topics.splitlines() if f"Topic: {name}-" in line]
    seen["topics"] = sorted(re.sub(r"\t(LeaderRecoveryState|Elr|LastKnownElr):[^\t]*", "", line) for line in mine)
    seen["cluster"] = re.search(r"ClusterId:\s+(\S+)", kafka("metadata-quorum", *SERVER, "describe", "--status"))[1]
    return seen


def goes_on(name):
    """What was begun by the other is continued: at the right offset, with the group where it was."""
    kcat("-P", "-t", f"{name}-gzip", "-p", 1, stdin=b"one more\n")
    last = kcat("-C", "-e", "-o", -1, "-t", f"{name}-gzip", "-p", 1, "-f", "%o %s\n")
    assert last == f"{RECORDS} one more\n", last
    kafka("topics", *SERVER, "--create", "--topic", f"{name}-later", "--partitions", 1, "--replication-factor", 1)
    kcat("-P", "-t", f"{name}-later", stdin=b"a\nb\n")
    out = kafka("console-consumer", *SERVER, "--topic", f"{name}-none", "--group", f"{name}-readers",
                "--max-messages", 5, "--timeout-ms", 30000)
    assert len(out.splitlines()) == 5, out


def moves(name, first, second):
    """Written by `first`, served by `second`, and by `first` again."""
    folders = [FOLDER / f"{name}-{turn}" for turn in range(3)]
    before = None
    for turn, broker in enumerate([first, second, first]):
        if turn:
            folders[turn].mkdir(parents=True)
            shutil.copytree(folders[turn - 1] / "data", folders[turn] / "data")
        running = broker(folders[turn])
        try:
            if turn == 0:
                write(name)
                before = everything(name)
            else:
                after = everything(name) if turn == 1 else None
                for key in before if after else []:
                    assert before[key] == after[key], f"{key}: {str(before[key])[:400]} is now {str(after[key])[:400]}"
                if turn == 1:
                    goes_on(name)
                else:
                    last = kcat("-C", "-e", "-o", -1, "-t", f"{name}-gzip", "-p", 1, "-f", "%o %s\n")
                    assert last == f"{RECORDS} one more\n", last
                    later = kcat("-C", "-e", "-o", "beginning", "-t", f"{name}-later", "-f", "%o %s\n")
                    assert later == "0 a\n1 b\n", later
            running.stop()
        except BaseException:
            running.kill()
            raise


def kafka_starts_on_a_directory_of_ottlas_and_ottla_again():
    moves("o", Ottla, Kafka)


def ottla_starts_on_a_directory_of_kafkas_and_kafka_again():
    moves("k", Kafka, Ottla)


shutil.rmtree(FOLDER, ignore_errors=True)
failed = False
for check in [kafka_starts_on_a_directory_of_ottlas_and_ottla_again, ottla_starts_on_a_directory_of_kafkas_and_kafka_again]:
    try:
        check()
        print("ok", check.__name__, flush=True)
    except Exception as error:  # noqa: BLE001 - every failure is a line
        failed = True
        print(f"FAILED {check.__name__}: {type(error).__name__}: {error}", flush=True)
sys.exit(failed)
