// OpenFeature's SDK for browsers with its OFREP provider, one for each person: evaluations are read from what it has
// fetched. It never polls; the event stream alone tells it to fetch again. (Node 20 has no EventSource: npm's is used.)

import { packages, tell, token, url } from "../../../node/slipway.mjs";
import { details } from "./details.mjs";
import { follow } from "./orders.mjs";

const { OpenFeature, ProviderEvents } = packages("@openfeature/web-sdk");
const { OFREPWebProvider } = packages("@openfeature/ofrep-web-provider");
globalThis.EventSource = packages("eventsource").EventSource;

// What goes over the wire, for the test to look at.
const requests = [];
const { fetch } = globalThis;
globalThis.fetch = async (asked, options) => {
  const { method, headers } = asked instanceof Request ? asked : { method: "GET", headers: new Headers(options.headers) };
  const { pathname, searchParams } = new URL(asked.url ?? asked);
  const request = {
    method,
    path: pathname,
    told: searchParams.get("flagConfigEtag"),
    ifNoneMatch: headers.get("if-none-match"),
    lastEventId: headers.get("last-event-id"),
  };
  const response = await fetch(asked, options);
  requests.push({ ...request, status: response.status, etag: response.headers.get("etag") });
  return response;
};

const people = JSON.parse(process.argv[2]);
for (const [name, context] of Object.entries(people)) {
  const client = OpenFeature.getClient(name);
  client.addHandler(ProviderEvents.ConfigurationChanged, ({ flagsChanged }) =>
    tell({ changed: flagsChanged, for: name, at: Date.now() }),
  );
  client.addHandler(ProviderEvents.Stale, () => tell({ stale: name }));
  const provider = new OFREPWebProvider({
    baseUrl: url,
    headers: [["Authorization", `Bearer ${token}`]],
    pollInterval: 0,
    cacheMode: "disabled",
  });
  await OpenFeature.setProviderAndWait(name, provider, context).catch((error) => tell({ failed: String(error) }));
}

await follow({
  read: ([flag, otherwise]) =>
    Object.fromEntries(Object.keys(people).map((name) => [name, details(OpenFeature.getClient(name), flag, otherwise)])),
  move: ([name, context]) => OpenFeature.setContext(name, context),
  requests: () => requests.splice(0),
});
await OpenFeature.close();
