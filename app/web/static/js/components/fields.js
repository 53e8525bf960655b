// The fields of pipelines and features, and how people write what is in them.

import { seconds } from "../clock.js";
import { h } from "../dom.js";
import { OPERATOR_NAMES } from "../words.js";

export const text = (name, label) => ({ name, label });
const area = (props) => h("textarea", props);
export const note = (name, label) => ({ name, label, make: area, parse: (written) => written || null });

/** One of some options, {value: text}. */
export const choice = (name, label, options, more) => ({
  name,
  label,
  start: Object.keys(options)[0],
  make: (props) => h("select", props, Object.entries(options).map(([value, shown]) => h("option", { value }, shown))),
  ...more,
});

const either = (name, label, no, yes) => choice(name, label, { false: no, true: yes }, { start: false, show: String, parse: JSON.parse });

function number(written) {
  if (/^\d+(\.\d+)?$/.test(written)) return Number(written);
  throw new Error("Give a number, zero or more.");
}

/** Refuse a number that JavaScript does not hold as it was written. (Some browsers do not tell how it was.) */
function exact(key, value, { source = String(value) } = {}) {
  if (typeof value !== "number") return value;
  const digits = source.replace(/e.*/i, "").replace(/^[-0.]+|\./g, "");
  const isKept = digits.length < 16 || source === String(value);
  if (Number.isFinite(value) && isKept && (Number.isSafeInteger(value) || !Number.isInteger(value))) return value;
  throw new Error(`${source} would be rounded; write it as a "string".`);
}

export const json = (name, label, start) => ({ name, label, start, make: area, show: (value) => JSON.stringify(value, null, 2), parse: (written) => JSON.parse(written, exact) });

const valueOf = (kind, name, label) => (kind === "FEATURE_GATE" ? either(name, label, "false", "true") : json(name, label, {}));

const UNITS = { seconds: 1, minutes: 60, hours: 3_600, days: 86_400 };

/** A number with its unit: 90 minutes. */
const bakeTime = {
  name: "bakeTime",
  label: "Bake time",
  start: "PT1H",
  show(iso) {
    const unit = Object.keys(UNITS).findLast((each) => seconds(iso) % UNITS[each] === 0) ?? "seconds";
    return `${seconds(iso) / UNITS[unit]} ${unit}`;
  },
  make({ id, value, oninput }) {
    const [count, unit] = value.split(/ (?=\w+$)/);
    const told = () => oninput({ target: { value: `${amount.value} ${units.value}` } });
    const amount = h("input", { id, value: count, inputmode: "decimal", oninput: told });
    const units = h("select", { value: unit, "aria-label": "Unit of time", oninput: told }, Object.keys(UNITS).map((each) => h("option", each)));
    return h("div.amount", amount, units);
  },
  parse(written) {
    const [count, unit] = written.split(/ (?=\w+$)/);
    return `PT${Math.round(number(count) * UNITS[unit] * 1_000) / 1_000}S`;
  },
};

const remindEvery = {
  name: "remindEvery",
  label: "Minutes after which reviewers are reminded, empty for never",
  show: (iso) => iso && String(seconds(iso) / 60),
  parse: (written) => (written.trim() ? `PT${number(written) * 60}S` : null),
};

function plain(written) {
  try {
    return JSON.parse(written, exact);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return written.trim();
  }
}

/** What a condition compares with: JSON values or words, with commas between. */
const values = {
  name: "values",
  label: "Values, with commas between",
  start: [],
  make: (props) => h("input", { ...props, placeholder: 'words, numbers or "strings"' }),
  show: (given) => JSON.stringify(given).slice(1, -1),
  parse(written) {
    const all = plain(`[${written}]`);
    return Array.isArray(all) ? all : written.split(",").map(plain);
  },
};

const operators = Object.fromEntries(Object.entries(OPERATOR_NAMES).map(([name, shown]) => [name, `${shown} (${name})`]));
const list = (name, noun, start, fields) => ({ name, noun, start, fields });
const conditions = list("conditions", "condition", [], [text("attribute", "Attribute"), choice("operator", "Operator", operators), values]);
const where = (label, known) => ({ name: "environments", label, choices: known.map(({ name }) => name), start: [] });

/** Those of a pipeline, where there are these environments. */
export const pipelineFields = (environments) => [
  text("name", "Name"),
  note("description", "Description"),
  list("phases", "phase", [{}], [
    text("name", "Phase name"),
    list("rules", "release rule", [{}], [where("Environments", environments), conditions]),
    bakeTime,
    { name: "requiredApprovals", label: "Required approvals, 0 for no review", start: 0, parse: number },
    either("preventSelfApproval", "Who starts the release", "may approve", "may not approve"),
    remindEvery,
  ]),
];

/** Those of a change of a feature. */
export const specFields = (kind, environments) => [
  list("rules", "rule", [], [
    text("name", "Rule name"),
    where("Environments, none for all", environments),
    conditions,
    { name: "passPercentage", label: "Pass percentage", start: 100, parse: number },
    valueOf(kind, "value", "Value"),
  ]),
  valueOf(kind, "defaultValue", "Value for everyone else"),
  note("description", "What the change is for"),
];
