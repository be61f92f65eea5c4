/** The keys: one table, which the page listens to and the list of keys shows. */

const STEP = 12; // screen pixels of an arrow key on the drawing area; one pixel of the mask with Shift
const GROUPS = [
  ["Going through", [
    ["a", "Accept, and go on", "accept"],
    ["x", "Reject: the image teaches nothing; go on", "reject"],
    ["u", "Unreviewed again", "unreview"],
    ["j", "Next image", "next"],
    ["k", "Previous image", "previous"],
    ["Ctrl+z", "Undo", "undo"],
    ["Ctrl+Shift+z", "Redo (or Ctrl+Y)", "redo"],
    ["l", "To the list; arrows go through it", "list"],
    ["q", "Learn from this review", "learn"],
  ]],
  ["Tools", [
    ["b", "Brush", "brush"],
    ["e", "Eraser", "eraser"],
    ["g", "Polygon", "polygon"],
    ["f", "Fill: a region gets the class", "fill"],
    ["c", "Superpixels", "cells"],
    ["v", "Move the photograph", "move"],
    ["[", "Smaller brush", "smaller"],
    ["]", "Larger brush", "larger"],
    ["w", "To the drawing area", "stage"],
  ]],
  ["Classes", [
    ["1 … 9", "Paint with this class", null],
    ["0", "Paint background", "background"],
    ["d", "Paint ignore (255)", "ignore"],
    ["/", "Find a class", "find"],
    ["y", "Tag the image with the class, or no more", "tag"],
  ]],
  ["View", [
    ["m", "The mask", "mask"],
    ["p", "The run's pseudo-mask", "pseudo"],
    ["r", "Refined maps", "refined"],
    ["s", "Seeds", "seeds"],
    ["n", "The network's mask", "network"],
    ["o", "Outline only", "outline"],
    ["i", "One class alone", "only"],
    ["h", "Hide the mask", "hide"],
    [",", "Fainter", "fainter"],
    [".", "Stronger", "stronger"],
    ["t", "Threshold", "threshold"],
    ["+", "Zoom in", "zoomIn"],
    ["-", "Zoom out", "zoomOut"],
    ["z", "Whole photograph", "fit"],
    ["?", "Keys", "help"],
  ]],
  ["On the drawing area", [
    ["Arrows", "Move the cursor (with Shift by a pixel)", null],
    ["Enter", "Put the tool down, lift it; set a corner", null],
    ["Shift+Enter", "Close the polygon; fill all regions of the class", null],
    ["Backspace", "Take the last corner back", null],
    ["Escape", "Give up stroke or polygon", null],
    ["Space", "Held: move the photograph", null],
    ["Alt+Arrows", "Move the photograph", null],
  ]],
];
const ACTIONS = new Map(GROUPS.flatMap(([, keys]) => keys.filter(([, , name]) => name).map(([key, , name]) => [key, name])));
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const PREFERENCE = "deft-review-single-keys";

/** Listen to the keys.
 *
 * @param actions { name: function } of all names in the table.
 * @param tools the tools, for the keys of the drawing area.
 */
export function listen(actions, tools, chooseDigit) {
  const missing = names().filter((name) => !(name in actions));
  if (missing.length) throw new Error(`keys without an action: ${missing.join(", ")}`);
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (onStage(event, tools, actions)) return event.preventDefault();
    const name = ACTIONS.get(pressed(event));
    const typing = event.target.matches("input:not([type=range]):not([type=checkbox]), textarea, select");
    if (typing || (!event.ctrlKey && !singleKeys())) return undefined;
    if (/^[1-9]$/.test(event.key) && !event.ctrlKey && !event.altKey && !event.metaKey) {
      chooseDigit(Number(event.key));
      return event.preventDefault();
    }
    if (name === undefined || (event.repeat && ["accept", "reject"].includes(name))) return undefined;
    event.preventDefault();
    return actions[name]();
  });
  document.addEventListener("keyup", ({ key }) => key === " " && tools.hold(false));
  window.addEventListener("blur", () => tools.hold(false));
  const box = document.getElementById("single-keys");
  box.checked = singleKeys();
  box.addEventListener("change", () => localStorage.setItem(PREFERENCE, String(box.checked)));
}

/** The names of all actions that have a key. */
export function names() {
  return [...ACTIONS.values()];
}

/** Write the table of keys into an element. */
export function describe(element) {
  for (const [title, keys] of GROUPS) {
    const section = document.createElement("section");
    const list = document.createElement("dl");
    for (const [key, meaning] of keys) {
      const term = document.createElement("dt");
      key.split(/(?<=.)\+(?=.)/).forEach((part) => {
        term.append(Object.assign(document.createElement("kbd"), { textContent: part.length === 1 ? part.toUpperCase() : part }));
      });
      list.append(term, Object.assign(document.createElement("dd"), { textContent: meaning }));
    }
    section.append(Object.assign(document.createElement("h3"), { textContent: title }), list);
    element.append(section);
  }
}

function singleKeys() {
  return localStorage.getItem(PREFERENCE) !== "false";
}

function pressed({ key, ctrlKey, metaKey, shiftKey, altKey }) {
  if (altKey) return null;
  const letter = key.length === 1 ? key.toLowerCase() : key;
  if (!ctrlKey && !metaKey) return shiftKey && /[a-z]/.test(letter) ? null : letter === "=" ? "+" : letter;
  if (letter === "y") return "Ctrl+Shift+z";
  return `Ctrl+${shiftKey ? "Shift+" : ""}${letter}`;
}

/** Keys of the drawing area; returns whether the key was one. */
function onStage(event, tools, actions) {
  const { key, target } = event;
  if (key === "Escape") return tools.cancel() || actions.escape(target);
  const stage = target.closest?.("#stage");
  if (key === " " && (stage || target === document.body)) {
    tools.hold(true);
    return true;
  }
  if (!stage || !tools.session.image || event.ctrlKey || event.metaKey) return false;
  if (key in ARROWS) {
    const [x, y] = ARROWS[key].map((sign) => sign * (event.altKey ? 5 * STEP : event.shiftKey ? 0.01 : STEP));
    if (event.altKey) tools.view.pan(x, y);
    else tools.steer(x, y);
    return true;
  }
  if (key === "Enter" && event.shiftKey && tools.tool === "polygon") tools.closePolygon();
  else if (key === "Enter") tools.enter(event.shiftKey);
  else if (key === "Backspace") tools.dropCorner();
  else return false;
  return true;
}
