// What the API's names mean to people.

const EVENTS = {
  RELEASE_STARTED: "started the release",
  REVIEW_REQUESTED: "asked for review of",
  PHASE_APPROVED: "approved",
  PHASE_RELEASED: "released",
  BAKE_PAUSED: "paused",
  BAKE_UNPAUSED: "unpaused",
  PHASE_COMPLETED: "completed",
  PHASE_SKIPPED: "skipped",
  FULLY_ROLLED_OUT: "rolled the release out fully",
  RELEASE_COMPLETED: "completed the release",
  RELEASE_ABORTED: "aborted the release",
};

export const OPERATOR_NAMES = {
  ANY_OF: "is",
  NONE_OF: "is not",
  ANY_OF_IGNORE_CASE: "is (in any letter case)",
  NONE_OF_IGNORE_CASE: "is not (in any letter case)",
  CONTAINS: "contains",
  STARTS_WITH: "begins with",
  ENDS_WITH: "ends with",
  EQUALS: "equals",
  NOT_EQUALS: "does not equal",
  LESS_THAN: "is less than",
  LESS_THAN_OR_EQUAL: "is at most",
  GREATER_THAN: "is greater than",
  GREATER_THAN_OR_EQUAL: "is at least",
  VERSION_EQUALS: "is version",
  VERSION_LESS_THAN: "is a version below",
  VERSION_GREATER_THAN: "is a version above",
  BEFORE: "is before",
  AFTER: "is after",
  EXISTS: "is there",
  NOT_EXISTS: "is not there",
};

export const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** A name of the API's as words: WAITING_FOR_REVIEW, waiting for review. */
export const words = (name) => name.toLowerCase().replaceAll("_", " ");

/** An action as it stands on a button: FULL_ROLL_OUT, Full Roll Out. */
export const actionName = (action) => words(action).split(" ").map(capital).join(" ");

/** A condition as a clause: region is “us-west” or “us-east”. */
export function condition({ attribute, operator, values }) {
  const shown = values.map((value) => (typeof value === "string" ? `“${value}”` : JSON.stringify(value)));
  return `${attribute} ${OPERATOR_NAMES[operator]} ${shown.join(" or ")}`.trim();
}

/** A rule's environments and conditions: production, where region is “us-west”. */
export function rule({ environments, conditions }) {
  const where = environments.length ? environments.join(", ") : "every environment";
  return conditions.length ? `${where}, where ${conditions.map(condition).join(" and ")}` : `${where}, everyone`;
}

/** Who did what: Ada skipped “Staging”. */
export function event({ actor, type, phase, bypassedReviewOf: bypassed }) {
  const bypassing = bypassed.length && `, bypassing the review of ${bypassed.map(({ name }) => `“${name}”`).join(", ")}`;
  return `${actor.name} ${EVENTS[type]}${phase ? ` “${phase.name}”` : ""}${bypassing || ""}`;
}

/** What a release waits for; nothing once it is over. */
export function waitsFor({ status, currentPhase: phase }) {
  if (!phase) return "";
  if (status === "PAUSED") return `“${phase.name}” is paused`;
  if (status !== "WAITING_FOR_REVIEW") return `“${phase.name}” bakes`;
  const { requiredApprovals: needed, approvals } = phase;
  return `“${phase.name}” waits for review${needed > 1 ? ` (${approvals.length} of ${needed} approvals)` : ""}`;
}

export const releaseTitle = ({ feature, number }) => `${feature.key} #${number}`;
