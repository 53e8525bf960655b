// What is edited of pipelines: a new one, its phases, and its end.

import { mutate, query } from "../api.js";
import { confirmed } from "../components/dialog.js";
import { editor, mutation } from "../components/editor.js";
import { pipelineFields } from "../components/fields.js";
import { PHASES, plan } from "../components/page.js";
import { announce, h } from "../dom.js";
import { go } from "../router.js";

const NOW = `query ($id: ID!) { environments { name } pipeline(id: $id) { revision name description ${PHASES} } }`;
const CREATE = mutation("createPipeline", "CreatePipelineInput");
const UPDATE = mutation("updatePipeline", "UpdatePipelineInput");
const DELETE = "mutation ($id: ID!) { deletePipeline(id: $id) { ... on Problem { message } } }";

/** The editor of a pipeline; without an id, of a new one. */
export const edit = (id, end) =>
  editor({
    title: id ? "Edit the pipeline" : "New pipeline",
    fields: ({ environments }) => pipelineFields(environments),
    async ask() {
      const { environments, pipeline } = await query(NOW, { id: id ?? "" });
      const { revision, ...value } = pipeline ?? {};
      return { environments, revision, value: pipeline && value };
    },
    show: (now) => now && [h("strong", now.name), h("p", now.description), plan(now.phases)],
    save: (input, _, expectedRevision) => (id ? mutate(UPDATE, { input: { id, expectedRevision, ...input } }) : mutate(CREATE, { input })),
    end,
  });

/** Delete it, once that is confirmed. */
export async function remove(id, { name, features }) {
  const keys = features.edges.map(({ node }) => node.key).join(", ");
  const then = `Attached to it: ${keys}. They take no change until another pipeline is attached, or they are detached.`;
  const body = [h("p", "This cannot be undone. Releases that went through it keep its phases."), keys && h("p", { class: "notice warning" }, then)];
  if (!(await confirmed({ title: `Delete “${name}”?`, body, label: "Delete", tone: "danger" }))) return;
  const { message } = await mutate(DELETE, { id });
  if (message) throw new Error(message);
  announce(`${name} is deleted.`);
  go("/pipelines");
}
