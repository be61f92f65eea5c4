/** The list of images: rows exist only where they are seen, whatever their number.
 *
 * The ids are fetched once, so that the order stays while images are decided and leave the filter; names, states and
 * thumbnails follow as one scrolls. Events: "pick" (detail: id), "list" (another list is there).
 */

import { get } from "./api.js";

const HEIGHT = 72; // of a row, in pixels, as in style.css
const AROUND = 6; // rows beyond those in sight
const AT_ONCE = 100;
const SETTLE = 60; // milliseconds of rest before what scrolled into sight is fetched

export class Gallery extends EventTarget {
  constructor(element, spacer, describe) {
    super();
    this.element = element;
    this.spacer = spacer;
    this.describe = describe; // entry => { line, state }
    this.ids = [];
    this.places = new Map(); // id => index
    this.entries = new Map();
    this.rows = new Map(); // index => element
    this.current = null;
    element.addEventListener("scroll", () => this.draw(), { passive: true });
    element.addEventListener("click", ({ target }) => {
      const row = target.closest("[role=option]");
      if (row) this.pick(Number(row.dataset.id));
    });
    element.addEventListener("keydown", (event) => this.pressed(event));
    new ResizeObserver(() => this.draw()).observe(element);
  }

  /** Fetch the list of a query, URLSearchParams of order and filters. */
  async load(query) {
    const wanted = (this.wanted = String(query));
    const { ids } = await get(`/api/images?${wanted}&fields=ids`);
    if (this.wanted !== wanted) return;
    this.ids = ids;
    this.places = new Map(ids.map((id, index) => [id, index]));
    this.entries.clear();
    this.rows.forEach((row) => row.remove());
    this.rows.clear();
    this.spacer.style.height = `${ids.length * HEIGHT}px`;
    this.element.scrollTop = 0;
    this.draw();
    this.dispatchEvent(new Event("list"));
  }

  /** The id `step` places after an image; undefined beyond the ends. */
  beside(id, step) {
    const place = this.places.get(id);
    return place === undefined ? this.ids[step > 0 ? 0 : -1] : this.ids[place + step];
  }

  pick(id) {
    this.dispatchEvent(new CustomEvent("pick", { detail: id }));
  }

  /** Mark an image as the open one and bring its row into sight. */
  show(id) {
    this.current = id;
    const place = this.places.get(id);
    if (place === undefined) {
      this.element.removeAttribute("aria-activedescendant");
    } else {
      const top = place * HEIGHT;
      const { scrollTop, clientHeight } = this.element;
      if (top < scrollTop) this.element.scrollTop = top - HEIGHT;
      else if (top + 2 * HEIGHT > scrollTop + clientHeight) this.element.scrollTop = top + 2 * HEIGHT - clientHeight;
    }
    this.draw();
  }

  /** Read what is listed again; the list stays as it is. */
  renew() {
    this.entries.clear();
    this.draw();
  }

  /** An image has changed. */
  update(entry) {
    const before = this.entries.get(entry.id);
    if (before) this.entries.set(entry.id, { ...before, ...entry });
    const row = this.rows.get(this.places.get(entry.id));
    if (row && before) this.fill(row, entry.id);
  }

  draw() {
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / HEIGHT) - AROUND);
    const last = Math.min(this.ids.length, Math.ceil((scrollTop + clientHeight) / HEIGHT) + AROUND);
    for (const [index, row] of this.rows) {
      if (index >= first && index < last) continue;
      row.remove();
      this.rows.delete(index);
    }
    for (let index = first; index < last; index += 1) {
      if (!this.rows.has(index)) this.rows.set(index, this.row(index));
      const row = this.rows.get(index);
      const selected = this.ids[index] === this.current;
      row.setAttribute("aria-selected", String(selected));
      if (selected) this.element.setAttribute("aria-activedescendant", row.id);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetch(first, last), this.entries.size ? SETTLE : 0);
  }

  async fetch(first, last) {
    const missing = this.ids.slice(first, last).filter((id) => !this.entries.has(id));
    for (let at = 0; at < missing.length; at += AT_ONCE) {
      const { images } = await get(`/api/images?ids=${missing.slice(at, at + AT_ONCE).join(",")}`).catch(() => ({ images: [] }));
      images.forEach((entry) => this.entries.set(entry.id, entry));
    }
    for (const [index, row] of this.rows) {
      if (missing.includes(this.ids[index])) this.fill(row, this.ids[index]);
    }
  }

  row(index) {
    const id = this.ids[index];
    const row = document.createElement("div");
    row.id = `row-${id}`;
    row.className = "row";
    row.dataset.id = id;
    row.setAttribute("role", "option");
    row.setAttribute("aria-setsize", String(this.ids.length));
    row.setAttribute("aria-posinset", String(index + 1));
    row.setAttribute("aria-label", "Loading");
    row.style.transform = `translateY(${index * HEIGHT}px)`;
    this.spacer.append(row);
    if (this.entries.has(id)) this.fill(row, id);
    return row;
  }

  fill(row, id) {
    const entry = this.entries.get(id);
    if (!entry) return;
    const { line, state } = this.describe(entry);
    const thumb = this.thumb(row.querySelector("img"), `/files/thumb/${id}.jpg?mask=1&r=${entry.revision}&o=${entry.own.slice(0, 12)}`);
    const name = Object.assign(document.createElement("b"), { textContent: entry.name, title: entry.name });
    const reason = Object.assign(document.createElement("span"), { className: "why", textContent: line, title: line });
    const mark = Object.assign(document.createElement("span"), { className: `state ${entry.state}`, textContent: state });
    const text = Object.assign(document.createElement("span"), { className: "text" });
    text.append(name, reason, mark);
    row.replaceChildren(thumb, text);
    row.setAttribute("aria-label", `${entry.name}, ${state}${line ? `, ${line}` : ""}`);
  }

  /** The picture at an address; until it is loaded, the one before it stays. */
  thumb(before, address) {
    if (before?.getAttribute("src") === address) return before;
    const made = Object.assign(new Image(), { src: address, alt: "", draggable: false });
    if (before === null) return made;
    made.addEventListener("load", () => before.replaceWith(made));
    return before;
  }

  pressed(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / HEIGHT) - 1);
    const place = this.places.get(this.current) ?? -1;
    const last = this.ids.length - 1;
    const to = {
      ArrowDown: place + 1,
      ArrowUp: place - 1,
      PageDown: place + page,
      PageUp: place - page,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined || last < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.pick(this.ids[Math.min(last, Math.max(0, to))]);
  }
}
