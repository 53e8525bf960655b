// What happened to a release, the latest first.

import { time } from "../clock.js";
import { h } from "../dom.js";
import { event as inWords } from "../words.js";

/** Who did what, in a sentence. */
export const told = (event) =>
  `${event.actor.name} ${inWords(event)}` +
  (event.bypassedReviewOf.length ? `, bypassing the review of ${event.bypassedReviewOf.map(({ name }) => `“${name}”`).join(", ")}` : "");

export const eventItem = (event) =>
  h("li", { "data-type": event.type }, h("p", told(event)), event.reason && h("q", event.reason), h("small", time(event.at)));
