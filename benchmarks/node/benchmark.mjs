// What both servers share: the packages, Slipway's own schema, and the side of a child (see ../children.py).

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

/** A package of the folder that the benchmark installed them in. */
export const packages = createRequire(`${process.env.BENCHMARK_NODE_PACKAGES}/`);

const { buildSchema } = packages("graphql");

/** Slipway's schema, whose fields read the properties of plain objects. Times are dates, durations milliseconds. */
export function slipwaySchema() {
  const schema = buildSchema(readFileSync(process.env.BENCHMARK_SCHEMA, "utf8"));
  schema.getType("DateTime").serialize = (date) => date.toISOString();
  schema.getType("Duration").serialize = duration;
  return schema;
}

/** ISO 8601 as Slipway writes it. */
export function duration(milliseconds) {
  if (milliseconds === 0) return "PT0S";
  const days = Math.floor(milliseconds / 86_400_000);
  const hours = Math.floor(milliseconds / 3_600_000) % 24;
  const minutes = Math.floor(milliseconds / 60_000) % 60;
  const seconds = (milliseconds % 60_000) / 1_000;
  const time = `${hours ? `${hours}H` : ""}${minutes ? `${minutes}M` : ""}${seconds ? `${seconds}S` : ""}`;
  return `P${days ? `${days}D` : ""}${time ? `T${time}` : ""}`;
}

/** Tell the benchmark something. */
export const say = (facts) => console.log(JSON.stringify(facts));

/** Obey commands, each split into words, until the benchmark ends. */
export function obey(command) {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => command(...line.split(" ")));
  lines.on("close", () => process.exit());
}
