// The change of a feature as a difference, line by line.

import { h } from "../dom.js";
import { rule } from "../words.js";

const value = (json) => JSON.stringify(json, null, 2).split("\n");

/** A spec as lines that people read. */
function lines({ rules, defaultValue }) {
  const ofRules = rules.flatMap((each, index) => [
    `${index + 1}. ${each.name}: ${rule(each)}, ${each.passPercentage} %`,
    ...value(each.value).map((line) => `   ${line}`),
  ]);
  const [first, ...rest] = value(defaultValue);
  return [...ofRules, `${rules.length ? "otherwise" : "everyone"}: ${first}`, ...rest];
}

/** Pairs of [sign, line]: the longest common subsequence stays, the rest goes or comes. */
function difference(before, after) {
  const common = Array.from({ length: before.length + 1 }, () => new Uint16Array(after.length + 1));
  for (let i = before.length - 1; i >= 0; i--)
    for (let j = after.length - 1; j >= 0; j--)
      common[i][j] =
        before[i] === after[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
  const found = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    if (i < before.length && before[i] === after[j]) found.push([" ", before[i++], j++]);
    else if (j === after.length || (i < before.length && common[i + 1][j] >= common[i][j + 1])) found.push(["-", before[i++]]);
    else found.push(["+", after[j++]]);
  }
  return found;
}

/** What is different between two specs. */
export function specDiff({ before, after }) {
  const tags = { " ": "span", "-": "del", "+": "ins" };
  const words = { "-": "removed: ", "+": "added: " };
  const shown = difference(lines(before), lines(after)).map(([sign, line]) =>
    h(tags[sign], null, h("span", { "aria-hidden": "true" }, `${sign} `), words[sign] && h("span.unseen", words[sign]), line),
  );
  return h("pre", { class: "diff", tabindex: "0", role: "group", "aria-label": "Difference" }, shown);
}
