// graphql-yoga on Node's own HTTP server, with Slipway's schema and one release in memory.
//
// BENCHMARK_RELEASE is a file with what Slipway answers to the query: it is read once, its times made dates and its
// durations milliseconds, so that both write their answers out of values.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { obey, packages, say, slipwaySchema } from "./benchmark.mjs";

const { createYoga } = packages("graphql-yoga");

const TIMES = new Set(["at", "startedAt", "endedAt", "expectedEndAt", "bakeEndsAt", "releasedAt"]);
const release = JSON.parse(readFileSync(process.env.BENCHMARK_RELEASE, "utf8"), (key, value) =>
  TIMES.has(key) && value !== null ? new Date(value) : value,
);
for (const phase of release.phases) phase.bakeTime = 86_400_000;
const releases = new Map([[release.id, release]]);

const schema = slipwaySchema();
schema.getQueryType().getFields().release.resolve = (_, { id }) => releases.get(id) ?? null;
schema.getType("ReleasePhase").getFields().bakeRemaining.resolve = (phase) =>
  phase.bakeEndsAt === null ? null : Math.max(0, phase.bakeEndsAt - Date.now());

const yoga = createYoga({ schema, logging: false, graphiql: false });
const server = createServer(yoga);
server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
obey(() => {});
