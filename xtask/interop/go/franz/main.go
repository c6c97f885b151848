// Command franz checks the broker named by its first argument with franz-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"ottla/interop/report"
)

var bootstrap = os.Args[1]

func client(opts ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(bootstrap))...)
	if err != nil {
		panic(err)
	}
	return c
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 60*time.Second)
}

func topic(partitions int32) (string, error) {
	c := client()
	defer c.Close()
	ctx, cancel := limited()
	defer cancel()
	name := fmt.Sprintf("franz-%d", time.Now().UnixNano())
	_, err := kadm.NewClient(c).CreateTopic(ctx, partitions, 1, nil, name)
	return name, err
}

func write(name string, count int, opts ...kgo.Opt) error {
	ctx, cancel := limited()
	defer cancel()
	c := client(opts...)
	defer c.Close()
	var failed error
	for i := range count {
		record := &kgo.Record{
			Topic: name, Key: fmt.Appendf(nil, "k%d", i%10), Value: fmt.Appendf(nil, "v%d", i),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}},
		}
		c.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
	}
	if err := c.Flush(ctx); err != nil {
		return err
	}
	return failed
}

func read(count int, opts ...kgo.Opt) ([]*kgo.Record, error) {
	ctx, cancel := limited()
	defer cancel()
	c := client(opts...)
	defer c.Close()
	var records []*kgo.Record
	for len(records) < count {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		records = append(records, fetches.Records()...)
	}
	if len(records) != count {
		return nil, fmt.Errorf("read %d of %d", len(records), count)
	}
	return records, nil
}

func everyCompression() error {
	for _, codec := range []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	} {
		name, err := topic(1)
		if err != nil {
			return err
		}
		if err := write(name, 2000, kgo.ProducerBatchCompression(codec)); err != nil {
			return err
		}
		records, err := read(2000, kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return err
		}
		for i, record := range records {
			if string(record.Value) != fmt.Sprintf("v%d", i) || len(record.Headers) != 2 || record.Offset != int64(i) {
				return fmt.Errorf("record %d came back as %v", i, record)
			}
		}
	}
	return nil
}

func groupTakesUpWhereItWas() error {
	name, err := topic(4)
	if err != nil {
		return err
	}
	if err := write(name, 1000); err != nil {
		return err
	}
	group := []kgo.Opt{
		kgo.ConsumerGroup(name), kgo.ConsumeTopics(name), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}
	ctx, cancel := limited()
	defer cancel()
	c := client(group...)
	for seen := 0; seen < 1000; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		seen += fetches.NumRecords()
	}
	if err := c.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	c.Close()
	if err := write(name, 500); err != nil {
		return err
	}
	_, err = read(500, group...)
	return err
}

func adminSeesGroupsOffsetsAndConfigs() error {
	name, err := topic(3)
	if err != nil {
		return err
	}
	if err := write(name, 300); err != nil {
		return err
	}
	c := client()
	defer c.Close()
	admin := kadm.NewClient(c)
	ctx, cancel := limited()
	defer cancel()
	offsets := kadm.Offsets{}
	offsets.AddOffset(name, 0, 7, -1)
	if err := admin.CommitAllOffsets(ctx, name, offsets); err != nil {
		return err
	}
	fetched, err := admin.FetchOffsets(ctx, name)
	if err != nil {
		return err
	}
	if at, ok := fetched.Lookup(name, 0); !ok || at.At != 7 {
		return fmt.Errorf("committed 7, fetched %v", at)
	}
	ends, err := admin.ListEndOffsets(ctx, name)
	if err != nil {
		return err
	}
	total := int64(0)
	ends.Each(func(end kadm.ListedOffset) { total += end.Offset })
	if total != 300 {
		return fmt.Errorf("ends add up to %d", total)
	}
	groups, err := admin.DescribeGroups(ctx, name)
	if err != nil {
		return err
	}
	if groups[name].State != "Empty" {
		return fmt.Errorf("group is %q", groups[name].State)
	}
	if _, err := admin.DescribeTopicConfigs(ctx, name); err != nil {
		return err
	}
	if _, err := admin.DescribeAllLogDirs(ctx, nil); err != nil {
		return err
	}
	_, err = admin.DescribeBrokerConfigs(ctx)
	return err
}

func errorsAreKafkas() error {
	c := client()
	defer c.Close()
	admin := kadm.NewClient(c)
	ctx, cancel := limited()
	defer cancel()
	for name, want := range map[string]error{"..": kerr.InvalidTopicException, "": kerr.InvalidTopicException, "a b": kerr.InvalidTopicException} {
		if _, err := admin.CreateTopic(ctx, 1, 1, nil, name); !errors.Is(err, want) {
			return fmt.Errorf("%q: %v, not %v", name, err, want)
		}
	}
	return nil
}

func main() {
	report.Run([]report.Check{
		{Name: "every_compression_comes_back", Run: everyCompression},
		{Name: "a_group_takes_up_where_it_was", Run: groupTakesUpWhereItWas},
		{Name: "admin_sees_groups_offsets_and_configs", Run: adminSeesGroupsOffsetsAndConfigs},
		{Name: "wrong_topic_names_get_kafkas_error", Run: errorsAreKafkas},
	})
}
