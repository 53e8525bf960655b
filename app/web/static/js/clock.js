// Time by the server's clock, and all on the page that goes with it, once a second.

import { h, setText } from "./dom.js";

const UNITS = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
const SIZES = { W: 604_800, D: 86_400, H: 3_600, M: 60, S: 1 };
const EXACT = { dateStyle: "medium", timeStyle: "long" };
let offset = 0;

/** Milliseconds since 1970, by the server's clock. */
export const now = () => Date.now() + offset;

/** The server's clock showed `told` at some moment since `asked`. */
export function setClock(told, asked) {
  offset = Date.parse(told) - (asked + Date.now()) / 2;
}

/** Seconds in the two largest units: 1 h 30 min, 45 s. */
export function inWords(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [name, size] of UNITS) {
    if (left >= size) parts.push(`${Math.floor(left / size)} ${name}`);
    left %= size;
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

/** The seconds of an ISO 8601 duration such as P1DT2H or PT0.5S. */
export const seconds = (iso) =>
  [...iso.matchAll(/([\d.]+)([WDHMS])/g)].reduce((sum, [, count, unit]) => sum + count * SIZES[unit], 0);

export const duration = (iso) => inWords(seconds(iso));

/** The exact time is made on hover: of a thousand in a list, few are asked for. */
function tellExactly({ target: { dateTime, className }, target }) {
  if (dateTime) target.title = (className && "until ") + new Date(dateTime).toLocaleString(undefined, EXACT);
}

/** The seconds until then. */
const remaining = (iso) => (Date.parse(iso) - now()) / 1000;

function relatively(iso) {
  const left = remaining(iso);
  const [count, unit] = inWords(Math.abs(left)).split(" ");
  if (Math.abs(left) < 5) return "now";
  return left < 0 ? `${count} ${unit} ago` : `in ${count} ${unit}`;
}

/** A time, relative and kept so. */
export const time = (iso) => h("time", { datetime: iso }, relatively(iso));

const countdown = (iso) => (remaining(iso) > 0 ? `${inWords(Math.ceil(remaining(iso)))} left` : "ends now");

/** What is left of a phase's bake, counted down. */
export function bakeLeft({ bakeEndsAt: end, bakeRemaining: rest, status }) {
  if (end) return h("time.left", { datetime: end }, countdown(end));
  return status === "PAUSED" && h("span.left", `paused with ${duration(rest)} left`);
}

/** How much of it is over, as a bar. */
export function bakeBar({ bakeTime, bakeEndsAt: end, bakeRemaining: rest }) {
  const [max, left] = [seconds(bakeTime), end ? remaining(end) : seconds(rest ?? "")];
  return h("progress", { max, value: Math.max(0, max - left), "data-end": end, "aria-label": "Bake progress" });
}

// Offline, time stands still.
const isLive = () => document.documentElement.dataset.connection === "live";
const isSeen = (node) => node.checkVisibility({ contentVisibilityAuto: true });

function show(times) {
  for (const node of times) setText(node, node.className ? countdown(node.dateTime) : relatively(node.dateTime));
}

/** Let time go on in what is seen. All are asked before one is written, or else the page is styled anew for each. */
function tick() {
  if (document.hidden || !isLive()) return;
  show([...document.querySelectorAll("time")].filter(isSeen));
  for (const bar of document.querySelectorAll("[data-end]")) bar.value = Math.max(0, bar.max - remaining(bar.dataset.end));
}

/** A row that is scrolled to. */
function appear({ target, skipped }) {
  if (!skipped && isLive()) show(target.querySelectorAll("time"));
}

setInterval(tick, 1000);
document.addEventListener("mouseover", tellExactly);
document.addEventListener("contentvisibilityautostatechange", appear, true);
