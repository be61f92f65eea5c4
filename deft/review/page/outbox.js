/** Sends changes one after another, and keeps each until the server has it.
 *
 * A change is { image, kind, path, body, base }: where it is posted, what (a Blob, or an object for JSON), and the
 * revision of the image it was made on. What fails for want of a server is tried again, for ever; a revision that is
 * another's is a conflict, which the page's user decides.
 *
 * Events: "state" (see `state`), "saved" { change, answer }, "refused" { change, error }, "dropped" (theirs was kept;
 * detail: its entry).
 */

import { get, post, Refused, Unreachable } from "./api.js";
import { adopt, forget, keep } from "./pending.js";

const PAUSES = [500, 1000, 2000, 3000]; // milliseconds before each retry; the last one is repeated
const PASSING = [408, 425, 429]; // statuses of 4xx that say "later"

export class Outbox extends EventTarget {
  /** @param run key of the run.
   * @param decide asked at a conflict: async (change, theirs) => "mine", "theirs", or "arrived" if the server has the
   *   change and only its answer was lost.
   */
  constructor(run, decide) {
    super();
    this.run = run;
    this.decide = decide;
    this.changes = [];
    this.revisions = new Map();
    this.problem = null; // null, "unreachable", "locked" (another token) or what the server said
    this.running = false;
    this.wake = () => {};
  }

  /** "saved", "saving", or what is wrong: "unreachable", "locked", "failing". */
  get state() {
    if (this.problem === null) return this.changes.length ? "saving" : "saved";
    return ["unreachable", "locked"].includes(this.problem) ? this.problem : "failing";
  }

  /** Whether changes of an image, or of any, are on their way. */
  has(image) {
    return this.changes.some((change) => image === undefined || change.image === image);
  }

  /** Learn an image's revision from the server, unless changes on the way will bring a newer one. */
  know(entry) {
    if (!this.has(entry.id)) this.revisions.set(entry.id, entry.revision);
  }

  /** Send what earlier tabs could not. Returns how many changes those are. */
  async resume() {
    const left = await adopt(this.run);
    for (const change of left) {
      if (!this.revisions.has(change.image)) this.revisions.set(change.image, change.base);
      this.changes.push({ ...change, lasting: true });
    }
    this.pump();
    return left.length;
  }

  /** Send a change; resolves to the server's answer, or to null if it was dropped. */
  async send(change, lasting = true) {
    const whole = { ...change, base: this.revisions.get(change.image), number: null, lasting };
    const done = new Promise((resolve) => (whole.done = resolve));
    this.changes.push(whole);
    this.tell();
    if (lasting) {
      const { image, kind, path, body, base } = whole;
      whole.kept = keep(this.run, { image, kind, path, body, base }).then((number) => (whole.number = number));
    }
    this.pump();
    return done;
  }

  /** Try again now. */
  retry() {
    this.wake();
  }

  tell() {
    this.dispatchEvent(new Event("state"));
  }

  async pump() {
    if (this.running) return;
    this.running = true;
    let failures = 0;
    while (this.changes.length) {
      const change = this.changes[0];
      try {
        if (this.problem !== null) await get("/api/run"); // before a whole mask is sent again
        const answer = await this.deliver(change);
        this.problem = null;
        failures = 0;
        await this.finish(change, answer);
      } catch (error) {
        const passing = await this.failed(change, error);
        if (passing) await this.pause(PAUSES[Math.min(failures++, PAUSES.length - 1)]);
      }
      this.tell();
    }
    this.running = false;
  }

  /** Post a change with the image's revision, which belongs to the address of a Blob and into any other body. */
  deliver({ image, path, body }) {
    const revision = this.revisions.get(image);
    if (!(body instanceof Blob)) return post(path, { ...body, revision });
    const address = new URL(path, location.href);
    address.searchParams.set("revision", revision);
    return post(address.pathname + address.search, body);
  }

  /** Returns whether to wait and try again. */
  async failed(change, error) {
    if (error instanceof Refused && error.status === 409) {
      const theirs = error.body.image;
      if (theirs === undefined) return this.refuse(change, error);
      this.problem = null;
      const choice = change.lasting ? await this.decide(change, theirs) : "theirs"; // no undo of what was not seen
      this.revisions.set(change.image, theirs.revision);
      if (choice === "arrived") await this.finish(change, theirs);
      if (choice !== "theirs") return false;
      for (const each of this.changes.filter(({ image }) => image === change.image)) await this.finish(each, null);
      this.dispatchEvent(new CustomEvent("dropped", { detail: theirs }));
      return false;
    }
    const gone = error instanceof Refused && error.status < 500 && error.status !== 403;
    if ((gone && !PASSING.includes(error.status)) || !(error instanceof Refused || error instanceof Unreachable)) {
      return this.refuse(change, error);
    }
    if (!change.lasting) return this.refuse(change, error);
    this.problem = error instanceof Unreachable ? "unreachable" : error.status === 403 ? "locked" : error.message;
    return true;
  }

  async refuse(change, error) {
    await this.finish(change, null);
    this.dispatchEvent(new CustomEvent("refused", { detail: { change, error } }));
    return false;
  }

  async finish(change, answer) {
    this.changes.splice(this.changes.indexOf(change), 1);
    const entry = answer?.image ?? answer;
    if (entry?.revision !== undefined) this.revisions.set(change.image, entry.revision);
    await change.kept;
    await forget(change.number);
    if (answer !== null) this.dispatchEvent(new CustomEvent("saved", { detail: { change, answer: entry } }));
    change.done?.(answer === null ? null : entry);
  }

  pause(milliseconds) {
    this.tell();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
