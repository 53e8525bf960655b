// Runs scripts in threads of one process, each to its own end: a line of JSON starts one or ends it, and each line that
// it tells comes back with its number, last of all how it ended.

import { createInterface } from "node:readline";
import { finished } from "node:stream/promises";
import { Worker } from "node:worker_threads";

const running = new Map();
const say = (line) => console.log(JSON.stringify(line));

async function run(number, script, args, env) {
  const thread = new Worker(script, { argv: args, env: { ...process.env, ...env }, stdout: true, stderr: true });
  running.set(number, thread);
  let complaints = "";
  thread.on("error", (error) => (complaints += error.stack ?? error));
  thread.stderr.on("data", (chunk) => (complaints += chunk));
  const lines = createInterface({ input: thread.stdout });
  lines.on("line", (fact) => say({ number, fact: JSON.parse(fact) }));
  const told = new Promise((closed) => lines.on("close", closed));
  const [code] = await Promise.all([new Promise((ended) => thread.on("exit", ended)), told, finished(thread.stderr)]);
  running.delete(number);
  say({ number, code, complaints });
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const { number, script, args, env } = JSON.parse(line);
  if (script) run(number, script, args, env);
  else running.get(number)?.terminate();
});
