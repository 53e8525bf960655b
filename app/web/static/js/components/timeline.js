// What happened to a release, the latest first.

import { time } from "../clock.js";
import { h } from "../dom.js";
import { event as told } from "../words.js";

const item = (event) => h("li", h("p", told(event)), event.reason && h("q", event.reason), h("small", time(event.at)));

export const timeline = (events) => h("ol.timeline", events.toReversed().map(item));
