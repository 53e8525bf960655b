// The public GraphQL API over HTTP; `subscribe` is in socket.js.

import { NOT_VALID, signOut, token } from "./session.js";

export { subscribe } from "./socket.js";

const PATIENCE_MS = 20_000;

/** The data of a query. Throws an error whose message is for people. */
export async function query(document, variables = {}) {
  let response;
  let answer;
  try {
    response = await fetch("/graphql", {
      method: "POST",
      headers: {
        accept: "application/graphql-response+json", // or else a token that is not valid is answered with 200
        authorization: `Bearer ${token()}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ query: document, variables }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    answer = await response.json();
  } catch {
    throw new Error("The server does not answer.");
  }
  if (response.status === 401) signOut(NOT_VALID);
  if (answer.errors) throw new Error(answer.errors[0].message);
  return answer.data;
}

/** What a mutation's first field answers: its payload or a problem, told apart by __typename. */
export const mutate = async (document, variables) => Object.values(await query(document, variables))[0];

/** The pages of a connection, each an array of nodes: `document` takes $after and has one field with edges, pageInfo. */
export async function* pages(document, variables = {}) {
  for (let after = null, isMore = true; isMore; ) {
    const [{ edges, pageInfo }] = Object.values(await query(document, { ...variables, after }));
    yield edges.map(({ node }) => node);
    [after, isMore] = [pageInfo.endCursor, pageInfo.hasNextPage];
  }
}

export const PAGE_INFO = "pageInfo { hasNextPage endCursor }";

/** Everything in a list, such as features, with those fields. */
export async function all(field, fields) {
  const found = `edges { node { ${fields} } } ${PAGE_INFO}`;
  const nodes = [];
  for await (const page of pages(`query ($after: String) { ${field}(first: 100, after: $after) { ${found} } }`))
    nodes.push(...page);
  return nodes;
}
