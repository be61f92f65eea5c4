/** The image that is open, and what is done to it.
 *
 * Every change shows at once and goes to the outbox in the order in which it was made. Events: "leave" (another image
 * will be shown), "open" (it is), "mask" (its pixels changed; detail: the rectangle), "entry" (state, tags or revision
 * of an image changed; detail: its entry), "renewed" (the run has made its masks and maps again), "failed" (detail: a
 * line to tell).
 */

import { encode } from "./png.js";
import { copy, whole } from "./raster.js";

export class Session extends EventTarget {
  constructor(images, outbox) {
    super();
    this.images = images;
    this.outbox = outbox;
    this.image = null;
    this.wanted = null; // the image asked for last
    this.layer = "mask";
    this.value = 1; // the class to paint with
    this.busy = false; // while the server undoes a step: a stroke would be lost
    this.working = null; // the change that it makes meanwhile
    this.order = Promise.resolve(); // changes are encoded and sent in this order
    this.encoding = 0;
    outbox.addEventListener("saved", ({ detail: { answer } }) => this.learn(answer));
    outbox.addEventListener("dropped", ({ detail }) => this.dropped(detail));
    outbox.addEventListener("refused", ({ detail: { change, error } }) => this.refused(change, error));
  }

  /** Whether something is not with the server yet. */
  get unsaved() {
    return this.encoding > 0 || this.outbox.has();
  }

  get editable() {
    return this.image !== null && !this.image.unreadable && this.layer === "mask" && !this.busy;
  }

  async open(id) {
    this.wanted = id;
    const begun = performance.now();
    let image;
    try {
      image = await this.images.load(id);
    } catch (error) {
      if (this.wanted === id) this.fail(`This image cannot be opened: ${error.message}`);
      return;
    }
    if (this.wanted !== id) return; // another one was asked for meanwhile
    this.emit("leave");
    this.image = image;
    this.layer = "mask";
    this.outbox.know(image.entry);
    this.emit("open", { took: performance.now() - begun });
    this.images
      .refresh(image)
      .then((changed) => {
        if (!changed) return;
        this.outbox.know(image.entry);
        if (this.image === image) this.emit("mask", whole(image.mask));
        this.emit("entry", image.entry);
      })
      .catch(() => {}); // the outbox tells when the server is gone
  }

  /** The run has made other masks: show them, unless this image was changed here meanwhile, which is newer.
   *
   * @param rest resolves once no stroke is under way.
   */
  async renew(rest) {
    await this.images.renew(this.wanted);
    const { image } = this;
    if (!image || image.unreadable) return;
    const found = await this.images.current(image);
    await rest();
    await this.working;
    if (this.image !== image || this.encoding > 0 || this.outbox.has(image.id)) return;
    if (found.entry.revision < image.entry.revision) return; // changed and saved while it was asked for
    const { entry, mask, own } = found;
    Object.assign(image, { entry, mask, own, revision: entry.revision });
    this.outbox.know(entry);
    if (this.layer === "mask") this.emit("mask", whole(mask));
    this.emit("entry", entry);
    this.emit("renewed");
  }

  close() {
    this.wanted = null;
    this.emit("leave");
    this.image = null;
    this.emit("open", { took: 0 });
  }

  /** The mask was changed within a rectangle: show it, and send the whole mask as one step. */
  commit(what, box) {
    const { image } = this;
    const { own } = image;
    const mask = copy(image.mask);
    this.emit("mask", box);
    this.change(image, { state: "corrected", can_undo: true, can_redo: false });
    this.encoding += 1;
    this.inOrder(async () => {
      const body = await encode(mask);
      this.encoding -= 1;
      this.deliver(image, "mask", `/api/image/${image.id}/mask?what=${what}&seen=${own}`, body);
    });
  }

  setState(state) {
    const { image } = this;
    const { own: seen } = image; // should the run have learned before this arrives
    const shown = state === "accepted" && image.entry.state === "corrected" ? "corrected" : state; // as the server has it
    this.change(image, { state: shown, can_undo: true, can_redo: false });
    this.inOrder(() => this.deliver(image, "state", `/api/image/${image.id}/state`, { state, seen }));
  }

  setTags(tags) {
    const { image } = this;
    const sorted = [...tags].sort((a, b) => a - b);
    this.change(image, { tags: sorted, can_undo: true, can_redo: false });
    this.inOrder(() => this.deliver(image, "tags", `/api/image/${image.id}/tags`, { tags: sorted }));
  }

  /** Take a step back, or (step "redo") forward again; the server has the steps. */
  async step(step) {
    await this.atServer(`/api/image/${this.image.id}/${step}`, step, {});
  }

  /** Make the open image's mask from its maps at a threshold. */
  async threshold(value) {
    await this.atServer("/api/threshold", "threshold", { value, class: null, image: this.image.id });
  }

  /** A change of the mask that the server makes; nothing is painted until it has. */
  async atServer(path, kind, body) {
    this.busy = true;
    this.working = this.changed(path, kind, body).finally(() => {
      this.busy = false;
    });
    await this.working;
  }

  async changed(path, kind, body) {
    const { image } = this;
    try {
      await this.order;
      const answer = await this.outbox.send({ image: image.id, kind, path, body }, false);
      if (answer === null) return;
      image.entry = { ...image.entry, ...answer };
      image.mask = await this.images.mask(image);
      image.revision = answer.revision;
      if (this.image === image) this.emit("mask", whole(image.mask));
      this.emit("entry", image.entry);
    } catch (error) {
      this.fail(`The mask was not read again: ${error.message}`);
      this.forgetImage(image.id);
    }
  }

  /** Read an image again from the server, whatever is in memory. */
  async forgetImage(id) {
    this.images.drop(id);
    if (this.image?.id === id) await this.open(id);
  }

  deliver(image, kind, path, body) {
    this.outbox.send({ image: image.id, kind, path, body });
  }

  inOrder(work) {
    this.order = this.order.then(work).catch((error) => this.fail(error.message));
  }

  change(image, values) {
    image.entry = { ...image.entry, ...values };
    this.emit("entry", image.entry);
  }

  async learn(answer) {
    if (this.outbox.has(answer.id) || this.encoding) return; // what is on its way is newer
    const image = this.image?.id === answer.id ? this.image : await this.images.loaded.get(answer.id);
    if (!image) return this.emit("entry", answer);
    image.entry = { ...image.entry, ...answer };
    image.revision = answer.revision;
    this.emit("entry", image.entry);
  }

  /** Another window's version of an image is kept. */
  dropped(theirs) {
    this.emit("entry", theirs);
    this.fail(`${theirs.name} is shown as another window has left it`);
    this.forgetImage(theirs.id);
  }

  refused(change, error) {
    const what = { undo: "Nothing was undone", redo: "Nothing was redone", threshold: "No mask was made" }[change.kind] ?? "Not saved";
    this.fail(`${what}: ${error.message}`);
    if (!change.lasting) return;
    this.forgetImage(change.image); // what is shown was not stored
    this.images.entry(change.image).then((entry) => this.emit("entry", entry)).catch(() => {});
  }

  fail(text) {
    this.emit("failed", text);
  }

  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
