/** How the mask is shown: which layer, how strong, its outline, one class alone. */

export const LAYERS = {
  mask: { name: "Mask", key: "m" },
  pseudo: { name: "Pseudo", key: "p" },
  refined: { name: "Refined", key: "r" },
  seeds: { name: "Seeds", key: "s" },
  network: { name: "Network", key: "n" },
};

export class Appearance extends EventTarget {
  constructor(session, view, run) {
    super();
    this.session = session;
    this.view = view;
    this.find = (id) => document.getElementById(id);
    this.buttons = new Map(run.layers.filter((name) => name in LAYERS).map((name) => [name, this.button(name)]));
    this.find("layers").append(...this.buttons.values());
    this.find("outline").addEventListener("click", () => this.toggle("outline"));
    this.find("only").addEventListener("click", () => this.toggle("only"));
    this.find("hide").addEventListener("click", () => this.toggle("hide"));
    this.find("opacity").addEventListener("input", ({ target }) => this.setOpacity(target.value / 100));
    this.find("back-to-mask").addEventListener("click", () => this.show("mask"));
    this.find("use-layer").addEventListener("click", () => this.dispatchEvent(new Event("use")));
    session.addEventListener("open", () => this.opened());
    session.addEventListener("renewed", () => this.renewed());
    session.addEventListener("mask", ({ detail }) => session.layer === "mask" && this.redraw(detail));
  }

  /** Show a layer of the open image; only the mask can be changed. */
  async show(layer) {
    const { image } = this.session;
    if (!image || image.unreadable || !image.entry.layers.includes(layer)) return;
    this.session.layer = layer;
    this.mark();
    this.find("viewing-text").textContent += " …"; // the network may have to compute it
    try {
      const found = await this.session.images.shown(image, layer);
      if (this.session.image !== image || this.session.layer !== layer) return;
      this.view.replace(found);
      this.mark();
    } catch (error) {
      this.session.fail(`This layer cannot be shown: ${error.message}`);
    }
  }

  toggle(what) {
    if (what === "outline") this.view.outline = !this.view.outline;
    if (what === "hide") this.view.hidden = !this.view.hidden;
    if (what === "only") this.view.only = this.view.only === null ? this.session.value : null;
    this.mark();
    this.view.draw();
  }

  /** Another class is painted with: if one is shown alone, it is that. */
  follow(value) {
    if (this.view.only === null || this.view.only === value) return;
    this.view.only = value;
    this.view.draw();
  }

  setOpacity(share) {
    this.view.opacity = Math.min(1, Math.max(0, share));
    const text = Math.round(100 * this.view.opacity);
    this.find("opacity").value = text;
    this.find("opacity-value").textContent = `${text} %`;
    if (this.view.canvas && !this.view.outline) this.view.canvas.style.opacity = this.view.opacity;
  }

  opened() {
    const { image } = this.session;
    for (const [name, button] of this.buttons) button.disabled = !image?.entry.layers.includes(name);
    this.mark();
  }

  /** The run has made its layers again; the one that is shown too. */
  renewed() {
    const { layer, image } = this.session;
    for (const [name, button] of this.buttons) button.disabled = !image.entry.layers.includes(name);
    if (layer !== "mask") this.show(image.entry.layers.includes(layer) ? layer : "mask");
  }

  redraw(box) {
    if (this.view.mask === this.session.image.mask) this.view.draw(box);
    else this.view.replace(this.session.image.mask); // the mask was read again
  }

  mark() {
    const { layer, image } = this.session;
    for (const [name, button] of this.buttons) button.setAttribute("aria-pressed", String(name === layer));
    for (const [id, on] of [
      ["outline", this.view.outline],
      ["hide", this.view.hidden],
      ["only", this.view.only !== null],
    ]) {
      this.find(id).setAttribute("aria-pressed", String(on));
    }
    this.find("viewing").hidden = !image || layer === "mask";
    this.find("viewing-text").textContent = `${LAYERS[layer].name}, only to look at`;
  }

  button(name) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: LAYERS[name].name });
    button.title = `${LAYERS[name].name} (${LAYERS[name].key})`;
    button.addEventListener("click", () => this.show(name));
    return button;
  }
}
