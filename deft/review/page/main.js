/** The page of `deft review`: its parts, and what they have to do with each other. */

import { get, post } from "./api.js";
import { Appearance } from "./appearance.js";
import { BACKGROUND, Classes, IGNORE } from "./classes.js";
import { arrived, ask, conflict } from "./dialogs.js";
import { Filters, STATES } from "./filters.js";
import { Gallery } from "./gallery.js";
import { Images } from "./images.js";
import { describe, listen } from "./keys.js";
import { Learning } from "./learning.js";
import { Outbox } from "./outbox.js";
import { picture } from "./picture.js";
import { whenRanked } from "./ranked.js";
import * as raster from "./raster.js";
import { Session } from "./session.js";
import { progress, saving, tell } from "./status.js";
import { Threshold } from "./threshold.js";
import { Toolbar } from "./toolbar.js";
import { Tools } from "./tools.js";
import { packed, View } from "./view.js";

const AHEAD = 2; // images loaded before they are asked for
const RECOUNT = 400; // milliseconds of rest before the server is asked how many are reviewed
const find = (id) => document.getElementById(id);

const run = await get("/api/run").catch((error) => {
  find("stage-empty").hidden = false;
  find("stage-empty").textContent = `${error.message}. Open the address that deft review printed.`;
  throw error;
});
const colours = new Uint32Array(256).fill(packed("#e0e0c0")); // that of 255
for (const { id, color } of run.classes) colours[id] = packed(color);

const words = {
  state: (state) => STATES[state]?.toLowerCase() ?? state,
  tags: (tags) => tags.map((id) => classes.name(id)).join(", ") || "no tags",
};
const outbox = new Outbox(run.key, async (change, theirs) => {
  if (await arrived(change, theirs)) return "arrived";
  return conflict(change, theirs, (caption, id, mask) => picture(caption, id, mask, colours), words);
});
const images = new Images((id) => outbox.has(id));
const session = new Session(images, outbox);
const view = new View(find("stage"), colours);
const tools = new Tools(session, view);
const filters = new Filters(find("filters"), run);
const gallery = new Gallery(find("rows"), find("spacer"), ({ fault, reason, state }) => ({ line: fault ?? reason ?? "", state: STATES[state] }));
session.addEventListener("open", () => {
  const { image } = session; // shown before the panels learn of it
  if (image && !image.unreadable) view.show(image, image.mask);
  else view.clear();
});
const classes = new Classes(find("classes"), find("class-find"), run, session);
const appearance = new Appearance(session, view, run);
const threshold = new Threshold(session, view, classes, ask, tell);
const toolbar = new Toolbar(tools, session, view);
const learning = new Learning(run, tell);

// The list

let asked = 0; // when the image was asked for that is not shown yet

function open(id) {
  if (id === undefined) return tell("No further image in this list");
  asked = performance.now();
  return session.open(id);
}

const beside = (step) => open(gallery.beside(session.wanted ?? gallery.current, step)); // also past one that fails

async function load() {
  try {
    await gallery.load(filters.query);
  } catch (error) {
    return session.fail(`The list cannot be read: ${error.message}`);
  }
  const { length } = gallery.ids;
  find("found").textContent = `${length.toLocaleString("en")} ${length === 1 ? "image" : "images"}`;
  find("nothing").hidden = length > 0;
  find("rows").hidden = length === 0;
  const done = filters.query.get("state") === "unreviewed" && [...filters.query.keys()].length === 2;
  find("nothing-text").textContent = done ? "Every image is reviewed." : "No image matches.";
  find("show-all").hidden = !filters.narrowed;
  return undefined;
}

async function restart() {
  await load();
  const first = gallery.ids[0];
  if (first !== undefined) await open(first);
  else session.close();
}

/** Read the list again, and stay where one is. */
async function reload() {
  await load();
  gallery.show(session.image?.id ?? null);
}

let untouched = filters.image === null; // nobody has begun, nor asked for an image
for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => (untouched = false), { once: true });

filters.addEventListener("change", restart);
find("refresh").addEventListener("click", reload);
find("show-all").addEventListener("click", () => filters.clear());
gallery.addEventListener("pick", ({ detail }) => open(detail));

// The open image

session.addEventListener("open", () => {
  const { image } = session;
  find("stage-empty").hidden = image !== null && !image.unreadable;
  find("stage-empty").textContent = image?.entry.fault ?? "No image is open.";
  document.body.classList.toggle("empty", image === null);
  filters.write(image?.id ?? null);
  if (!image) return about(null);
  gallery.show(image.id);
  about(image.entry);
  tell(`${image.entry.name}, ${words.state(image.entry.state)}`, false);
  const begun = asked;
  requestAnimationFrame(() => setTimeout(() => performance.measure("image shown", { start: begun }))); // after painting
  for (let step = 1, next = image.id; step <= AHEAD; step += 1) {
    next = gallery.beside(next, 1);
    if (next === undefined) break;
    images.load(next).catch(() => {}); // told when it is opened
  }
  return undefined;
});
session.addEventListener("entry", ({ detail }) => {
  gallery.update(detail);
  if (detail.id === session.image?.id) about(detail);
});
session.addEventListener("failed", ({ detail }) => tell(detail));

function about(entry) {
  find("name").textContent = find("name").title = entry?.name ?? "No image";
  find("facts").replaceChildren();
  find("reason").textContent = [entry?.reason, entry?.fault].filter(Boolean).join(". ");
  document.title = entry ? `${entry.name} – deft review` : "deft review";
  toolbar.enable();
  if (!entry) return;
  const state = Object.assign(document.createElement("span"), { className: `state ${entry.state}`, textContent: STATES[entry.state] });
  const size = `${entry.width} × ${entry.height}`;
  const facts = [entry.width ? size : null, entry.split === "val" ? "held out" : null, entry.older_maps ? "maps of an older run" : null];
  find("facts").append(state, ` ${facts.filter(Boolean).join(" · ")}`);
}

/** How far the review is, as the server counts: other windows work on it too. */
function recount() {
  clearTimeout(counting);
  counting = setTimeout(async () => {
    const { counts, total, learning: state } = await get("/api/run").catch(() => run);
    progress(counts, total);
    learning.notice(state);
  }, RECOUNT);
}

let counting = 0;
outbox.addEventListener("saved", recount);

// What keys and buttons do

// Whether the image is still open once the server has changed its mask: keys pressed meanwhile come after it.
async function ready() {
  const { image } = session;
  while (session.busy) await session.working;
  return image !== null && session.image === image;
}

async function decide(state) {
  if (!(await ready())) return;
  tools.finish();
  const { name } = session.image.entry;
  session.setState(state);
  tell(`${name} ${words.state(state)}`, false);
  if (state !== "unreviewed") beside(1);
}

async function step(name) {
  if (!session.image || tools.cancel() || !(await ready())) return;
  if (!session.image.entry[`can_${name}`]) return tell(name === "undo" ? "Nothing to undo" : "Nothing to redo");
  await session.step(name);
  tell(name === "undo" ? "Undone" : "Redone");
}

async function tag(id) {
  const { image } = session;
  if (!image || !classes.isClass(id)) return;
  const { tags } = image.entry;
  if (!tags.includes(id)) {
    session.setTags([...tags, id]);
    return tell(`${classes.name(id)} is a tag`, false);
  }
  const pixels = raster.counts(image.mask)[id];
  session.setTags(tags.filter((each) => each !== id));
  tell(`${classes.name(id)} is no tag any more`, false);
  if (pixels === 0) return undefined;
  const title = `Clear ${classes.name(id)} from the mask?`;
  const text = `${pixels.toLocaleString("en")} pixels of the mask still have this class.`;
  const answer = await ask(title, text, { clear: "Make them background", keep: "Leave them" });
  if (answer === "clear" && session.image === image && session.editable) {
    session.commit("clear", raster.replace(image.mask, id, BACKGROUND));
  }
  return undefined;
}

async function useLayer() {
  const { image, layer } = session;
  const found = await images.shown(image, layer);
  if (session.image !== image) return;
  image.mask.data.set(found.data);
  await appearance.show("mask");
  session.commit("layer", raster.whole(image.mask));
}

// Whether everything is with the server, after what is on its way; false once there is a problem.
async function saved() {
  tools.finish();
  await session.order;
  while (session.unsaved && outbox.problem === null) {
    await new Promise((resolve) => outbox.addEventListener("state", resolve, { once: true }));
  }
  return !session.unsaved;
}

/** No stroke is under way: what the tool draws on is not replaced. */
async function rest() {
  while (tools.stroke) await new Promise((resolve) => setTimeout(resolve, 100));
}

async function end() {
  const kept = session.unsaved ? "Some changes are not saved yet; they stay in this browser." : "Everything is saved.";
  const text = learning.busy ? `${kept} What is being learned is given up.` : kept;
  if ((await ask("End the review?", text, { end: "End", stay: "Stay" })) !== "end") return;
  try {
    await post("/api/stop", {});
    outbox.problem = null;
    session.close();
    find("stage-empty").textContent = "The review has ended. This window can be closed.";
    document.body.classList.add("ended");
  } catch (error) {
    session.fail(`The server was not ended: ${error.message}`);
  }
}

const actions = {
  accept: () => decide("accepted"),
  reject: () => decide("rejected"),
  unreview: () => decide("unreviewed"),
  next: () => beside(1),
  previous: () => beside(-1),
  undo: () => step("undo"),
  redo: () => step("redo"),
  list: () => find("rows").focus(),
  learn: () => learning.press(saved),
  stage: () => find("stage").focus(),
  find: () => find("class-find").focus(),
  threshold: () => find("threshold").focus(),
  background: () => classes.choose(BACKGROUND),
  ignore: () => classes.choose(IGNORE),
  tag: () => tag(session.value),
  smaller: () => tools.grow(-1),
  larger: () => tools.grow(1),
  outline: () => appearance.toggle("outline"),
  only: () => appearance.toggle("only"),
  hide: () => appearance.toggle("hide"),
  fainter: () => appearance.setOpacity(view.opacity - 0.1),
  stronger: () => appearance.setOpacity(view.opacity + 0.1),
  zoomIn: () => view.zoom(0.5),
  zoomOut: () => view.zoom(-0.5),
  fit: () => view.fit(),
  help: () => find("help").showModal(),
  escape: (target) => target.closest("input, select") && (find("stage").focus(), true),
};
for (const name of ["move", "brush", "eraser", "polygon", "fill", "cells"]) actions[name] = () => tools.choose(name);
for (const name of ["mask", "pseudo", "refined", "seeds", "network"]) actions[name] = () => appearance.show(name);

toolbar.connect(actions);
describe(find("help-keys"));
listen(actions, tools, (digit) => classes.chooseDigit(digit));
find("help-open").addEventListener("click", actions.help);
find("stop-open").addEventListener("click", end);
find("learn").addEventListener("click", actions.learn);
learning.addEventListener("round", () => {
  gallery.renew();
  session.renew(rest).catch((error) => session.fail(`The new masks cannot be read: ${error.message}`));
});
classes.addEventListener("tag", ({ detail }) => tag(detail));
classes.addEventListener("found", () => find("stage").focus());
classes.addEventListener("choose", ({ detail }) => appearance.follow(detail));
appearance.addEventListener("use", useLayer);
tools.addEventListener("blocked", () => {
  if (session.layer !== "mask") tell("Only the mask can be changed: press M, or use this layer as the mask");
  else if (tools.tool === "cells") tell("Superpixels are being computed");
});

// What is not saved

outbox.addEventListener("state", () => saving(outbox));
window.addEventListener("beforeunload", (event) => session.unsaved && event.preventDefault());
window.addEventListener("online", () => outbox.retry());
document.addEventListener("visibilitychange", () => outbox.retry());
find("banner-retry").addEventListener("click", () => outbox.retry());
find("banner-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = find("banner-address").value.split("token=")[1];
  await fetch(`/?token=${encodeURIComponent(token ?? "")}`).catch(() => null); // sets the cookie
  outbox.retry();
});

find("run").textContent = run.run;
progress(run.counts, run.total);
saving(outbox);
const left = await outbox.resume();
if (left) tell(`${left} ${left === 1 ? "change" : "changes"} of the last time sent`);
await load();
whenRanked(run, async () => {
  if (filters.query.get("order") !== "suggested") return;
  if (untouched) await restart();
  else await reload();
});
await open(gallery.places.has(filters.image) ? filters.image : gallery.ids[0]);
