// How the scripts of the clients follow the orders of the test, one a line.

import { createInterface } from "node:readline";

import { tell } from "../../../node/slipway.mjs";

/** Do what the test says, and tell what comes of it, until it hangs up. */
export async function follow(orders) {
  tell({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const [[name, given]] = Object.entries(JSON.parse(line));
    tell({ [name]: (await orders[name](given)) ?? null });
  }
}
