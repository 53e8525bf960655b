// What the API's names mean to people.

export const STATUSES = {
  NOT_RELEASED: "not released",
  WAITING_FOR_REVIEW: "waiting for review",
  IN_PROGRESS: "in progress",
  PAUSED: "paused",
  COMPLETED: "completed",
  SKIPPED: "skipped",
  ABORTED: "aborted",
};

export const ACTIONS = {
  APPROVE: "Approve",
  PAUSE: "Pause",
  UNPAUSE: "Unpause",
  SKIP: "Skip",
  ABORT: "Abort",
  FULL_ROLL_OUT: "Full Roll Out",
};

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

const OPERATORS = {
  ANY_OF: "is",
  NONE_OF: "is not",
  ANY_OF_IGNORE_CASE: "is (in any letter case)",
  NONE_OF_IGNORE_CASE: "is not (in any letter case)",
  CONTAINS: "contains",
  STARTS_WITH: "begins with",
  ENDS_WITH: "ends with",
  EQUALS: "is",
  NOT_EQUALS: "is not",
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

export const OPERATOR_NAMES = OPERATORS;

export const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** A condition as a clause: region is “us-west” or “us-east”. */
export function condition({ attribute, operator, values }) {
  const shown = values.map((value) => (typeof value === "string" ? `“${value}”` : JSON.stringify(value)));
  return `${attribute} ${OPERATORS[operator]} ${shown.join(" or ")}`.trim();
}

/** A rule's environments and conditions: production, where region is “us-west”. */
export function rule({ environments, conditions }) {
  const where = environments.length ? environments.join(", ") : "every environment";
  return conditions.length ? `${where}, where ${conditions.map(condition).join(" and ")}` : `${where}, everyone`;
}

/** What happened, after the name of who did it: skipped “Staging”. */
export const event = ({ type, phase }) => EVENTS[type] + (phase ? ` “${phase.name}”` : "");

export function waitsFor({ status, currentPhase }) {
  if (!currentPhase) return capital(STATUSES[status]);
  const { name, requiredApprovals, approvals } = currentPhase;
  if (status === "PAUSED") return `“${name}” is paused`;
  if (status !== "WAITING_FOR_REVIEW") return `“${name}” bakes`;
  const given = requiredApprovals > 1 ? ` (${approvals.length} of ${requiredApprovals} approvals)` : "";
  return `“${name}” waits for review${given}`;
}

export const releaseTitle = ({ feature, number }) => `${feature.key} #${number}`;
