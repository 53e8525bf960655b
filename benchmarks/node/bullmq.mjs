// How fast BullMQ works off delayed jobs that all fall due at one moment and do nothing. Prints one line of JSON.
//
//   node bullmq.mjs <socket of the Redis> <jobs> <jobs at once>
//
// benchmarks/timer_drain.py copies this beside the packages that it installs.

import { Queue, Worker } from 'bullmq'

const [path, count, concurrency] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])]
const connection = { path, maxRetriesPerRequest: null }
const queue = new Queue('bakes', { connection })

const due = Date.now() + 3_000 + count
for (let from = 0; from < count; from += 1_000) {
  const numbers = Array.from({ length: Math.min(1_000, count - from) }, (_, n) => from + n)
  await queue.addBulk(
    numbers.map((n) => ({
      name: 'end_bake',
      data: { release: `rel_${n}`, timer: '2' },
      opts: { delay: due - Date.now(), removeOnComplete: true },
    })),
  )
}
if (Date.now() > due) throw new Error('the jobs were due before all were queued')

const late = []
let finish
const finished = new Promise((resolve) => (finish = resolve))
const worker = new Worker(
  'bakes',
  async () => {
    if (late.push(Date.now() - due) === count) finish()
  },
  { connection, concurrency },
)
await finished
late.sort((one, other) => one - other)
const at = (part) => late[Math.min(count - 1, Math.floor(count * part))]
console.log(JSON.stringify({ seconds: late.at(-1) / 1_000, p50: at(0.5), p99: at(0.99), worst: late.at(-1) }))
await worker.close()
await queue.close()
