/** The order "most in need of a look" is computed by the server while the page is open already. */

import { get } from "./api.js";

const EVERY = 1500; // milliseconds

/** Call back once the order is there; not at all if it was from the beginning. */
export async function whenRanked(run, then) {
  let { ranked } = run;
  if (ranked !== false) return;
  while (!ranked) {
    await new Promise((resolve) => setTimeout(resolve, EVERY));
    ({ ranked } = await get("/api/run").catch(() => ({ ranked: false })));
  }
  await then();
}
