import java.io.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.internals.RecordHeader;

/** Checks the broker named by the first argument with Kafka's own Java client. */
public class Clients {
    interface Check { void run() throws Exception; }

    static String bootstrap;
    static Admin admin;
    static int next;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        if (args.length > 1 && args[1].equals("member")) { member(args[2], args[3], args[4]); return; }
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("idempotent_producer_with_every_compression", Clients::compressions);
        checks.put("headers_and_timestamps_come_back", Clients::headers);
        checks.put("three_processes_share_a_group_and_one_is_killed", () -> killed("org.apache.kafka.clients.consumer.RangeAssignor"));
        checks.put("cooperative_members_share_a_group_and_one_is_killed", () -> killed("org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
        checks.put("admin_describes_what_there_is", Clients::describe);
        checks.put("offsets_are_reset_and_deleted", Clients::offsets);
        checks.put("a_deleted_topic_is_made_anew", Clients::recreate);
        checks.put("wrong_requests_get_kafkas_errors", Clients::errors);
        int status = 0;
        for (var check : checks.entrySet()) {
            try {
                check.getValue().run();
                System.out.println("ok " + check.getKey());
            } catch (Throwable error) {
                status = 1;
                System.out.println("FAILED " + check.getKey() + ": " + error);
            }
        }
        System.exit(status);
    }

    static String topic(int partitions) throws Exception {
        String name = "java-" + System.nanoTime() + "-" + next++;
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get(20, TimeUnit.SECONDS);
        return name;
    }

    static Producer<String, String> producer(Map<String, Object> more) {
        var config = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 5,
            "key.serializer", "org.apache.kafka.common.serialization.StringSerializer",
            "value.serializer", "org.apache.kafka.common.serialization.StringSerializer"));
        config.putAll(more);
        return new KafkaProducer<>(config);
    }

    static Consumer<String, String> consumer(Map<String, Object> more) {
        var config = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "earliest",
            "enable.auto.commit", "false",
            "key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer",
            "value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer"));
        config.putAll(more);
        return new KafkaConsumer<>(config);
    }

    static void write(String topic, int count, Map<String, Object> more) throws Exception {
        try (var producer = producer(more)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < count; i++) sent.add(producer.send(new ProducerRecord<>(topic, "k" + i % 13, "v" + i)));
            producer.flush();
            for (var one : sent) one.get();
        }
    }

    static List<ConsumerRecord<String, String>> read(String topic, int partition, int count) {
        try (var consumer = consumer(Map.of())) {
            var at = new TopicPartition(topic, partition);
            consumer.assign(List.of(at));
            consumer.seekToBeginning(List.of(at));
            List<ConsumerRecord<String, String>> seen = new ArrayList<>();
            long end = System.nanoTime() + 30_000_000_000L;
            while (seen.size() < count && System.nanoTime() < end) consumer.poll(Duration.ofMillis(200)).forEach(seen::add);
            same(count, seen.size(), "records read");
            return seen;
        }
    }

    static void same(Object expected, Object got, String what) {
        if (!Objects.equals(expected, got)) throw new AssertionError(what + ": expected " + expected + ", got " + got);
    }

    static void compressions() throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            String topic = topic(1);
            write(topic, 5000, Map.of("compression.type", codec));
            int i = 0;
            for (var record : read(topic, 0, 5000)) same("v" + i++, record.value(), codec);
        }
    }

    static void headers() throws Exception {
        String topic = topic(1);
        try (var producer = producer(Map.of())) {
            var headers = List.<org.apache.kafka.common.header.Header>of(
                new RecordHeader("a", new byte[] {1}), new RecordHeader("a", new byte[] {2}), new RecordHeader("n", (byte[]) null));
            producer.send(new ProducerRecord<>(topic, 0, 1234567L, null, "v", headers)).get();
        }
        var record = read(topic, 0, 1).get(0);
        same(1234567L, record.timestamp(), "timestamp");
        same(3, record.headers().toArray().length, "headers");
        same((byte) 2, record.headers().lastHeader("a").value()[0], "the last of two headers of one name");
    }

    /** A member in a process of its own: commits what it printed, until it is killed. */
    static void member(String topic, String group, String assignor) {
        try (var consumer = consumer(Map.of("group.id", group, "partition.assignment.strategy", assignor,
                "session.timeout.ms", 6000, "heartbeat.interval.ms", 500, "max.poll.records", 50))) {
            consumer.subscribe(List.of(topic));
            while (true) {
                var records = consumer.poll(Duration.ofMillis(100));
                if (records.isEmpty()) continue;
                var lines = new StringBuilder();
                for (var record : records) lines.append(record.partition()).append(' ').append(record.offset()).append('\n');
                System.out.print(lines);
                System.out.flush();
                try {
                    consumer.commitSync();
                } catch (CommitFailedException | RebalanceInProgressException rebalanced) {
                    // What was not committed is read again by whoever owns the partition now.
                }
            }
        }
    }

    static void killed(String assignor) throws Exception {
        String topic = topic(6), group = topic + "-group";
        write(topic, 3000, Map.of());
        var seen = ConcurrentHashMap.<String>newKeySet();
        List<Process> members = new ArrayList<>();
        try {
            for (int i = 0; i < 3; i++) {
                var process = new ProcessBuilder(ProcessHandle.current().info().command().get(), "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp",
                    System.getProperty("java.class.path"), "-Dlog4j2.configurationFile=" + System.getProperty("log4j2.configurationFile"),
                    System.getenv("CLIENTS_SOURCE"), bootstrap, "member", topic, group, assignor)
                    .redirectError(ProcessBuilder.Redirect.DISCARD).start();
                members.add(process);
                var reader = new Thread(() -> new BufferedReader(new InputStreamReader(process.getInputStream())).lines().forEach(seen::add));
                reader.setDaemon(true);
                reader.start();
            }
            until(() -> seen.size() >= 1000);
            members.get(0).destroyForcibly().waitFor();
            write(topic, 3000, Map.of());
            until(() -> seen.size() == 6000);
            until(() -> committed(group) == 6000);
        } finally {
            for (var process : members) process.destroyForcibly();
        }
    }

    static String groups() {
        try {
            var ids = admin.listConsumerGroups().all().get().stream().map(group -> group.groupId()).toList();
            return admin.describeConsumerGroups(ids).all().get().values().toString();
        } catch (Exception error) {
            return error.toString();
        }
    }

    static long committed(String group) {
        try {
            return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().values().stream()
                .mapToLong(OffsetAndMetadata::offset).sum();
        } catch (Exception error) {
            return -1;
        }
    }

    /** Longer than max.poll.interval.ms, for which a rebalance may wait; what takes a minute is told. */
    static void until(Condition condition) throws Exception {
        long begun = System.nanoTime();
        boolean told = false;
        while (!condition.holds()) {
            long waited = (System.nanoTime() - begun) / 1_000_000_000L;
            if (waited > 400) throw new AssertionError("waited too long");
            if (waited > 60 && !told) {
                told = true;
                System.out.println("after " + waited + " s the groups are " + groups());
            }
            Thread.sleep(50);
        }
    }

    interface Condition { boolean holds() throws Exception; }

    static void describe() throws Exception {
        String topic = topic(3);
        var described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        same(3, described.partitions().size(), "partitions");
        same(1, described.partitions().get(0).isr().size(), "in-sync replicas");
        same(1, admin.describeCluster().nodes().get().size(), "nodes");
        var quorum = admin.describeMetadataQuorum().quorumInfo().get();
        same(1, quorum.voters().size(), "voters");
        var broker = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(admin.describeCluster().nodes().get().iterator().next().id()));
        if (admin.describeConfigs(List.of(broker)).all().get().get(broker).get("log.dirs") == null) throw new AssertionError("no log.dirs");
        if (admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("metadata.version") == null) throw new AssertionError("no metadata.version");
        admin.describeLogDirs(List.of(1)).allDescriptions().get();
        admin.describeProducers(List.of(new TopicPartition(topic, 0))).all().get();
        same(0L, admin.listOffsets(Map.of(new TopicPartition(topic, 0), OffsetSpec.latest())).all().get().values().iterator().next().offset(), "end");
    }

    static void offsets() throws Exception {
        String topic = topic(2), group = topic + "-group";
        write(topic, 100, Map.of());
        var at = new TopicPartition(topic, 0);
        admin.alterConsumerGroupOffsets(group, Map.of(at, new OffsetAndMetadata(5, Optional.of(0), "note"))).all().get();
        var committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(at);
        same(5L, committed.offset(), "offset");
        same("note", committed.metadata(), "metadata");
        admin.deleteConsumerGroupOffsets(group, Set.of(at)).all().get();
        same(null, admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(at), "deleted offset");
        if (admin.listGroups().all().get().stream().noneMatch(one -> one.groupId().equals(group))) return;
        admin.deleteConsumerGroups(List.of(group)).all().get();
    }

    static void recreate() throws Exception {
        String topic = topic(1);
        write(topic, 10, Map.of());
        var id = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
        admin.deleteTopics(List.of(topic)).all().get();
        admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
        // A broker may learn of the new topic a moment after the controller has made it.
        until(() -> {
            try {
                return !admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId().equals(id);
            } catch (ExecutionException notYet) {
                return false;
            }
        });
        write(topic, 3, Map.of());
        same(3, read(topic, 0, 3).size(), "records of the new topic");
    }

    static void errors() throws Exception {
        String topic = topic(1);
        fails(TopicExistsException.class, admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all());
        fails(InvalidTopicException.class, admin.createTopics(List.of(new NewTopic("a/b", 1, (short) 1))).all());
        fails(InvalidPartitionsException.class, admin.createTopics(List.of(new NewTopic("x" + topic, 0, (short) 1))).all());
        fails(UnknownTopicOrPartitionException.class, admin.deleteTopics(List.of("no-" + topic)).all());
        fails(InvalidConfigurationException.class, admin.createTopics(List.of(new NewTopic("x" + topic, 1, (short) 1).configs(Map.of("no.such.key", "1")))).all());
        fails(GroupIdNotFoundException.class, admin.deleteConsumerGroups(List.of("no-" + topic)).all());
    }

    static void fails(Class<?> error, KafkaFuture<?> future) throws Exception {
        try {
            future.get(20, TimeUnit.SECONDS);
        } catch (ExecutionException failed) {
            same(error, failed.getCause().getClass(), "error");
            return;
        }
        throw new AssertionError(error + " expected");
    }
}
