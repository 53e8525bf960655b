// What the client of npm's graphql-ws, and the `ws` that it stands on, see of SLIPWAY_URL: one scenario a run.
//
// The client keeps the protocol, so where a scenario has it broken, its own hook for messages (jsonMessageReplacer) or
// its socket is made to break it. Each scenario tells what happened in lines of JSON, the close of a socket always.

import { packages, tell, token, url } from "../../node/slipway.mjs";

const { createClient } = packages("graphql-ws/client");
const WebSocket = packages("ws");

const PROTOCOL = "graphql-transport-ws";
const RELEASES = "subscription { releases { id revision } }";
const QUERY = "{ __typename }";
const letIn = { authorization: `Bearer ${token}` };

/** A client that never tries again, and tells how its sockets end. */
function client(options = {}) {
  return createClient({
    url,
    webSocketImpl: WebSocket,
    connectionParams: letIn,
    retryAttempts: 0,
    onNonLazyError: () => {},
    ...options,
    on: {
      connected: () => tell({ connected: true }),
      closed: ({ code, reason }) => tell({ code, reason }),
      ...options.on,
    },
  });
}

/** Ask, and tell each answer and how it ended. */
function ask(asker, query, variables) {
  return new Promise((ended) => {
    const told = (fact) => (tell(fact), ended());
    asker.subscribe(
      { query, variables },
      {
        next: (answer) => tell({ next: answer }),
        error: (error) => told(Array.isArray(error) ? { errors: error } : { failed: error.code ?? String(error) }),
        complete: () => told({ complete: true }),
      },
    );
  });
}

/** Send something else instead of one kind of message. */
const instead = (type, message) => (key, value) => (key === "" && value?.type === type ? message : value);

/** Say frames on a socket of `ws` as soon as it is open, and tell how it ends. */
function say(protocols, ...frames) {
  const socket = new WebSocket(url, protocols);
  socket.on("open", () => frames.forEach((frame) => socket.send(frame)));
  socket.on("error", (error) => tell({ failed: String(error) }));
  socket.on("close", (code, reason) => tell({ code, reason: String(reason) }));
  return socket;
}

/** Sockets that offer another protocol than the client's. */
const offering = (protocols) =>
  class extends WebSocket {
    constructor(address) {
      super(address, protocols);
    }
  };

const init = JSON.stringify({ type: "connection_init", payload: letIn });

const bad = {
  "not JSON": "{",
  "binary": Buffer.from('{"type": "ping"}'),
  "a list": "[]",
  "an unknown type": '{"type": "start", "id": "1"}',
  "no type": '{"id": "1"}',
  "an id that is a number": '{"type": "subscribe", "id": 1, "payload": {"query": "{ __typename }"}}',
  "an id that is an object": '{"type": "subscribe", "id": {}, "payload": {"query": "{ __typename }"}}',
  "no payload": '{"type": "subscribe", "id": "1"}',
  "a payload of null": '{"type": "subscribe", "id": "1", "payload": null}',
  "a query that is a number": '{"type": "subscribe", "id": "1", "payload": {"query": 1}}',
  "variables that are text": '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "variables": ""}}',
  "a ping of text": '{"type": "ping", "payload": "x"}',
  "an init of text": '{"type": "connection_init", "payload": "x"}',
  "JSON 200,000 deep": "[".repeat(200_000),
};

const scenarios = {
  "a query": () => ask(client(), QUERY),
  "a syntax error": async () => {
    const asker = client({ lazy: false });
    await ask(asker, "{");
    await ask(asker, QUERY);
    await asker.dispose();
  },
  "a query that is a number": () => {
    const jsonMessageReplacer = instead("subscribe", { type: "subscribe", id: "1", payload: { query: 5 } });
    return ask(client({ jsonMessageReplacer }), QUERY);
  },
  "an ack before its time": () => {
    const jsonMessageReplacer = instead("connection_init", { type: "connection_ack" });
    return ask(client({ jsonMessageReplacer }), QUERY);
  },
  "a subscribe before its time": () => {
    const subscribe = { type: "subscribe", id: "1", payload: { query: QUERY } };
    return ask(client({ jsonMessageReplacer: instead("connection_init", subscribe) }), QUERY);
  },
  "a wrong token": () => ask(client({ connectionParams: { authorization: "Bearer wrong" } }), QUERY),
  "no token": () => ask(client({ connectionParams: undefined }), QUERY),
  "an empty init": () => {
    class Authorized extends WebSocket {
      constructor(address, protocols) {
        super(address, protocols, { headers: letIn });
      }
    }
    const jsonMessageReplacer = instead("connection_init", { type: "connection_init", payload: null });
    return ask(client({ webSocketImpl: Authorized, jsonMessageReplacer }), QUERY);
  },
  "a subscription": () => ask(client(), RELEASES),
  "the retired protocol": () => ask(client({ webSocketImpl: offering("graphql-ws") }), QUERY),
  "an unknown protocol": () => ask(client({ webSocketImpl: offering(["soap", "json"]) }), QUERY),
  "no protocol": () => say([]),
  "no init": () => ask(client({ jsonMessageReplacer: instead("connection_init", { type: "complete", id: "1" }) }), QUERY),
  "silence": () => say(PROTOCOL),
  "an id twice": () => {
    const asker = client({ generateID: () => "same" });
    return Promise.all([ask(asker, RELEASES), ask(asker, RELEASES)]);
  },
  "an init twice": () => ask(client({ jsonMessageReplacer: instead("subscribe", JSON.parse(init)) }), QUERY),
  "inits at once": () => say(PROTOCOL, init, init),
  "many messages": () => {
    const asker = client();
    return Promise.all(Array.from({ length: 60 }, () => ask(asker, QUERY)));
  },
  "a long message": () => ask(client(), QUERY, { text: "x".repeat(300 * 1024) }),
  "a very long message": () => ask(client(), QUERY, { text: "x".repeat(2 * 1024 * 1024) }),
  "one socket too many": async () => {
    const first = client({ lazy: false, on: { connected: () => {}, closed: () => {} } });
    await new Promise((connected) => first.on("connected", connected));
    await ask(client(), QUERY);
    await first.dispose();
  },
  "a ping": () => {
    const asker = client({
      on: {
        connected: (socket) => socket.send('{"type": "ping", "payload": {"at": 1, "nested": {"é": [null]}}}'),
        pong: (received, payload) => (tell({ received, payload }), asker.dispose()),
      },
      lazy: false,
    });
  },
  "a subscription that goes on": () => {
    const retryWait = () => new Promise((go) => setTimeout(go, 50));
    return ask(client({ retryAttempts: 1000, shouldRetry: () => true, retryWait }), RELEASES);
  },
  ...Object.fromEntries(Object.entries(bad).map(([kind, frame]) => [`bad: ${kind}`, () => say(PROTOCOL, init, frame)])),
};

if (process.argv[2] === "--list") tell(Object.keys(scenarios));
else await scenarios[process.argv[2]]();
