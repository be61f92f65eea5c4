/** Order and filters of the list; the address of the page (after #) keeps them, and the open image. */

const ORDERS = {
  suggested: "Most in need of a look",
  name: "Name",
  score: "Score, most doubtful first",
  class: "Class",
};
export const STATES = { unreviewed: "Unreviewed", accepted: "Accepted", corrected: "Corrected", rejected: "Rejected" };
const FIELDS = ["q", "order", "state", "class", "context"];
const TYPING = 250; // milliseconds of rest before a search

export class Filters extends EventTarget {
  constructor(form, run) {
    super();
    this.form = form;
    this.fields = Object.fromEntries(FIELDS.map((name) => [name, form.querySelector(`#filter-${name}`)]));
    const { order, state, context } = this.fields;
    order.append(...run.orders.map((name) => new Option(ORDERS[name] ?? name, name)));
    state.append(new Option("All states", ""), ...Object.entries(STATES).map(([name, text]) => new Option(text, name)));
    context.append(new Option("All contexts", ""), ...run.contexts.map((name) => new Option(name, name)));
    this.fields.class.append(
      new Option("All classes", ""),
      ...run.classes.map(({ name, images }) => new Option(`${name} (${images})`, name)),
    );
    form.querySelector("#context-label").hidden = run.contexts.length === 0;
    this.read(run);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => this.changed());
    this.fields.q.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.changed(), TYPING);
    });
  }

  /** Take what the address says; without it, what is not reviewed yet. */
  read(run) {
    const given = new URLSearchParams(location.hash.slice(1));
    this.image = given.has("image") ? Number(given.get("image")) : null;
    const first = { order: run.orders[0], state: given.size ? "" : "unreviewed" };
    for (const name of FIELDS) this.fields[name].value = given.get(name) ?? first[name] ?? "";
    if (!this.fields.order.value) this.fields.order.value = run.orders[0];
    this.used = String(this.query);
  }

  /** The query of GET /api/images. */
  get query() {
    const filled = FIELDS.map((name) => [name, this.fields[name].value.trim()]).filter(([, value]) => value);
    return new URLSearchParams(filled);
  }

  get narrowed() {
    return FIELDS.some((name) => name !== "order" && this.fields[name].value.trim());
  }

  clear() {
    for (const name of FIELDS) if (name !== "order") this.fields[name].value = "";
    this.changed();
  }

  changed() {
    clearTimeout(this.timer);
    if (String(this.query) === this.used) return;
    this.used = String(this.query);
    this.write(this.image);
    this.dispatchEvent(new Event("change"));
  }

  /** Remember the open image in the address, beside the filters that its list was made with. */
  write(image) {
    this.image = image;
    const query = new URLSearchParams(this.used);
    if (image !== null) query.set("image", image);
    history.replaceState(null, "", `#${query}`);
  }
}
