/** Learning from the review while it goes on: the button, how far the server is with it, and what was learned.
 *
 * Events: "round" (the run has other masks now). Windows of one browser tell each other when learning begins; others
 * notice when they save something.
 */

import { get, post } from "./api.js";

const EVERY = 400; // milliseconds
const STAGES = {
  features: "looking at photographs",
  classifier: "classifier",
  seeds: "seeds",
  "seeds/val": "seeds",
  refine: "refiner",
  refined: "refined maps",
  masks: "masks",
  segment: "network",
  predictions: "the network's masks",
  scores: "scores",
  page: "report",
};
const find = (id) => document.getElementById(id);

export class Learning extends EventTarget {
  /** @param run as the server describes it. @param tell says a line. */
  constructor(run, tell) {
    super();
    this.tell = tell;
    this.offered = run.learning !== null;
    this.busy = false;
    this.asking = false;
    find("learn").hidden = !this.offered;
    if (!this.offered) return;
    ({ round: this.round, presses: this.presses } = run.learning);
    this.windows = new BroadcastChannel(`deft-review-${run.key}`);
    this.windows.addEventListener("message", () => this.look());
    if (run.learning.learning) this.look();
  }

  /** Begin, once everything is saved. @param saved resolves to whether it is. */
  async press(saved) {
    if (!this.offered) return this.tell("This run learns by the command that made it: repeat that");
    if (!(await saved())) return this.tell("Some changes are not saved yet: learn when they are");
    try {
      this.show(await post("/api/learn", {}));
      this.windows.postMessage("begun");
    } catch (error) {
      this.tell(error.message);
    }
    return this.look();
  }

  /** Ask the server how far it is, until it has learned. */
  async look() {
    if (this.asking) return;
    this.asking = true;
    try {
      do {
        this.show(await get("/api/learning"));
        if (this.busy) await new Promise((resolve) => setTimeout(resolve, EVERY));
      } while (this.busy);
    } catch {
      this.busy = false; // the server has ended, which the outbox tells
      this.write("", "");
    } finally {
      this.asking = false;
    }
  }

  /** Something else has asked: follow what another browser has begun. */
  notice(state) {
    if (this.asking) return;
    this.show(state);
    if (this.busy) this.look();
  }

  /** Show what the server says. */
  show(state) {
    if (!this.offered || !state) return;
    if (state.round !== this.round) {
      this.round = state.round;
      this.dispatchEvent(new Event("round")); // before the scores are there, and once more with them
    }
    if (state.learning) {
      const stage = STAGES[state.stage];
      const news = !this.busy || stage !== this.stage;
      if (news) this.tell(stage ? `Learning: ${stage}` : "Learning", false);
      this.busy = true;
      this.stage = stage;
      this.presses = state.presses;
      this.write(`Learning${stage ? `: ${stage}` : ""}, ${Math.round(state.seconds)} s`, "learning");
      return;
    }
    const ended = this.busy || state.presses !== this.presses;
    this.busy = false;
    this.presses = state.presses;
    if (!ended) return;
    const line = told(state.result);
    this.write(line, state.result.error === undefined ? "learned" : "failed");
    this.tell(line);
  }

  write(text, state) {
    find("learn").dataset.state = state;
    find("learning").dataset.state = state;
    find("learning").textContent = find("learning").title = text;
  }
}

/** What was learned, in a line. */
export function told({ error, learned, seconds }) {
  if (error !== undefined) return `Nothing was learned: ${error}`;
  const { images, rejected, miou, scored } = learned;
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  const from = images || !rejected ? count(images, "image") : `${count(rejected, "image")} left out`;
  const score = miou === undefined ? "" : `; ${(100 * miou).toFixed(1)} mIoU on ${count(scored, "image")} held out`;
  return `Learned from ${from} in ${count(Math.round(seconds), "second")}${score}`;
}
