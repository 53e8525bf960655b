// OpenFeature's SDK for servers with its OFREP provider: each evaluation is a request, for the context that it names.

import { packages, tell, token, url } from "../../../node/slipway.mjs";
import { details } from "./details.mjs";
import { follow } from "./orders.mjs";

const { OpenFeature } = packages("@openfeature/server-sdk");
const { OFREPProvider } = packages("@openfeature/ofrep-provider");

const people = JSON.parse(process.argv[2]);
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: url, headers: [["Authorization", `Bearer ${token}`]] }));
const client = OpenFeature.getClient();

await follow({
  read: async ([flag, otherwise]) => {
    const given = {};
    for (const [name, context] of Object.entries(people)) given[name] = await details(client, flag, otherwise, context);
    return given;
  },
});
await OpenFeature.close();
