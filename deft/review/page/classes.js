/** The classes: which one is painted, how much of the mask each has, and which the image is tagged with. */

import { counts } from "./raster.js";

export const BACKGROUND = 0;
export const IGNORE = 255;
const FEW = 9; // classes that need no search
const REST = 150; // milliseconds after a change of the mask until pixels are counted

export class Classes extends EventTarget {
  /** @param run as /api/run gives it. @param session the open image. */
  constructor(element, find, run, session) {
    super();
    this.element = element;
    this.find = find;
    this.session = session;
    this.all = [
      { id: BACKGROUND, name: "Background", color: null },
      ...run.classes,
      { id: run.ignore ?? IGNORE, name: "Ignore", color: null },
    ];
    this.byId = new Map(this.all.map((each) => [each.id, each]));
    this.rows = new Map(this.all.map((each) => [each.id, this.row(each)]));
    this.order = [];
    document.getElementById("class-find-label").hidden = run.classes.length <= FEW;
    find.addEventListener("input", () => this.draw());
    find.addEventListener("keydown", (event) => this.searched(event));
    session.addEventListener("open", () => this.opened());
    session.addEventListener("entry", ({ detail }) => detail.id === session.image?.id && this.draw());
    session.addEventListener("mask", () => this.count());
  }

  name(id) {
    return this.byId.get(id)?.name ?? `class ${id}`;
  }

  isClass(id) {
    return id !== BACKGROUND && id !== IGNORE;
  }

  /** Paint with a class from now on. */
  choose(id) {
    this.session.value = id;
    this.draw();
    this.dispatchEvent(new CustomEvent("choose", { detail: id }));
  }

  /** Choose the n-th row (1 to 9) as the digits show them. */
  chooseDigit(digit) {
    const id = this.order.filter((each) => this.isClass(each))[digit - 1];
    if (id !== undefined) this.choose(id);
  }

  opened() {
    const { image } = this.session;
    this.find.value = "";
    this.pixels = image ? counts(image.mask) : null;
    this.sort();
    if (image && this.isClass(this.session.value) && !this.here(this.session.value)) {
      const first = this.order.find((id) => this.isClass(id));
      if (first !== undefined && this.here(first)) this.session.value = first;
    }
    this.draw();
    this.dispatchEvent(new CustomEvent("choose", { detail: this.session.value }));
  }

  count() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!this.session.image) return;
      this.pixels = counts(this.session.image.mask);
      this.draw();
    }, REST);
  }

  /** Whether an image has a class, as a tag or in its mask. */
  here(id) {
    return this.session.image.entry.tags.includes(id) || this.pixels[id] > 0;
  }

  /** The image's own classes first; the order stays while the image is open, so that digits keep their meaning. */
  sort() {
    const classes = this.all.filter(({ id }) => this.isClass(id)).map(({ id }) => id);
    const { image } = this.session;
    const first = image ? classes.filter((id) => this.here(id)) : [];
    this.own = first.length;
    this.order = [BACKGROUND, ...first, ...classes.filter((id) => !first.includes(id)), this.all.at(-1).id];
    if (first.length) this.order = [BACKGROUND, this.all.at(-1).id, ...this.order.slice(1, -1)];
  }

  draw() {
    const { image, value } = this.session;
    const sought = this.find.value.trim().toLowerCase();
    const total = image ? image.width * image.height : 1;
    let digit = 0;
    const shown = [];
    for (const id of this.order) {
      const row = this.rows.get(id);
      const number = this.isClass(id) ? ++digit : 0;
      if (sought && !this.name(id).toLowerCase().includes(sought)) continue;
      shown.push(row.line);
      const share = this.pixels?.[id] ?? 0;
      const tagged = image?.entry.tags.includes(id) ?? false;
      row.paint.setAttribute("aria-pressed", String(id === value));
      row.key.textContent = { [BACKGROUND]: "0", [IGNORE]: "d" }[id] ?? (number < 10 ? String(number) : "");
      row.share.textContent = share ? percent(share / total) : "";
      if (!row.tag) continue;
      row.tag.disabled = !image;
      row.tag.setAttribute("aria-pressed", String(tagged));
      row.line.classList.toggle("odd", Boolean(image) && tagged !== share > 0);
      row.line.title = !image || tagged === share > 0 ? "" : tagged ? "A tag, but no pixel" : "In the mask, but no tag";
    }
    this.element.replaceChildren(...shown);
    if (!shown.length) this.element.append(Object.assign(document.createElement("p"), { className: "hint", textContent: "No class has this name." }));
  }

  row({ id, name, color }) {
    const line = Object.assign(document.createElement("div"), { className: "class" });
    const paint = Object.assign(document.createElement("button"), { type: "button", className: "paint", title: name });
    const chip = Object.assign(document.createElement("i"), { className: "chip" });
    chip.setAttribute("aria-hidden", "true");
    if (color) chip.style.backgroundColor = color;
    else chip.classList.add(id === BACKGROUND ? "none" : "ignore");
    const text = Object.assign(document.createElement("span"), { className: "label", textContent: name });
    const share = Object.assign(document.createElement("span"), { className: "share" });
    const key = document.createElement("kbd");
    key.setAttribute("aria-hidden", "true");
    paint.append(chip, text, share, key);
    paint.addEventListener("click", () => this.choose(id));
    line.append(paint);
    if (!this.isClass(id)) return { line, paint, share, key };
    const tag = Object.assign(document.createElement("button"), { type: "button", className: "tag", textContent: "tag" });
    tag.setAttribute("aria-label", `Tag ${name}`);
    tag.addEventListener("click", () => this.dispatchEvent(new CustomEvent("tag", { detail: id })));
    line.append(tag);
    return { line, paint, share, key, tag };
  }

  searched(event) {
    if (event.key === "Enter") {
      const sought = this.find.value.trim().toLowerCase();
      const found = this.order.filter((id) => this.name(id).toLowerCase().includes(sought));
      const best = found.find((id) => this.name(id).toLowerCase() === sought) ?? found[0];
      if (best !== undefined) this.choose(best);
    }
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    this.find.value = "";
    this.draw();
    this.dispatchEvent(new Event("found"));
  }
}

function percent(share) {
  if (share < 0.001) return "< 0.1 %";
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}
