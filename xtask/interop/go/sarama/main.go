// Command sarama checks the broker named by its first argument with IBM's sarama.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"ottla/interop/report"
)

var brokers = []string{os.Args[1]}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_6_0_0
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return c
}

func topic(partitions int32) (string, error) {
	admin, err := sarama.NewClusterAdmin(brokers, config())
	if err != nil {
		return "", err
	}
	defer admin.Close()
	name := fmt.Sprintf("sarama-%d", time.Now().UnixNano())
	return name, admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
}

func write(name string, count int, c *sarama.Config) error {
	producer, err := sarama.NewSyncProducer(brokers, c)
	if err != nil {
		return err
	}
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for i := range count {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: name, Key: sarama.StringEncoder(fmt.Sprint(i % 7)), Value: sarama.StringEncoder(fmt.Sprint(i)),
		})
	}
	return producer.SendMessages(messages)
}

func idempotentProducerAndPartitionConsumer() error {
	name, err := topic(1)
	if err != nil {
		return err
	}
	c := config()
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	if err := write(name, 2000, c); err != nil {
		return err
	}
	consumer, err := sarama.NewConsumer(brokers, config())
	if err != nil {
		return err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(name, 0, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	defer partition.Close()
	for i := range 2000 {
		select {
		case message := <-partition.Messages():
			if string(message.Value) != fmt.Sprint(i) {
				return fmt.Errorf("at %d: %s", i, message.Value)
			}
		case <-time.After(20 * time.Second):
			return fmt.Errorf("nothing at %d", i)
		}
	}
	return nil
}

type handler struct {
	mutex sync.Mutex
	seen  int
	done  context.CancelFunc
}

func (*handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h *handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			session.MarkMessage(message, "")
			h.mutex.Lock()
			h.seen++
			if h.seen == 900 {
				h.done()
			}
			h.mutex.Unlock()
		case <-session.Context().Done():
			return nil
		}
	}
}

func groupReadsAllAndCommits() error {
	name, err := topic(3)
	if err != nil {
		return err
	}
	if err := write(name, 900, config()); err != nil {
		return err
	}
	group, err := sarama.NewConsumerGroup(brokers, name, config())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	h := &handler{done: cancel}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{name}, h); err != nil && ctx.Err() == nil {
			return err
		}
	}
	group.Close()
	if h.seen != 900 {
		return fmt.Errorf("read %d of 900", h.seen)
	}
	admin, err := sarama.NewClusterAdmin(brokers, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	offsets, err := admin.ListConsumerGroupOffsets(name, nil)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, block := range offsets.Blocks[name] {
		total += block.Offset
	}
	if total != 900 {
		return fmt.Errorf("committed %d of 900", total)
	}
	return admin.DeleteConsumerGroup(name)
}

func main() {
	report.Run([]report.Check{
		{Name: "idempotent_producer_and_partition_consumer", Run: idempotentProducerAndPartitionConsumer},
		{Name: "a_group_reads_all_and_commits", Run: groupReadsAllAndCommits},
	})
}
