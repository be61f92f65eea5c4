/** Brush, eraser, polygon, fill and superpixels, by mouse, pen, finger or keys.
 *
 * One finger paints and two move the photograph; the middle button moves it too, and so does the left one while the
 * space bar is held. With keys there is a cursor: arrows move it, Enter puts the tool down and lifts it again.
 */

import * as raster from "./raster.js";

export const TOOLS = ["move", "brush", "eraser", "polygon", "fill", "cells"];
export const SIZES = [1, 2, 3, 5, 8, 12, 18, 26, 38, 56, 80, 120, 180, 260]; // pixels of the mask
const CLOSE = 10; // screen pixels within which a click closes a polygon

export class Tools extends EventTarget {
  constructor(session, view) {
    super();
    this.session = session;
    this.view = view;
    this.tool = "brush";
    this.size = SIZES[7];
    this.stroke = null;
    this.corners = [];
    this.cursor = null;
    this.keyboard = false;
    this.pointers = new Map();
    const { element } = view;
    element.addEventListener("pointerdown", (event) => this.down(event), { capture: true });
    element.addEventListener("pointermove", (event) => this.moved(event));
    element.addEventListener("pointerup", (event) => this.up(event));
    element.addEventListener("pointercancel", (event) => this.up(event));
    element.addEventListener("pointerleave", () => !this.stroke && !this.keyboard && this.mark(null));
    element.addEventListener("dblclick", () => this.closePolygon());
    session.addEventListener("leave", () => this.finish());
    session.addEventListener("open", () => this.reset());
    this.choose(this.tool);
  }

  choose(tool) {
    this.cancel();
    this.tool = tool;
    const drags = this.view.map.dragging;
    if (tool === "move") drags.enable();
    else drags.disable();
    this.view.element.dataset.tool = tool;
    if (tool === "cells" && this.session.image) this.prepareCells();
    this.mark(this.cursor);
    this.dispatchEvent(new Event("tool"));
  }

  resize(size) {
    this.size = size;
    this.mark(this.cursor);
    this.dispatchEvent(new Event("tool"));
  }

  /** The next larger (1) or smaller (-1) size. */
  grow(step) {
    const at = SIZES.findIndex((size) => size >= this.size);
    this.resize(SIZES[Math.min(SIZES.length - 1, Math.max(0, at + step))]);
  }

  /** Hold the photograph to move it, whatever the tool. */
  hold(held) {
    if (this.tool === "move" || this.held === held) return;
    this.held = held;
    this.view.element.classList.toggle("held", held);
    if (held) this.view.map.dragging.enable();
    else this.view.map.dragging.disable();
  }

  reset() {
    this.stroke = null;
    this.corners = [];
    this.cursor = null;
    this.superpixels = null;
    if (this.tool === "cells" && this.session.image) this.prepareCells();
    this.mark(null);
  }

  /** Another image will be shown: a stroke is kept, corners of a polygon that is open are not. */
  finish() {
    if (this.stroke) this.lift();
    this.cancel();
  }

  /** Give up a polygon or stroke that is not finished. Returns whether there was one. */
  cancel() {
    const open = this.corners.length > 0 || this.stroke !== null;
    this.corners = [];
    if (this.stroke) {
      this.session.image.mask.data.set(this.stroke.before);
      this.view.draw(this.stroke.box);
      this.stroke = null;
    }
    this.mark(this.cursor);
    return open;
  }

  // Pointers

  down(event) {
    this.keyboard = false;
    this.pointers.set(event.pointerId, event);
    if (event.pointerType === "touch" && this.pointers.size > 1) {
      this.cancel(); // two fingers move the photograph
      return;
    }
    if (event.button === 1) {
      this.panned = event;
      this.view.element.setPointerCapture(event.pointerId);
      event.preventDefault();
      return;
    }
    const eraser = event.pointerType === "pen" && event.button === 5;
    if ((event.button !== 0 && !eraser) || this.held || this.tool === "move") return;
    if (!this.session.editable) {
      this.dispatchEvent(new Event("blocked"));
      return;
    }
    this.view.element.setPointerCapture(event.pointerId);
    this.press(this.view.point(event), eraser ? 0 : undefined, event.shiftKey);
  }

  moved(event) {
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, event);
    if (this.panned) {
      this.view.pan(this.panned.clientX - event.clientX, this.panned.clientY - event.clientY);
      this.panned = event;
      return;
    }
    const points = (event.getCoalescedEvents?.() ?? []).concat(event).map((each) => this.view.point(each));
    if (this.stroke) points.forEach((point) => this.drag(point));
    if (!this.keyboard) this.mark(event.pointerType === "touch" ? null : points.at(-1));
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    this.panned = null;
    if (this.stroke) {
      if (event.type === "pointercancel") this.cancel();
      else this.lift();
    }
  }

  // Keys

  /** Move the cursor by screen pixels; if the tool is down, it draws. */
  steer(x, y) {
    const { image } = this.session;
    this.keyboard = true;
    const { scale } = this.view;
    const from = this.cursor ?? { x: image.width / 2, y: image.height / 2 };
    const step = (value, by) => value + Math.sign(by) * Math.max(1, Math.round(Math.abs(by) / scale));
    this.cursor = {
      x: Math.min(image.width - 0.5, Math.max(0.5, Math.floor(step(from.x, x)) + 0.5)),
      y: Math.min(image.height - 0.5, Math.max(0.5, Math.floor(step(from.y, y)) + 0.5)),
    };
    if (this.stroke) this.drag(this.cursor);
    this.view.follow(this.cursor);
    this.mark(this.cursor);
  }

  /** Put the tool down at the cursor, or lift it. */
  enter(all = false) {
    if (!this.session.editable) return this.dispatchEvent(new Event("blocked"));
    this.keyboard = true;
    if (this.cursor === null) this.steer(0, 0);
    if (this.stroke) this.lift();
    else this.press(this.cursor, undefined, all);
  }

  // What tools do

  /** @param all of the fill tool: every region of the class under the point, not one alone. */
  press(point, value = this.tool === "eraser" ? 0 : this.session.value, all = false) {
    const { mask } = this.session.image;
    if (this.tool === "polygon") return this.corner(point);
    if (this.tool === "fill") {
      const box = all ? raster.replace(mask, raster.valueAt(mask, point), value) : raster.region(mask, point, value);
      if (box) this.session.commit("fill", box);
      return undefined;
    }
    if (this.tool === "cells" && !this.superpixels) return this.dispatchEvent(new Event("blocked"));
    this.stroke = { value, from: point, box: null, before: mask.data.slice(), done: new Set() };
    return this.drag(point);
  }

  drag(point) {
    const { stroke } = this;
    const { mask } = this.session.image;
    const box =
      this.tool === "cells"
        ? raster.cells(mask, this.superpixels, stroke.from, point, stroke.value, stroke.done)
        : raster.line(mask, stroke.from, point, this.size, stroke.value);
    stroke.from = point;
    stroke.box = raster.joined(stroke.box, box);
    this.view.draw(box);
  }

  lift() {
    const { box, value, before } = this.stroke;
    this.stroke = null;
    const { data } = this.session.image.mask;
    if (box === null || data.every((pixel, i) => pixel === before[i])) return; // nothing to save
    this.session.commit(this.tool === "cells" ? "cells" : value === 0 ? "eraser" : "brush", box);
  }

  corner(point) {
    const first = this.corners[0];
    const near = first && Math.hypot(point.x - first.x, point.y - first.y) * this.view.scale < CLOSE;
    if (near && this.corners.length > 2) return this.closePolygon();
    this.corners.push(point);
    this.mark(point);
    return undefined;
  }

  /** Take back the last corner. Returns whether there was one. */
  dropCorner() {
    const dropped = this.corners.pop() !== undefined;
    this.mark(this.cursor);
    return dropped;
  }

  closePolygon() {
    const { corners } = this;
    if (corners.length < 3) return;
    this.corners = [];
    const { mask } = this.session.image;
    const before = mask.data.slice();
    const box = raster.polygon(mask, corners, this.session.value);
    if (box && !mask.data.every((pixel, i) => pixel === before[i])) this.session.commit("polygon", box);
    this.mark(this.cursor);
  }

  async prepareCells() {
    const { image } = this.session;
    try {
      const found = await this.session.images.cells(image);
      if (this.session.image === image) this.superpixels = found;
    } catch (error) {
      this.session.fail(`There are no superpixels: ${error.message}`);
    }
  }

  /** Draw the marks of the tool with its point; null if the pointer is elsewhere. */
  mark(point) {
    if (!this.session.image) return this.view.mark({});
    const round = point && ["brush", "eraser"].includes(this.tool);
    const loose = this.corners.length && point ? [...this.corners, point] : this.corners;
    return this.view.mark({
      circle: round ? { ...point, radius: this.size / 2 } : null,
      cross: this.keyboard ? this.cursor : null,
      corners: loose,
    });
  }
}
