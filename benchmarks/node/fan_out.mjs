// graphql-ws on `ws`: each subscription is executed for each subscriber, over a broadcast in memory.
//
//   fan_out.mjs yoga|bare    with graphql-yoga, as its documentation sets graphql-ws up; or with graphql-js alone

import { createServer } from "node:http";
import { obey, packages, say, slipwaySchema } from "./benchmark.mjs";

const { createYoga } = packages("graphql-yoga");
const { useServer } = packages("graphql-ws/use/ws");
const { WebSocketServer } = packages("ws");

const RELEASE_ID = "rel_01KAV3Y9M2T6Q8R4W5X7Z1B3C5";
const watching = new Set();
let fired = 0;

/** The events of one subscriber, as they come. */
class Events {
  #waiting = [];
  #wanted = null;

  constructor() {
    watching.add(this);
  }

  push(event) {
    const wanted = this.#wanted;
    if (wanted === null) this.#waiting.push(event);
    else {
      this.#wanted = null;
      wanted({ value: event, done: false });
    }
  }

  next() {
    if (this.#waiting.length > 0) return Promise.resolve({ value: this.#waiting.shift(), done: false });
    return new Promise((resolve) => (this.#wanted = resolve));
  }

  return() {
    watching.delete(this);
    this.#wanted?.({ value: undefined, done: true });
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}

function event(sequence) {
  const isPaused = sequence % 2 === 1;
  const status = isPaused ? "PAUSED" : "IN_PROGRESS";
  return {
    sequence,
    type: isPaused ? "BAKE_PAUSED" : "BAKE_UNPAUSED",
    at: new Date(),
    reason: null,
    actor: { name: "Administrator" },
    toStatus: status,
    phase: { id: "pha_01KAV3Y9M2T6Q8R4W5X7Z1B3C5", name: "Production us-west", status },
    release: { id: RELEASE_ID, status, revision: sequence },
  };
}

const schema = slipwaySchema();
schema.getSubscriptionType().getFields().releaseEvents.subscribe = () => new Events();

const yoga = createYoga({ schema, logging: false, graphiql: false });
const withYoga = {
  execute: (given) => given.rootValue.execute(given),
  subscribe: (given) => given.rootValue.subscribe(given),
  onSubscribe: async (context, _, params) => {
    const { request, socket } = context.extra;
    const enveloped = yoga.getEnveloped({ ...context, req: request, socket, params });
    const { schema, execute, subscribe, contextFactory, parse, validate } = enveloped;
    const { operationName, query, variables: variableValues } = params;
    const document = parse(query);
    const errors = validate(schema, document);
    if (errors.length > 0) return errors;
    const contextValue = await contextFactory();
    return { schema, operationName, document, variableValues, contextValue, rootValue: { execute, subscribe } };
  },
};

const server = createServer(yoga);
useServer(process.argv[2] === "yoga" ? withYoga : { schema }, new WebSocketServer({ server, path: "/graphql" }));
server.listen({ host: "127.0.0.1", port: 0, backlog: 512 }, () =>
  say({ port: server.address().port, releases: [{ id: RELEASE_ID }], after: 0 }),
);

obey((_, count) => {
  for (let left = Number(count); left > 0; left -= 1) {
    fired += 1;
    const releaseEvents = event(fired);
    for (const events of watching) events.push({ releaseEvents });
  }
});
