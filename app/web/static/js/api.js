// The public GraphQL API over HTTP; `subscribe` is in socket.js.

import { signOut, token } from "./session.js";

export { onConnection, subscribe } from "./socket.js";

const PATIENCE_MS = 20_000;

/** What is no answer. `code` is that of extensions.code, or UNREACHABLE. */
export class ApiError extends Error {
  constructor(message, code = "INTERNAL_SERVER_ERROR", extensions = {}) {
    super(message);
    this.code = code;
    this.extensions = extensions;
  }

  static from({ message, extensions = {} }) {
    return new ApiError(message, extensions.code, extensions);
  }
}

/** The data of a query. Throws ApiError. */
export async function query(document, variables = {}) {
  const secret = token();
  let response;
  let answer;
  try {
    response = await fetch("/graphql", {
      method: "POST",
      headers: {
        accept: "application/graphql-response+json",
        authorization: `Bearer ${secret}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ query: document, variables }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    answer = await response.json();
  } catch {
    throw new ApiError("The server does not answer.", "UNREACHABLE");
  }
  if (response.status === 401 && secret === token()) signOut("The token is not valid, or not any more.");
  if (answer.errors) throw ApiError.from(answer.errors[0]);
  return answer.data;
}

/** What a mutation's first field answers: its payload or a problem, told apart by __typename. Throws ApiError. */
export const mutate = async (document, variables) => Object.values(await query(document, variables))[0];

/** All nodes of a connection, page by page: `document` takes $after and has one field with edges and pageInfo. */
export async function all(document, variables = {}, pages = 50) {
  const nodes = [];
  for (let after = null, page = 0; page < pages; page++) {
    const [found] = Object.values(await query(document, { ...variables, after }));
    nodes.push(...found.edges.map((edge) => edge.node));
    if (!found.pageInfo.hasNextPage) break;
    after = found.pageInfo.endCursor;
  }
  return nodes;
}
