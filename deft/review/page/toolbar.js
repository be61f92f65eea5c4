/** The buttons of tools, of the size and of decisions; what they do is named in `actions`, as for keys. */

import { SIZES, TOOLS } from "./tools.js";

const NAMES = {
  move: ["Move", "Move the photograph (v)"],
  brush: ["Brush", "Brush (b)"],
  eraser: ["Eraser", "Eraser (e)"],
  polygon: ["Polygon", "Polygon (g): click its corners, double-click or Shift+Enter closes it"],
  fill: ["Fill", "Fill (f): the region under the pointer gets the class; with Shift all regions like it"],
  cells: ["Superpixels", "Superpixels (c): areas of one colour, which end at edges of the photograph"],
};
const SVG = "http://www.w3.org/2000/svg";
const find = (id) => document.getElementById(id);

export class Toolbar {
  constructor(tools, session, view) {
    this.tools = tools;
    this.session = session;
    this.view = view;
    this.buttons = new Map(TOOLS.map((name) => [name, this.button(name)]));
    find("tools").append(...this.buttons.values());
    find("size").max = SIZES.length - 1;
    find("size").addEventListener("input", ({ target }) => tools.resize(SIZES[target.value]));
    tools.addEventListener("tool", () => this.mark());
    this.mark();
  }

  /** @param actions functions by name, as the table of keys has them. */
  connect(actions) {
    for (const [id, name] of [
      ["zoom-in", "zoomIn"],
      ["zoom-out", "zoomOut"],
      ["zoom-fit", "fit"],
      ...["previous", "next", "undo", "redo", "accept", "reject"].map((id) => [id, id]),
    ]) {
      find(id).addEventListener("click", () => actions[name]());
    }
  }

  mark() {
    const { tool, size } = this.tools;
    for (const [name, button] of this.buttons) button.setAttribute("aria-pressed", String(name === tool));
    find("size").value = Math.max(0, SIZES.findIndex((each) => each >= size));
    find("size").setAttribute("aria-valuetext", `${size} pixels`);
    find("size-value").textContent = `${size} px`;
    find("size-label").classList.toggle("off", !["brush", "eraser"].includes(tool));
  }

  /** Grey what the open image does not allow. */
  enable() {
    const entry = this.session.image?.entry;
    for (const id of ["accept", "reject", "previous", "next", "zoom-in", "zoom-out", "zoom-fit"]) find(id).disabled = !entry;
    find("undo").disabled = !entry?.can_undo;
    find("redo").disabled = !entry?.can_redo;
    find("accept").setAttribute("aria-pressed", String(entry?.state === "accepted"));
    find("reject").setAttribute("aria-pressed", String(entry?.state === "rejected"));
  }

  button(name) {
    const [text, title] = NAMES[name];
    const button = Object.assign(document.createElement("button"), { type: "button", title, className: "tool" });
    button.dataset.name = name;
    button.setAttribute("aria-label", text);
    const icon = document.createElementNS(SVG, "svg");
    icon.setAttribute("aria-hidden", "true");
    icon.append(document.createElementNS(SVG, "use"));
    icon.firstChild.setAttribute("href", `/static/page/icons.svg#${name}`);
    button.append(icon, Object.assign(document.createElement("span"), { textContent: text }));
    button.addEventListener("click", () => this.tools.choose(name));
    return button;
  }
}
