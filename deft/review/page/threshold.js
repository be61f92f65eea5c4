/** The threshold of the open image's mask: shown while the slider moves, made by the server when it rests. */

import { get, post } from "./api.js";
import { maskAt } from "./maps.js";

const REST = 500; // milliseconds after the last key on the slider

export class Threshold {
  /** @param ask opens a question. @param tell says a line. */
  constructor(session, view, classes, ask, tell) {
    Object.assign(this, { session, view, classes, ask, tell });
    const find = (id) => document.getElementById(id);
    [this.label, this.slider, this.output] = ["threshold-label", "threshold", "threshold-value"].map(find);
    [this.everywhere, this.none] = ["threshold-class", "threshold-none"].map(find);
    this.slider.addEventListener("input", () => this.preview());
    this.slider.addEventListener("change", () => this.later());
    this.everywhere.addEventListener("click", () => this.applyToClass());
    session.addEventListener("open", () => this.opened());
    session.addEventListener("renewed", () => this.moved || this.opened());
    classes.addEventListener("choose", () => this.offer());
  }

  get value() {
    return Number(this.slider.value);
  }

  opened() {
    clearTimeout(this.timer);
    const { image } = this.session;
    const maps = image?.entry.maps?.refined !== undefined;
    this.label.hidden = !maps;
    this.none.hidden = maps || !image;
    if (maps) this.set(image.entry.threshold ?? 0.5);
    this.moved = false;
    this.offer();
  }

  set(value) {
    this.slider.value = value;
    this.output.textContent = this.value.toFixed(2);
  }

  /** The mask at the slider's value, computed here. */
  async preview() {
    this.output.textContent = this.value.toFixed(2);
    const { image } = this.session;
    if (!this.session.editable && !this.moved) return;
    this.moved = true;
    this.offer();
    const begun = performance.now();
    try {
      const scores = await this.session.images.scores(image);
      if (this.session.image !== image || !this.moved) return;
      this.view.replace(maskAt(scores, this.value));
      this.took = performance.now() - begun;
    } catch (error) {
      this.session.fail(`The maps cannot be read: ${error.message}`);
    }
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.apply(), document.activeElement === this.slider ? REST : 0);
  }

  async apply() {
    if (!this.session.image || this.session.layer !== "mask") return;
    const { image } = this.session;
    await this.session.threshold(this.value);
    if (this.session.image === image && this.view.mask !== image.mask) this.view.replace(image.mask); // it was refused
    this.tell(`Mask at threshold ${this.value.toFixed(2)}`);
  }

  /** Offer the threshold for all unreviewed images of the class that is painted with. */
  offer() {
    const { image, value } = this.session;
    const offered = image && !this.label.hidden && this.classes.isClass(value);
    this.everywhere.hidden = !offered;
    if (offered) this.everywhere.textContent = `Use ${this.value.toFixed(2)} for all unreviewed ${this.classes.name(value)}`;
  }

  async applyToClass() {
    const { value } = this.session;
    const name = this.classes.name(value);
    const query = new URLSearchParams({ class: name, state: "unreviewed", fields: "ids" });
    try {
      const { total } = await get(`/api/images?${query}`);
      const text = `The masks of ${total} unreviewed ${total === 1 ? "image" : "images"} tagged ${name} are made again from their maps. Each can be undone.`;
      const answers = { yes: `Use ${this.value.toFixed(2)}`, no: "Cancel" };
      if (total === 0) return this.tell(`No unreviewed image is tagged ${name}`);
      if ((await this.ask(`Threshold ${this.value.toFixed(2)} for ${name}?`, text, answers)) !== "yes") return undefined;
      const changed = await this.everyImage({ value: this.value, class: value, image: null });
      this.session.images.loaded.clear();
      if (this.session.image) await this.session.forgetImage(this.session.image.id);
      this.tell(`${changed} masks changed`);
    } catch (error) {
      this.session.fail(`The threshold was not used: ${error.message}`);
    }
    return undefined;
  }

  /** Many images take several requests, each of which says where the next one has to start. */
  async everyImage(body) {
    let changed = 0;
    for (let start = 0; start !== null; ) {
      const part = await post("/api/threshold", { ...body, start });
      changed += part.changed;
      start = part.next ?? null;
      if (start !== null) this.tell(`${changed} masks changed so far`);
    }
    return changed;
  }
}
