// A page that reads flags with OpenFeature's SDK for browsers and its OFREP provider, as a shop would: bundled, with the
// provider's own defaults, so that flags are kept in local storage and nothing is polled.

import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";

import { details } from "./details.mjs";

globalThis.shop = {
  heard: [],
  async open([baseUrl, key, context]) {
    for (const event of [ProviderEvents.ConfigurationChanged, ProviderEvents.Stale])
      OpenFeature.addHandler(event, () => this.heard.push({ event, at: Date.now() }));
    const provider = new OFREPWebProvider({ baseUrl, headers: [["X-API-Key", key]] });
    return OpenFeature.setProviderAndWait(provider, context).then(() => "open", String);
  },
  read: ([flag, otherwise]) => details(OpenFeature.getClient(), flag, otherwise),
};
