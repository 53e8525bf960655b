// One websocket for all subscriptions (graphql-transport-ws). Lost, it is opened again, and they with it. It is "live"
// only once every view has caught up with what happened meanwhile; until then it is "connecting", or "offline".

import { ApiError } from "./api.js";
import { signOut, token } from "./session.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const PING_MS = 5_000;
const PONG_WITHIN_MS = 5_000;
// The subscription is wrong, and would be again.
const FINAL = new Set(["BAD_REQUEST", "BAD_USER_INPUT", "FORBIDDEN", "NOT_FOUND", "LIMIT_EXCEEDED"]);

const subscriptions = new Map();
const listeners = new Set();
let connection = { state: "offline", since: null, retryAt: null };
let socket = null;
let heardAt = null; // what is shown is as of then, when the loss is noticed later
let lost = 0; // sockets in a row that did not become live
let ids = 0;
let retrying;
let pinging;
let awaited;

/** Follow {state, since (it is not live), retryAt}; returns what ends that. */
export function onConnection(listener) {
  listeners.add(listener);
  listener(connection);
  return () => listeners.delete(listener);
}

function become(state, retryAt = null) {
  const since = state === "live" ? null : (connection.since ?? heardAt ?? Date.now());
  connection = { state, since, retryAt };
  listeners.forEach((listener) => listener(connection));
}

/**
 * Subscribe until stop() is called, which it returns. `variables` may be a function, asked at each connection: after
 * which event it goes on. Handlers: next(data); error(ApiError) when refused for good; complete(), true if that was its
 * end (by default it has none); resumed(), after another connection: the page is live once that is done.
 */
export function subscribe(document, variables, handlers) {
  const id = String(++ids);
  subscriptions.set(id, { document, variables, handlers });
  if (isOpen()) send(id);
  return () => {
    if (subscriptions.delete(id) && isOpen()) say({ id, type: "complete" });
  };
}

/** Open the socket, if there is a session, and keep it open. */
export function connect() {
  clearTimeout(retrying);
  if (socket || token() === null) return;
  become("connecting");
  const mine = new WebSocket(`${location.origin.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  socket = mine;
  expect(); // the handshake, too, may hang
  mine.onopen = () => say({ type: "connection_init", payload: { authorization: `Bearer ${token()}` } });
  mine.onmessage = ({ data }) => socket === mine && hear(JSON.parse(data));
  mine.onclose = ({ code }) => {
    if (socket !== mine) return;
    drop();
    if (code === 4403) signOut("The token is not valid, or not any more.");
    else later();
  };
}

/** Close the socket, until there is another session. */
export function disconnect() {
  clearTimeout(retrying);
  drop();
  lost = 0;
  heardAt = null;
  connection = { ...connection, since: null };
  become("offline");
}

/** Try now instead of later; on a socket that seems live, ask whether it is. */
export function tryNow() {
  if (!socket) connect();
  else if (isOpen()) ping();
}

const isOpen = () => socket?.acknowledged === true;
const say = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));

function hear(message) {
  clearTimeout(awaited);
  heardAt = Date.now();
  if (message.type === "connection_ack") return void acknowledged();
  if (message.type === "ping") return say({ type: "pong" });
  const { handlers } = subscriptions.get(message.id) ?? {};
  if (!handlers) return;
  if (message.type === "next" && !message.payload.errors) return handlers.next(message.payload.data);
  if (message.type === "complete") {
    if (!handlers.complete?.()) fail();
    else subscriptions.delete(message.id);
    return;
  }
  const error = ApiError.from((message.type === "next" ? message.payload.errors : message.payload)[0]);
  if (!handlers.error || !FINAL.has(error.code)) return fail();
  subscriptions.delete(message.id);
  handlers.error(error);
}

async function acknowledged() {
  const mine = socket;
  const again = lost > 0;
  mine.acknowledged = true;
  pinging = setInterval(ping, PING_MS);
  for (const id of subscriptions.keys()) send(id);
  try {
    if (again) await Promise.all([...subscriptions.values()].map(({ handlers }) => handlers.resumed?.()));
  } catch {
    if (socket === mine) fail();
    return;
  }
  if (socket !== mine) return;
  lost = 0;
  become("live");
}

function send(id) {
  const { document, variables } = subscriptions.get(id);
  const given = typeof variables === "function" ? variables() : variables;
  say({ id, type: "subscribe", payload: { query: document, variables: given ?? {} } });
}

function ping() {
  say({ type: "ping" });
  expect();
}

/** Without any message the connection is taken for lost, whatever the browser thinks. */
function expect() {
  clearTimeout(awaited);
  awaited = setTimeout(fail, PONG_WITHIN_MS);
}

function fail() {
  drop();
  later();
}

function drop() {
  clearInterval(pinging);
  clearTimeout(awaited);
  const mine = socket;
  socket = null;
  mine?.close();
}

/** Wait twice as long each time; with jitter, so that not all pages come back at once. */
function later() {
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** lost++) * (0.5 + Math.random() / 2);
  become("offline", Date.now() + wait);
  retrying = setTimeout(connect, wait);
}

addEventListener("online", tryNow);
document.addEventListener("visibilitychange", () => document.hidden || tryNow());
