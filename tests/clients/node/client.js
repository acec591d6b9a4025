// A program over nsqjs that publishes the lines of a file, or consumes a number of messages.
// It knows the client library and nothing of the broker behind it; the tests read its last line.

'use strict'

const fs = require('fs')
const {parseArgs} = require('util')
const nsq = require('nsqjs')

const fail = (error) => {
  console.error(error)
  process.exit(1)
}

// What lies between the library and its socket. The library cannot be told of an authority but by
// the environment, so it looks at no certificate here.
const layers = (options) => ({
  tls: options['tls-ca'] !== '',
  tlsVerification: false,
  snappy: options.snappy,
  deflate: options.deflate,
})

// Sends every line of a file as one message and ends when the last is acknowledged.
function publish(options) {
  const lines = linesOf(fs.readFileSync(options.file))
  const size = options.mode === 'mpub' ? Number(options.batch) : 1
  const groups = []
  for (let at = 0; at < lines.length; at += size) groups.push(lines.slice(at, at + size))
  const [host, port] = options.nsqd.split(':')
  const writer = new nsq.Writer(host, Number(port), layers(options))
  let next = 0
  let answered = 0
  const sendMore = () => {
    while (next < groups.length && next - answered < Number(options.pipeline)) {
      const group = groups[next]
      next += 1
      writer.publish(options.topic, options.mode === 'mpub' ? group : group[0], (error) => {
        if (error) fail(error)
        answered += 1
        if (answered === groups.length) process.exit(0)
        sendMore()
      })
    }
  }
  writer.on('error', fail)
  writer.on('ready', sendMore)
  writer.connect()
}

// Cuts at LF alone, and keeps the bytes as they are.
function linesOf(content) {
  const lines = []
  let begin = 0
  for (let end = content.indexOf(10); end !== -1; end = content.indexOf(10, begin)) {
    lines.push(content.subarray(begin, end))
    begin = end + 1
  }
  if (begin < content.length) lines.push(content.subarray(begin))
  return lines
}

// Finishes messages until a number of distinct ones has come, then writes them to a file.
function consume(options) {
  const every = {requeue: Number(options['requeue-every']), timeout: Number(options['timeout-every'])}
  const count = Number(options.count)
  const finished = []
  const seen = new Set()
  const state = {fresh: 0, deliveries: 0, requeued: 0, timedOut: 0}
  const readers = []

  const end = () => {
    for (const reader of readers) reader.close()
    fs.writeFileSync(
      options.output,
      Buffer.concat(finished.flatMap((body) => [body, Buffer.from('\n')]))
    )
    console.log(
      `finished=${finished.length} deliveries=${state.deliveries} ` +
        `requeued=${state.requeued} timed_out=${state.timedOut}`
    )
    setTimeout(() => process.exit(0), 200)
  }

  const handle = (message) => {
    state.deliveries += 1
    if (message.attempts === 1) {
      state.fresh += 1
      if (every.requeue && state.fresh % every.requeue === 0) {
        state.requeued += 1
        message.requeue(100, false)
        return
      }
      if (every.timeout && state.fresh % every.timeout === 0) {
        state.timedOut += 1
        return
      }
    }
    message.finish()
    finished.push(message.body)
    const before = seen.size
    seen.add(message.body.toString('latin1'))
    // FIN goes out on the next turn of the loop; the pause lets it reach the broker.
    if (before < seen.size && seen.size === count) setTimeout(end, 200)
  }

  for (let number = 0; number < Number(options.consumers); number += 1) {
    const where = options.lookupd
      ? {lookupdHTTPAddresses: options.lookupd, lookupdPollInterval: 1}
      : {nsqdTCPAddresses: options.nsqd}
    if (options['msg-timeout-ms'] !== '0') where.messageTimeout = Number(options['msg-timeout-ms'])
    const reader = new nsq.Reader(options.topic, options.channel, {
      maxInFlight: Number(options['max-in-flight']),
      ...where,
      ...layers(options),
    })
    reader.on('message', handle)
    reader.on('error', (error) => console.error(error))
    reader.connect()
    readers.push(reader)
  }
}

const text = (value) => ({type: 'string', default: value})
const between = {'tls-ca': text(''), snappy: {type: 'boolean', default: false}, deflate: {type: 'boolean', default: false}}
const verbs = {
  publish: [
    publish,
    {
      nsqd: text(), topic: text(), file: text(),
      mode: text('mpub'), batch: text('200'), pipeline: text('64'), ...between,
    },
  ],
  consume: [
    consume,
    {
      nsqd: text(), lookupd: text(), topic: text(), channel: text(), count: text(), output: text(),
      consumers: text('1'), 'max-in-flight': text('200'),
      'requeue-every': text('0'), 'timeout-every': text('0'), 'msg-timeout-ms': text('0'),
      ...between,
    },
  ],
}
const verb = verbs[process.argv[2]]
if (!verb) fail('say publish or consume')
for (const option of Object.values(verb[1])) if (option.default === undefined) delete option.default
verb[0](parseArgs({args: process.argv.slice(3), options: verb[1]}).values)
