// The dialog of an action on a release: what it will do, why it is done, and what came of it. It names the phase that
// was seen when it was opened, and has one idempotency key: however often it is confirmed, it is done once or refused.

import { mutate, query } from "../api.js";
import { time } from "../clock.js";
import { announce, h, idempotencyKey, replace, setAttribute } from "../dom.js";
import { EVENT, LIVE } from "../releases-query.js";
import { ACTIONS, STATUSES, capital } from "../words.js";
import { openDialog } from "./dialog.js";
import { byField } from "./errors.js";
import { eventItem } from "./timeline.js";

const MUTATIONS = {
  APPROVE: "approvePhase",
  PAUSE: "pauseRelease",
  UNPAUSE: "unpauseRelease",
  SKIP: "skipPhase",
  ABORT: "abortRelease",
  FULL_ROLL_OUT: "fullRollOut",
};
const PREVIEW = `query ($id: ID!, $action: ReleaseAction!) {
  previewAction(releaseId: $id, action: $action) { confirmation status exposure { text } expectedEndAt }
}`;
const RESULT = `release { ${LIVE} history { ${EVENT} } }`;
const mutation = (action, input) => `mutation ($input: ${input}!) {
  ${MUTATIONS[action]}(input: $input) {
    __typename
    ... on Problem { message }
    ... on ValidationFailed { fields { path message } }
    ${["ReleaseActionPayload", "StalePhase", "InvalidTransition", "ReviewRequired"].map((type) => `... on ${type} { ${RESULT} }`).join(" ")}
  }
}`;

/** Open it for one of a release's available actions. `onresult(release)` gets the release as it then stands. */
export function openActionDialog(release, { action, confirmation, bypassesReviewOf }, onresult) {
  const onWhole = action === "ABORT" || action === "FULL_ROLL_OUT";
  const bypassReview = bypassesReviewOf.length > 0;
  const input = { releaseId: release.id, bypassReview, idempotencyKey: idempotencyKey() };
  if (!onWhole) input.phaseId = release.currentPhase.id;
  const seen = release.history.at(-1).sequence;
  let isSending = false;
  let told = release;

  const reason = h("textarea", { id: "reason", required: bypassReview, "aria-describedby": "reason-error" });
  const reasonError = h("p", { class: "field-error", id: "reason-error" });
  const what = h("p", confirmation);
  const after = h("div", { class: "exposure", "aria-live": "polite" }, h("p.hint", "Looking what it would change…"));
  const answer = h("div", { role: "alert" });
  const meanwhile = h("div", { role: "status" });
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const confirm = h("button", { class: action === "ABORT" || bypassReview ? "danger" : "primary" }, ACTIONS[action]);
  const dialog = openDialog({
    title: onWhole ? `${ACTIONS[action]}: ${release.feature.key} #${release.number}` : `${ACTIONS[action]} “${release.currentPhase.name}”`,
    body: [
      what,
      after,
      h("div.field", h("label", { for: "reason" }, bypassReview ? "Reason (required: this bypasses a review)" : "Reason"), reason, reasonError),
      meanwhile,
      answer,
    ],
    buttons: [cancel, confirm],
    onsubmit: send,
  });
  preview();

  async function preview() {
    try {
      const { previewAction: then } = await query(PREVIEW, { id: release.id, action });
      replace(
        after,
        h("p", `After it: ${then.exposure.text}`),
        h("p.hint", `The release is then ${STATUSES[then.status]}`, then.expectedEndAt ? [", and completed ", time(then.expectedEndAt), " if nobody acts."] : "."),
      );
    } catch (error) {
      replace(after, h("p.hint", `What it would change cannot be told now: ${error.message}`));
    }
  }

  function complain(text) {
    reasonError.textContent = text;
    setAttribute(reason, "aria-invalid", text && "true");
    if (text) reason.focus();
  }

  async function send() {
    if (isSending || confirm.hidden) return;
    complain("");
    input.reason = reason.value.trim() || null;
    if (bypassReview && !input.reason) return complain("Say why the review is bypassed.");
    isSending = true;
    confirm.disabled = true;
    replace(answer);
    try {
      const result = await mutate(mutation(action, onWhole ? "ReleaseActionInput" : "PhaseActionInput"), { input });
      isSending = false;
      hear(result);
    } catch (error) {
      isSending = false;
      changed(told);
      const again = "Whether it was done is not known; trying again does nothing twice.";
      replace(answer, h("p", { class: "notice error" }, `${error.message} ${again}`));
      confirm.textContent = "Try again";
    }
    confirm.disabled = false;
  }

  function hear(result) {
    if (result.release) onresult(result.release);
    if (result.__typename === "ReleaseActionPayload") {
      announce(`${ACTIONS[action]}: done.`);
      return dialog.close();
    }
    if (result.__typename === "ValidationFailed") {
      const why = byField(result).get("reason");
      if (why) return complain(why);
    }
    replace(answer, h("p", { class: "notice error" }, `Refused: ${result.message}`));
    // Confirmed again it would be refused again: there is only a way back.
    confirm.hidden = true;
    cancel.textContent = "Close";
    cancel.focus();
    if (result.release) changed(result.release);
  }

  /** Tell what happened since it was opened; while it is not known what came of the action, that may be its own doing. */
  function changed(release) {
    told = release;
    const news = told.history.filter(({ sequence }) => sequence > seen);
    if (isSending || !dialog.node.open || !news.length) return;
    replace(meanwhile, h("h3", "Meanwhile"), h("ul.timeline", news.map(eventItem)));
  }
  return { changed };
}
