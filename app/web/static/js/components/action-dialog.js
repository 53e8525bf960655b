// The dialog of an action on a release: what it will do, why it is done, and what came of it. It names the phase
// that it was asked for, and has one idempotency key: however often it is confirmed, it is done once or refused.

import { mutate, query } from "../api.js";
import { time } from "../clock.js";
import { announce, h, idempotencyKey, replace, setAttribute, setText } from "../dom.js";
import { EVENT, LIVE } from "../releases-query.js";
import { actionName, releaseTitle, words } from "../words.js";
import { openDialog } from "./dialog.js";
import { errorNotice } from "./errors.js";
import { timeline } from "./timeline.js";

const OF_PHASE = { APPROVE: "approvePhase", PAUSE: "pauseRelease", UNPAUSE: "unpauseRelease", SKIP: "skipPhase" };
const MUTATIONS = { ABORT: "abortRelease", FULL_ROLL_OUT: "fullRollOut", ...OF_PHASE };
const PREVIEW = `query ($id: ID!, $action: ReleaseAction!) {
  release(id: $id) { id currentPhase { id name } }
  previewAction(releaseId: $id, action: $action) {
    confirmation status exposure { text } expectedEndAt bypassesReviewOf { name }
  }
}`;
const WITH_RELEASE = ["ReleaseActionPayload", "StalePhase", "InvalidTransition", "ReviewRequired"]
  .map((type) => `... on ${type} { release { ${LIVE} history { ${EVENT} } } }`)
  .join(" ");
const mutation = (name, input) => `mutation ($input: ${input}!) {
  ${name}(input: $input) {
    __typename ... on Problem { message } ... on ValidationFailed { fields { path message } } ${WITH_RELEASE}
  }
}`;

/** Open it on what was `seen`. `onresult(release)` gets how it then stands, and changed(release) how it does meanwhile. */
export async function openActionDialog(seen, action, onresult) {
  const { release, previewAction: then } = await query(PREVIEW, { id: seen.id, action });
  const [name, phase] = [actionName(action), action in OF_PHASE && release.currentPhase];
  const bypassReview = then.bypassesReviewOf.length > 0;
  const input = { releaseId: release.id, bypassReview, idempotencyKey: idempotencyKey() };
  if (phase) input.phaseId = phase.id;
  let isSending = false;

  const reason = h("textarea", { id: "reason", required: bypassReview, "aria-describedby": "wrong", autofocus: true });
  const wrong = h("p.field-error", { id: "wrong" });
  const answer = h("div");
  const meanwhile = h("div", { role: "status" });
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const confirm = h("button", { class: action === "ABORT" || bypassReview ? "danger" : "primary" }, name);
  const end = then.expectedEndAt ? [", and completed ", time(then.expectedEndAt), " if nobody acts."] : ".";
  const why = bypassReview ? "Reason (required: this bypasses a review)" : "Reason";
  const dialog = openDialog({
    title: phase ? `${name} “${phase.name}”` : `${name}: ${releaseTitle(seen)}`,
    body: [
      h("p", then.confirmation),
      h("p", `After it: ${then.exposure.text}`),
      h("p.hint", `The release is then ${words(then.status)}`, end),
      h("div.field", h("label", { for: "reason" }, why), reason, wrong),
      meanwhile,
      answer,
    ],
    buttons: [cancel, confirm],
    onsubmit: send,
  });

  reason.onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    reason.form.requestSubmit();
  };

  function complain(text) {
    setText(wrong, text);
    setAttribute(reason, "aria-invalid", text && "true");
    if (text) reason.focus();
  }

  async function send() {
    if (isSending || confirm.hidden) return;
    complain("");
    input.reason = reason.value.trim() || null;
    if (bypassReview && !input.reason) return complain("Say why the review is bypassed.");
    isSending = confirm.disabled = true;
    replace(answer);
    try {
      hear(await mutate(mutation(MUTATIONS[action], phase ? "PhaseActionInput" : "ReleaseActionInput"), { input }));
    } catch ({ message }) {
      const again = "Whether it was done is not known; trying again does nothing twice.";
      replace(answer, errorNotice({ message: `${message} ${again}` }));
      setText(confirm, "Try again");
    }
    isSending = confirm.disabled = false;
  }

  function hear({ __typename: type, message, release: now, fields }) {
    if (now) onresult(now);
    if (type === "ReleaseActionPayload") {
      announce(`${name}: done.`);
      return dialog.close();
    }
    const unfit = fields?.find(({ path }) => path.includes("reason"));
    if (unfit) return complain(unfit.message);
    replace(answer, errorNotice({ message: `Refused: ${message}` }));
    // Confirmed again it would be refused again: there is only a way back.
    confirm.hidden = true;
    setText(cancel, "Close");
    cancel.focus();
    isSending = false;
    if (now) changed(now);
  }

  /** Tell what happened since it was opened; while it is sent, that may be its own doing. */
  function changed({ history }) {
    const news = history.filter(({ sequence }) => sequence > seen.history.at(-1).sequence);
    if (!isSending && news.length) replace(meanwhile, h("h3", "Meanwhile"), timeline(news));
  }
  return { changed, close: dialog.close };
}
