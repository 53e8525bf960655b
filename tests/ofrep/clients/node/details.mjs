/** The evaluation details of a flag, asked for as the type that the code's default has. */
export function details(client, flag, otherwise, ...context) {
  const type = { boolean: "Boolean", number: "Number", string: "String", object: "Object" }[typeof otherwise];
  return client[`get${type}Details`](flag, otherwise, ...context);
}
