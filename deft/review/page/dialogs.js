/** Questions, in the browser's own dialogs: they hold the focus, close on Escape and give the focus back. */

import { bytes } from "./api.js";
import { decode } from "./png.js";

const dialog = () => document.getElementById("ask");
let queue = Promise.resolve(); // one question at a time

/** Ask; resolves to the key of the answer, or to the last one (the harmless one) on Escape.
 *
 * @param answers { key: text }, the first one the usual one.
 * @param pictures elements with what the question is about.
 */
export function ask(title, text, answers, pictures = []) {
  const asked = queue.then(() => put(title, text, answers, pictures));
  queue = asked.catch(() => {});
  return asked;
}

function put(title, text, answers, pictures) {
  const element = dialog();
  element.querySelector("#ask-title").textContent = title;
  element.querySelector("#ask-text").textContent = text;
  const shown = element.querySelector("#ask-pictures");
  shown.hidden = pictures.length === 0;
  shown.replaceChildren(...pictures);
  const keys = Object.keys(answers);
  return new Promise((resolve) => {
    let answer = keys.at(-1);
    const buttons = keys.map((key, index) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: answers[key] });
      if (index === 0) button.className = "primary";
      button.addEventListener("click", () => {
        answer = key;
        element.close();
      });
      return button;
    });
    element.querySelector("#ask-answers").replaceChildren(...buttons);
    element.addEventListener("close", () => resolve(answer), { once: true });
    element.showModal();
    buttons[0].focus();
  });
}

/** Ask which of two versions of an image holds, with pictures of both; "mine" or "theirs". */
export async function conflict(change, theirs, picture, words) {
  const title = `${theirs.name} was changed in another window`;
  if (change.kind !== "mask") {
    const mine = change.kind === "tags" ? words.tags(change.body.tags) : words.state(change.body.state ?? change.kind);
    const other = change.kind === "tags" ? words.tags(theirs.tags) : words.state(theirs.state);
    const text = `There it is now: ${other}. Here: ${mine}.`;
    return ask(title, text, { mine: `Keep mine (${mine})`, theirs: "Keep theirs" });
  }
  const mine = await decode(await change.body.arrayBuffer());
  const other = await theirMask(theirs);
  const pictures = [picture("Mine, not saved yet", theirs.id, mine), picture(`Theirs, ${words.state(theirs.state)}`, theirs.id, other)];
  const text = "Both stay in the steps that can be undone if you keep yours; if you keep theirs, your change is dropped.";
  return ask(title, text, { mine: "Keep mine", theirs: "Keep theirs" }, pictures);
}

/** Whether the server has a change already: its answer was lost, not the change. */
export async function arrived(change, theirs) {
  if (change.kind === "state") return theirs.state === change.body.state;
  if (change.kind === "tags") return String(theirs.tags) === String(change.body.tags);
  if (change.kind !== "mask") return false;
  const mine = await decode(await change.body.arrayBuffer());
  const other = await theirMask(theirs);
  return mine.data.length === other.data.length && mine.data.every((value, i) => value === other.data[i]);
}

async function theirMask(theirs) {
  return decode(await bytes(`/files/layer/mask/${theirs.id}.png?r=${theirs.revision}`));
}
