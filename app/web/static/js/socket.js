// One websocket for all subscriptions (graphql-transport-ws). Lost, it is opened again, and they with it. It is "live"
// only once every view has caught up; until then it is "connecting", or "offline"; and "refused" while the server will not
// answer a subscription.

import { NOT_VALID, signOut, token } from "./session.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const PASSING = ["CONTENTION", "INTERNAL_SERVER_ERROR", "RATE_LIMITED", "STORE_UNAVAILABLE", "TIMEOUT"];
const PING_MS = 5_000; // and after as long without any message the connection is taken for lost

const subscriptions = new Map();
const refused = new Map(); // by subscription: what the server said, and as of when is what is shown of it
let tell = () => {};
let socket = null;
let isReady = false; // the server has let us in
let isCaughtUp = false;
let heardAt = null; // what is shown is as of then
let lost = 0; // sockets in a row that did not stay
let ids = 0;
let retrying;
let pinging;
let awaited = null;

/**
 * Open the socket and keep it open. `listener(state, {asOf, again, because})` follows it: when what is shown was told, when
 * it tries again, and what the server refused with.
 */
export function connect(listener) {
  tell = listener;
  open();
  addEventListener("online", tryNow);
  document.addEventListener("visibilitychange", () => document.hidden || tryNow());
}

/**
 * Subscribe until stop() is called, which it returns. `variables` may be a function, asked at each connection.
 * Handlers: next(data); complete(), true if that was its end (by default it has none); resumed(), after another
 * connection: the page is live once that is done. An error that may pass is taken for a lost connection.
 */
export function subscribe(document, variables, handlers) {
  const id = String(++ids);
  subscriptions.set(id, { document, variables, handlers });
  if (isReady) send(id);
  return () => {
    if (subscriptions.delete(id) && isReady) say({ id, type: "complete" });
    if (refused.delete(id)) report();
  };
}

/** Try now instead of later; on a socket that seems live, ask whether it is. */
export function tryNow() {
  if (refused.size && socket) fail();
  if (!socket) open();
  else if (isReady) ping();
}

function open() {
  clearTimeout(retrying);
  tell("connecting", { asOf: heardAt });
  const mine = new WebSocket(`${location.origin.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  socket = mine;
  expect(); // the handshake, too, may hang
  mine.onopen = () => say({ type: "connection_init", payload: { authorization: `Bearer ${token()}` } });
  mine.onmessage = ({ data }) => socket === mine && hear(JSON.parse(data));
  mine.onclose = ({ code }) => {
    if (socket !== mine) return;
    if (code !== 4403) return fail();
    drop();
    tell("refused", { asOf: heardAt, because: NOT_VALID });
    signOut(NOT_VALID);
  };
}

const say = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));

function send(id) {
  const { document, variables } = subscriptions.get(id);
  say({ id, type: "subscribe", payload: { query: document, variables: variables.call?.() ?? variables } });
}

function hear({ type, id, payload }) {
  stopWaiting();
  heardAt = Date.now();
  if (type === "connection_ack") return void begin();
  if (type === "ping") return say({ type: "pong" });
  if (type === "pong") lost = 0;
  const { handlers } = subscriptions.get(id) ?? {};
  if (!handlers) return;
  const errors = type === "error" ? payload : payload?.errors;
  if (errors && !errors.every(({ extensions }) => PASSING.includes(extensions?.code))) refuse(id, errors[0].message);
  else if (type === "next" && !errors) handlers.next(payload.data);
  else if (type === "complete" && handlers.complete?.()) subscriptions.delete(id);
  else fail();
}

function refuse(id, because) {
  refused.set(id, { because, asOf: heardAt });
  report();
}

function report() {
  const [first] = refused.values();
  if (isCaughtUp) tell(first ? "refused" : "live", first);
}

/** Subscribe, and let what was missed be asked for, before it counts as live. */
async function begin() {
  const mine = socket;
  isReady = true;
  refused.clear();
  pinging = setInterval(ping, PING_MS);
  [...subscriptions.keys()].forEach(send);
  try {
    if (lost) await Promise.all([...subscriptions.values()].map(({ handlers }) => handlers.resumed?.()));
  } catch {
    if (socket === mine) fail();
  }
  if (socket !== mine) return;
  isCaughtUp = true;
  report();
}

function ping() {
  say({ type: "ping" });
  expect();
}

/** Asking again gives no more time. */
function expect() {
  awaited ??= setTimeout(fail, PING_MS);
}

function stopWaiting() {
  clearTimeout(awaited);
  awaited = null;
}

/** Wait twice as long each time; with jitter, so that not all pages come back at once. */
function fail() {
  drop();
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** lost++) * (0.5 + Math.random() / 2);
  retrying = setTimeout(open, wait);
  tell("offline", { asOf: heardAt, again: Date.now() + wait });
}

function drop() {
  clearInterval(pinging);
  stopWaiting();
  const mine = socket;
  socket = null;
  isReady = isCaughtUp = false;
  mine.close();
}
