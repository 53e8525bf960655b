import { h } from "../dom.js";

export function releaseView(params, outlet) {
  outlet.append(h("h1", null, "Releases"));
  return () => {};
}
