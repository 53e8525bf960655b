// Time by the server's clock, and everything on the page that goes with it: one timer, once a second.

import { query } from "./api.js";
import { h, setText } from "./dom.js";

const UNITS = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const tickers = new Set();
let offset = 0;
let isStopped = true;

/** Milliseconds since 1970, by the server's clock. */
export const now = () => Date.now() + offset;

/** Ask the server what time it is, and with it, for one request, whatever else is asked. */
export async function synchronise(more = "") {
  const sent = Date.now();
  const told = await query(`{ serverTime ${more} }`);
  offset = Date.parse(told.serverTime) - (sent + Date.now()) / 2;
  return told;
}

/** Let time stand still on the page while it is not known what happens. */
export function stopClock(stopped) {
  isStopped = stopped;
  if (!stopped) tick();
}

/** Call once a second while the page is live; returns what ends that. */
export function eachSecond(listener) {
  tickers.add(listener);
  return () => tickers.delete(listener);
}

/** Seconds in the two largest units: 1 h 30 min, 45 s. */
export function inWords(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [name, size] of UNITS) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count) parts.push(`${count} ${name}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

/** The seconds of an ISO 8601 duration such as P1DT2H or PT0.5S. */
export function seconds(duration) {
  const [, weeks, days, hours, minutes, rest] =
    /^P(?:([\d.]+)W)?(?:([\d.]+)D)?(?:T(?:([\d.]+)H)?(?:([\d.]+)M)?(?:([\d.]+)S)?)?$/.exec(duration) ?? [];
  const parts = [weeks, days, hours, minutes, rest].map((part) => Number(part ?? 0));
  return [604_800, 86_400, 3_600, 60, 1].reduce((sum, size, index) => sum + size * parts[index], 0);
}

export const duration = (iso) => inWords(seconds(iso));

export const exactly = (iso) => EXACT.format(new Date(iso));

export function relatively(iso) {
  const past = (now() - Date.parse(iso)) / 1000;
  if (Math.abs(past) < 5) return "now";
  const [count, unit] = inWords(Math.abs(past)).split(" ");
  return past > 0 ? `${count} ${unit} ago` : `in ${count} ${unit}`;
}

/** A time, relative and kept so, with the exact one in its title. */
export const time = (iso) => h("time", { datetime: iso, title: exactly(iso) }, relatively(iso));

function tick() {
  if (isStopped || document.hidden) return;
  tickers.forEach((listener) => listener());
  for (const node of document.querySelectorAll("time[datetime]")) setText(node, relatively(node.dateTime));
}

setInterval(tick, 1000);
