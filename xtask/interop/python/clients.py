"""Checks with confluent-kafka (librdkafka) against the broker named by the first argument.

Prints `ok NAME` or `FAILED NAME: why` a check; ends with status 1 if any failed."""

import sys
import threading
import time
import uuid

from confluent_kafka import (
    Consumer, ConsumerGroupTopicPartitions, KafkaException, OFFSET_BEGINNING, Producer, TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)

BOOTSTRAP = sys.argv[1]
ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP})


def topic(partitions=1, config=None):
    name = "py-" + uuid.uuid4().hex[:12]
    for future in ADMIN.create_topics([NewTopic(name, partitions, 1, config=config or {})]).values():
        future.result(20)
    return name


def produce(name, records, **config):
    failures, offsets = [], {}

    def done(error, message):
        if error:
            failures.append(error)
        else:
            offsets.setdefault(message.partition(), []).append(message.offset())

    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, **config})
    for record in records:
        while True:
            try:
                producer.produce(name, on_delivery=done, **record)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0, "not all was flushed"
    assert not failures, failures[0]
    return offsets


def consumer(group=None, **config):
    return Consumer({
        "bootstrap.servers": BOOTSTRAP, "group.id": group or "py-" + uuid.uuid4().hex[:8],
        "auto.offset.reset": "earliest", "enable.auto.commit": False, **config})


def read(name, count, partition=0, offset=OFFSET_BEGINNING, **config):
    reader = consumer(**config)
    reader.assign([TopicPartition(name, partition, offset)])
    messages, end = [], time.monotonic() + 30
    while len(messages) < count and time.monotonic() < end:
        for message in reader.consume(1000, 0.5):
            assert message.error() is None, message.error()
            messages.append(message)
    reader.close()
    assert len(messages) == count, f"read {len(messages)} of {count}"
    return messages


def keys_values_headers_and_timestamps_come_back():
    name = topic()
    headers = [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None)]
    produce(name, [dict(key=b"k", value=b"v", headers=headers, timestamp=1234567890123),
                   dict(key=None, value=b"\x00\xff"), dict(key=b"only", value=None), dict(value=b"")])
    first, second, third, fourth = read(name, 4)
    assert first.key() == b"k" and first.headers() == headers, first.headers()
    assert first.timestamp()[1] == 1234567890123
    assert second.key() is None and second.value() == b"\x00\xff"
    assert third.value() is None and fourth.value() == b""


def every_compression_comes_back():
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        name = topic()
        values = [b"%08d" % i * 20 for i in range(5000)]
        produce(name, [dict(value=value) for value in values], **{"compression.type": codec})
        assert [message.value() for message in read(name, 5000)] == values, codec


def a_topic_that_recompresses_gives_the_same_records():
    for codec in ("gzip", "snappy", "lz4", "zstd", "uncompressed"):
        name = topic(config={"compression.type": codec})
        values = [b"%06d" % i for i in range(1000)]
        produce(name, [dict(value=value) for value in values], **{"compression.type": "lz4"})
        assert [message.value() for message in read(name, 1000)] == values, codec


def idempotent_producers_keep_order():
    name = topic(3)
    offsets = produce(name, [dict(key=b"%d" % (i % 50), value=b"%d" % i) for i in range(30000)],
                      **{"enable.idempotence": True})
    assert sum(map(len, offsets.values())) == 30000
    for partition, seen in offsets.items():
        assert seen == list(range(len(seen))), partition


def acks_none_one_and_all_are_written():
    for acks in ("0", "1", "all"):
        name = topic()
        produce(name, [dict(value=b"x%d" % i) for i in range(100)], acks=acks)
        assert len(read(name, 100)) == 100, acks


def three_members_share_a_group_and_one_leaves():
    for strategy in ("range", "roundrobin", "cooperative-sticky"):
        share_a_group(strategy)


def share_a_group(strategy):
    name, group = topic(6), "py-" + uuid.uuid4().hex[:8]
    produce(name, [dict(value=b"%d" % i, partition=i % 6) for i in range(6000)])
    seen, lock, stop = set(), threading.Lock(), [threading.Event() for _ in range(3)]

    def member(index):
        reader = consumer(group, **{"partition.assignment.strategy": strategy, "session.timeout.ms": 6000})
        reader.subscribe([name])
        while not stop[index].is_set():
            batch = reader.consume(200, 0.2)
            with lock:
                seen.update((m.partition(), m.offset()) for m in batch if m.error() is None)
            if batch:
                try:
                    reader.commit(asynchronous=False)
                except KafkaException:
                    pass  # A rebalance came between: what was not committed is read again.
        reader.close()

    threads = [threading.Thread(target=member, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(seen) >= 1000, 60)
    stop[0].set()
    threads[0].join(30)
    wait_for(lambda: len(seen) == 6000, 60)
    for event in stop:
        event.set()
    for thread in threads:
        thread.join(30)
    listed = ADMIN.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
    committed = {p.partition: p.offset for p in listed[group].result(20).topic_partitions}
    assert committed == {p: 1000 for p in range(6)}, (strategy, committed)
    ADMIN.delete_consumer_groups([group])[group].result(20)


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def a_static_member_comes_back_without_a_rebalance():
    name, group = topic(2), "py-" + uuid.uuid4().hex[:8]
    assignments = []
    for _ in range(2):
        reader = consumer(group, **{"group.instance.id": "one", "session.timeout.ms": 10000})
        got = []
        reader.subscribe([name], on_assign=lambda _, partitions: got.extend(p.partition for p in partitions))
        end = time.monotonic() + 20
        while not got and time.monotonic() < end:
            reader.poll(0.1)
        assignments.append(sorted(got))
        reader.close()
    assert assignments == [[0, 1], [0, 1]], assignments


def offsets_by_time_and_watermarks():
    name = topic()
    produce(name, [dict(value=b"x", timestamp=1_000_000 + i * 1000) for i in range(100)])
    reader = consumer()
    assert reader.get_watermark_offsets(TopicPartition(name, 0), timeout=10) == (0, 100)
    found = reader.offsets_for_times([TopicPartition(name, 0, 1_000_000 + 41_500)], timeout=10)
    assert found[0].offset == 42, found
    found = reader.offsets_for_times([TopicPartition(name, 0, 9_000_000)], timeout=10)
    assert found[0].offset == -1, found
    reader.close()
    spec = {TopicPartition(name, 0): OffsetSpec.max_timestamp()}
    result = list(ADMIN.list_offsets(spec).values())[0].result(20)
    assert result.offset == 99, result


def topics_are_listed_grown_configured_and_deleted():
    name = topic(2, {"retention.ms": "12345"})
    assert len(ADMIN.list_topics(timeout=10).topics[name].partitions) == 2
    ADMIN.create_partitions([NewPartitions(name, 5)])[name].result(20)
    assert len(ADMIN.list_topics(name, timeout=10).topics[name].partitions) == 5
    resource = ConfigResource(ResourceType.TOPIC, name)
    values = ADMIN.describe_configs([resource])[resource].result(20)
    assert values["retention.ms"].value == "12345" and values["cleanup.policy"].value == "delete"
    entry = ConfigEntry("retention.ms", "999", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    ADMIN.incremental_alter_configs([change])[change].result(20)
    assert ADMIN.describe_configs([resource])[resource].result(20)["retention.ms"].value == "999"
    ADMIN.delete_topics([name])[name].result(20)
    wait_for(lambda: name not in ADMIN.list_topics(timeout=10).topics, 20)


def wrong_requests_get_kafkas_errors():
    def error_of(futures):
        try:
            list(futures.values())[0].result(20)
        except KafkaException as error:
            return error.args[0].name()
        return None

    name = topic()
    assert error_of(ADMIN.create_topics([NewTopic(name, 1, 1)])) == "TOPIC_ALREADY_EXISTS"
    assert error_of(ADMIN.create_topics([NewTopic("a/b", 1, 1)])) == "TOPIC_EXCEPTION"
    assert error_of(ADMIN.create_topics([NewTopic("x" + name, 1, 3)])) == "INVALID_REPLICATION_FACTOR"
    config = {"retention.ms": "soon"}
    assert error_of(ADMIN.create_topics([NewTopic("x" + name, 1, 1, config=config)])) == "INVALID_CONFIG"
    assert error_of(ADMIN.delete_topics(["no-" + name])) == "UNKNOWN_TOPIC_OR_PART"
    assert error_of(ADMIN.create_partitions([NewPartitions(name, 1)])) == "INVALID_PARTITIONS"
    assert error_of(ADMIN.delete_consumer_groups(["no-" + name])) == "GROUP_ID_NOT_FOUND"


def deleted_records_are_gone():
    name = topic()
    produce(name, [dict(value=b"%d" % i) for i in range(100)])
    futures = ADMIN.delete_records([TopicPartition(name, 0, 60)])
    assert list(futures.values())[0].result(20).low_watermark == 60
    assert [m.offset() for m in read(name, 40)] == list(range(60, 100))


def a_record_that_is_too_large_is_refused():
    name = topic(config={"max.message.bytes": "1000"})
    try:
        produce(name, [dict(value=b"x" * 5000)])
    except AssertionError as error:
        assert "MSG_SIZE_TOO_LARGE" in repr(error), repr(error)
        return
    raise AssertionError("it was taken")


CHECKS = [
    keys_values_headers_and_timestamps_come_back, every_compression_comes_back,
    a_topic_that_recompresses_gives_the_same_records, idempotent_producers_keep_order,
    acks_none_one_and_all_are_written, three_members_share_a_group_and_one_leaves,
    a_static_member_comes_back_without_a_rebalance, offsets_by_time_and_watermarks,
    topics_are_listed_grown_configured_and_deleted, wrong_requests_get_kafkas_errors,
    deleted_records_are_gone, a_record_that_is_too_large_is_refused,
]

failed = False
for check in CHECKS:
    if len(sys.argv) > 2 and sys.argv[2] not in check.__name__:
        continue
    try:
        check()
        print("ok", check.__name__, flush=True)
    except Exception as error:  # noqa: BLE001 - every failure is a line
        failed = True
        print(f"FAILED {check.__name__}: {type(error).__name__}: {error}", flush=True)
sys.exit(failed)
