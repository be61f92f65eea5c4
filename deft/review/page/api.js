/** Requests to the server that this page came from. */

const PATIENCE = 20000; // milliseconds until an answer counts as missing

/** An answer that is no success: its status, and what the server said. */
export class Refused extends Error {
  constructor(status, body) {
    super(body.error ?? `the server answered ${status}`);
    this.status = status;
    this.body = body;
  }
}

/** There was no answer: the server has ended, or the connection broke. */
export class Unreachable extends Error {}

export async function get(path) {
  return (await ask(path)).json();
}

export async function bytes(path) {
  return (await ask(path)).arrayBuffer();
}

/** Send JSON, or a Blob as it is; returns the answer's JSON, null if it is empty. */
export async function post(path, body) {
  const sent =
    body instanceof Blob
      ? { body, headers: { "Content-Type": body.type } }
      : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const answer = await ask(path, { method: "POST", ...sent });
  return answer.status === 204 ? null : answer.json();
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE), ...options });
  } catch (error) {
    throw new Unreachable(error.message);
  }
  if (answer.ok) return answer;
  const text = await answer.text().catch(() => "");
  throw new Refused(answer.status, parsed(text));
}

function parsed(text) {
  try {
    const found = JSON.parse(text);
    if (found !== null && typeof found === "object") return found;
  } catch {
    // a line of text
  }
  return text ? { error: text.slice(0, 300) } : {};
}
