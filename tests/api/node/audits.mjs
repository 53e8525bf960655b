// The public audits for GraphQL over HTTP, run against SLIPWAY_URL: one line of JSON for each, its status and why.

import { packages, token, url } from "../../node/slipway.mjs";

const { serverAudits } = packages("graphql-http");

const authorized = (address, options = {}) => {
  const headers = new Headers(options.headers);
  headers.set("authorization", `Bearer ${token}`);
  return fetch(address, { ...options, headers });
};

for (const audit of serverAudits({ url, fetchFn: authorized })) {
  const { id, name, status, reason } = await audit.fn();
  console.log(JSON.stringify({ id, name, status, reason }));
}
