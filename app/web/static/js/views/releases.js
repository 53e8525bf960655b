import { h } from "../dom.js";

export function releasesView(params, outlet) {
  outlet.append(h("h1", null, "Releases"));
  return () => {};
}
