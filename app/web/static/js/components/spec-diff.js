// The change of a feature as a difference, line by line.

import { h } from "../dom.js";
import { rule } from "../words.js";

const SIGNS = { del: ["- ", "removed: "], ins: ["+ ", "added: "], span: ["  "] };
const value = (json) => JSON.stringify(json, null, 2).split("\n");

/** A spec as lines that people read. */
export function specLines({ rules, defaultValue }) {
  const ofRules = rules.flatMap((each, index) => [
    `${index + 1}. ${each.name}: ${rule(each)}, ${each.passPercentage} %`,
    ...value(each.value).map((line) => `   ${line}`),
  ]);
  const [first, ...rest] = value(defaultValue);
  return [...ofRules, `${rules.length ? "otherwise" : "everyone"}: ${first}`, ...rest];
}

/** Pairs of [tag, line]: the longest common subsequence stays, the rest goes or comes. */
function difference(before, after) {
  const common = Array.from({ length: before.length + 1 }, () => new Uint16Array(after.length + 1));
  for (let i = before.length - 1; i >= 0; i--)
    for (let j = after.length - 1; j >= 0; j--)
      common[i][j] = before[i] === after[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
  const found = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    if (i < before.length && before[i] === after[j]) found.push(["span", before[i++], j++]);
    else if (i < before.length && !(common[i][j + 1] > common[i + 1][j])) found.push(["del", before[i++]]);
    else found.push(["ins", after[j++]]);
  }
  return found;
}

/** What is different between two specs. */
export function specDiff({ before, after }) {
  const shown = difference(specLines(before), specLines(after)).map(([tag, line]) => {
    const [sign, spoken] = SIGNS[tag];
    return h(tag, h("span", { "aria-hidden": "true" }, sign), spoken && h("span.unseen", spoken), line);
  });
  return h("pre.diff", { tabindex: 0, role: "group", "aria-label": "Difference" }, shown);
}
