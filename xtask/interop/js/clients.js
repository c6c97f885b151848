// Checks the broker named by the first argument with kafkajs.
const { Kafka, logLevel, CompressionTypes } = require('kafkajs')

const kafka = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.NOTHING })
const admin = kafka.admin()
let next = 0

async function topic(numPartitions) {
  const name = `js-${process.pid}-${next++}`
  await admin.createTopics({ topics: [{ topic: name, numPartitions, replicationFactor: 1 }] })
  return name
}

async function write(name, count, options = {}, compression = CompressionTypes.None) {
  const producer = kafka.producer(options)
  await producer.connect()
  for (let at = 0; at < count; at += 500) {
    const messages = Array.from({ length: Math.min(500, count - at) }, (_, i) => ({
      key: `k${(at + i) % 9}`, value: `v${at + i}`, headers: { h: 'x' } }))
    await producer.send({ topic: name, messages, compression })
  }
  await producer.disconnect()
}

async function readAll(name, group, count) {
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 6000 })
  await consumer.connect()
  await consumer.subscribe({ topics: [name], fromBeginning: true })
  const seen = []
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`read ${seen.length} of ${count}`)), 40000)
    consumer.on(consumer.events.CRASH, (event) => reject(event.payload.error))
    consumer.run({ eachMessage: async ({ partition, message }) => {
      seen.push([partition, message])
      if (seen.length === count) { clearTimeout(timer); resolve() }
    } }).catch(reject)
  })
  await consumer.commitOffsets([...new Set(seen.map(([p]) => p))].map((partition) => ({
    topic: name, partition,
    offset: String(1 + Math.max(...seen.filter(([p]) => p === partition).map(([, m]) => Number(m.offset)))) })))
  await consumer.disconnect()
  return seen
}

const checks = {
  async a_group_reads_what_was_written() {
    for (const codec of [CompressionTypes.None, CompressionTypes.GZIP]) {
      const name = await topic(3)
      await write(name, 1500, {}, codec)
      const seen = await readAll(name, name, 1500)
      const values = new Set(seen.map(([, message]) => message.value.toString()))
      if (values.size !== 1500) throw new Error(`${values.size} different values`)
      if (seen[0][1].headers.h.toString() !== 'x') throw new Error('the header is lost')
    }
  },
  async an_idempotent_producer_writes_once() {
    const name = await topic(1)
    await write(name, 1000, { idempotent: true, maxInFlightRequests: 1 })
    const offsets = await admin.fetchTopicOffsets(name)
    if (offsets[0].high !== '1000') throw new Error(`high watermark ${offsets[0].high}`)
  },
  async admin_describes_and_deletes() {
    const name = await topic(2)
    const { topics } = await admin.fetchTopicMetadata({ topics: [name] })
    if (topics[0].partitions.length !== 2) throw new Error('two partitions expected')
    await admin.createPartitions({ topicPartitions: [{ topic: name, count: 4 }] })
    await write(name, 100)
    await readAll(name, name, 100)
    const groups = await admin.listGroups()
    if (!groups.groups.some((group) => group.groupId === name)) throw new Error('the group is not listed')
    const described = await admin.describeGroups([name])
    if (described.groups[0].state !== 'Empty') throw new Error(described.groups[0].state)
    await admin.deleteGroups([name])
    await admin.deleteTopics({ topics: [name] })
  },
}

;(async () => {
  let status = 0
  await admin.connect()
  for (const [name, check] of Object.entries(checks)) {
    try { await check(); console.log(`ok ${name}`) } catch (error) {
      status = 1
      console.log(`FAILED ${name}: ${error.message}`)
    }
  }
  await admin.disconnect()
  process.exit(status)
})()
