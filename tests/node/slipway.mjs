// What the scripts are told by the test that runs them.

import { createRequire } from "node:module";

export const url = process.env.SLIPWAY_URL;
export const token = process.env.SLIPWAY_TOKEN;

/** A package of the folder that the test installed them in. */
export const packages = createRequire(`${process.env.SLIPWAY_NODE_PACKAGES}/`);

/** Tell the test something. */
export const tell = (fact) => console.log(JSON.stringify(fact));
