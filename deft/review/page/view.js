/** The photograph with its mask over it, which zooms and pans.
 *
 * Leaflet moves and scales them (its plane of plain coordinates: one unit is one pixel of the photograph). The mask is a
 * canvas of its own, as many pixels as the mask has, enlarged without smoothing.
 */

import * as L from "/static/leaflet/leaflet-src.esm.js";
import { whole } from "./raster.js";

const MOST = 6; // 64 screen pixels for one of the mask

const CanvasOverlay = L.ImageOverlay.extend({
  _initImage() {
    this._image = this._url; // an element takes the place of an address, as Leaflet's overlays of SVG and video do
    this._image.classList.add("leaflet-image-layer", "mask");
  },
});

export class View {
  /** @param element where it is. @param colours of each mask value, [R, G, B]. */
  constructor(element, colours) {
    this.element = element;
    this.colours = colours;
    this.opacity = 0.55;
    this.outline = false;
    this.hidden = false;
    this.only = null; // the one value that is drawn
    this.mask = null;
    this.map = L.map(element, {
      crs: L.CRS.Simple,
      attributionControl: false,
      zoomControl: false,
      keyboard: false, // keys.js
      doubleClickZoom: false,
      boxZoom: false,
      zoomSnap: 0,
      zoomDelta: 0.5,
      wheelPxPerZoomLevel: 100,
      maxZoom: MOST,
      minZoom: -6,
      bounceAtZoomLimits: false,
      inertia: false,
      zoomAnimation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      fadeAnimation: false,
    });
    this.map.createPane("photo").style.zIndex = 200;
    this.map.createPane("mask").style.zIndex = 300; // and marks above it, in Leaflet's own pane at 400
    this.map.on("zoomend", () => this.outline && this.draw());
    this.map.on("movestart zoomstart", () => (this.fitted = false));
    new ResizeObserver(() => this.resized()).observe(element);
    this.marks = L.layerGroup().addTo(this.map);
  }

  /** Show an image { width, height, photo } with a mask. */
  show(image, mask) {
    this.layers?.forEach((layer) => layer.remove());
    const bounds = [
      [-image.height, 0],
      [0, image.width],
    ];
    this.bounds = L.latLngBounds(bounds);
    this.canvas = document.createElement("canvas");
    this.canvas.width = image.width;
    this.canvas.height = image.height;
    this.context = this.canvas.getContext("2d");
    this.layers = [L.imageOverlay(image.photo, bounds, { pane: "photo" }), new CanvasOverlay(this.canvas, bounds, { pane: "mask" })];
    this.fit();
    this.layers.forEach((layer) => layer.addTo(this.map));
    this.mask = mask;
    this.draw();
  }

  /** Draw another mask of the same size. */
  replace(mask) {
    this.mask = mask;
    this.draw();
  }

  clear() {
    this.layers?.forEach((layer) => layer.remove());
    this.layers = null;
    this.mask = null;
    this.marks.clearLayers();
  }

  fit() {
    this.fitted = false; // moving to the fit is no move of the user's
    this.map.fitBounds(this.bounds, { animate: false, padding: [12, 12] });
    this.fitted = true;
  }

  resized() {
    const { fitted } = this;
    this.map.invalidateSize({ animate: false, pan: false });
    if (this.layers && fitted) this.fit();
  }

  /** Screen pixels for one of the photograph. */
  get scale() {
    return 2 ** this.map.getZoom();
  }

  /** Where in the photograph an event of a pointer is, { x, y }. */
  point(event) {
    const { lat, lng } = this.map.mouseEventToLatLng(event);
    return { x: lng, y: -lat };
  }

  latLng({ x, y }) {
    return L.latLng(-y, x);
  }

  /** Draw the part of the mask that changed, or all of it. */
  draw(box = this.mask && whole(this.mask)) {
    if (!this.mask || !this.canvas || box === null) return;
    this.canvas.style.opacity = this.outline ? 1 : this.opacity;
    this.canvas.hidden = this.hidden;
    const { width, height, data } = this.mask;
    const reach = this.outline ? Math.max(1, Math.round(1.5 / this.scale)) : 0;
    const left = Math.max(0, box.left - reach);
    const top = Math.max(0, box.top - reach);
    const right = Math.min(width, box.right + reach);
    const bottom = Math.min(height, box.bottom + reach);
    const pixels = new ImageData(right - left, bottom - top);
    const colours = new Uint32Array(pixels.data.buffer);
    for (let y = top, to = 0; y < bottom; y += 1) {
      for (let x = left, i = y * width + left; x < right; x += 1, i += 1, to += 1) {
        const value = data[i];
        if (value === 0 || (this.only !== null && value !== this.only)) continue;
        if (reach && !edge(data, i, x, y, width, height, reach)) continue;
        colours[to] = this.colours[value];
      }
    }
    this.context.putImageData(pixels, left, top);
  }

  zoom(steps) {
    this.map.setZoom(Math.min(MOST, this.map.getZoom() + steps), { animate: true });
  }

  pan(x, y) {
    this.map.panBy([x, y], { animate: false });
  }

  /** Bring a point into sight. */
  follow(point) {
    this.map.panInside(this.latLng(point), { padding: [40, 40], animate: false });
  }

  /** Marks over the mask: the circle of the brush, the corners of a polygon. */
  mark({ circle, corners, cross }) {
    this.marks.clearLayers();
    const add = (layer) => this.marks.addLayer(layer);
    const twice = (make) => [make("under"), make("over")].forEach(add); // dark and light: seen on every ground
    const style = (className) => ({ className: `mark ${className}`, interactive: false, fill: false });
    if (circle) twice((kind) => L.circle(this.latLng(circle), { radius: circle.radius, ...style(kind) }));
    if (cross) {
      const arm = 14 / this.scale;
      const arms = [
        [this.latLng({ x: cross.x - arm, y: cross.y }), this.latLng({ x: cross.x + arm, y: cross.y })],
        [this.latLng({ x: cross.x, y: cross.y - arm }), this.latLng({ x: cross.x, y: cross.y + arm })],
      ];
      twice((kind) => L.polyline(arms, style(kind)));
    }
    if (corners?.length) {
      const points = corners.map((corner) => this.latLng(corner));
      twice((kind) => L.polyline(points, style(kind)));
      add(L.circleMarker(points[0], { radius: 6, ...style("first") }));
    }
  }
}

function edge(data, i, x, y, width, height, reach) {
  const value = data[i];
  return (
    x < reach ||
    y < reach ||
    x >= width - reach ||
    y >= height - reach ||
    data[i - reach] !== value ||
    data[i + reach] !== value ||
    data[i - reach * width] !== value ||
    data[i + reach * width] !== value
  );
}

/** The colour "#rrggbb" as one number of ImageData's bytes, opaque. */
export function packed(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return new Uint32Array(new Uint8Array([r, g, b, 255]).buffer)[0];
}
