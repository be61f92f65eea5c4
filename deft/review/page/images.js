/** Photographs and masks as they are shown: loaded once, and the next ones before they are asked for. */

import { bytes, get } from "./api.js";
import * as maps from "./maps.js";
import * as png from "./png.js";

const KEPT = 8; // photographs and masks in memory at once; one of 2048 x 2048 pixels takes some 25 MB
const CELLS = 1200; // superpixels of a photograph

export class Images {
  /** @param busy id => whether changes of the image are on their way, so that the server's mask is an old one. */
  constructor(busy) {
    this.busy = busy;
    this.loaded = new Map();
  }

  /** An image { entry, photo, mask, layers, ... }; the promise of the same object until it is dropped. */
  load(id) {
    const found = this.loaded.get(id) ?? this.fetch(id);
    this.loaded.delete(id); // the newest is last
    this.loaded.set(id, found);
    for (const old of this.loaded.keys()) {
      if (this.loaded.size <= KEPT) break;
      if (old !== id && !this.busy(old)) this.loaded.delete(old);
    }
    return found;
  }

  drop(id) {
    this.loaded.delete(id);
  }

  async fetch(id) {
    const image = this.open(id);
    image.catch(() => this.loaded.delete(id));
    return image;
  }

  entry(id) {
    return get(`/api/image/${id}`);
  }

  async open(id) {
    const photo = new Image();
    photo.src = `/files/photo/${id}.jpg`;
    photo.alt = "";
    const decoded = photo.decode().catch((error) => error);
    const entry = await this.entry(id);
    const unreadable = entry.width === 0; // entry.fault says why
    const failed = await decoded;
    if (failed && !unreadable) throw failed;
    const image = { id, entry, photo, unreadable, width: entry.edit_width, height: entry.edit_height, extra: new Map() };
    image.mask = await this.mask(image);
    image.revision = entry.revision;
    return image;
  }

  /** The mask as the server has it; all background where there is none. `image.own` says which one of the run's it is. */
  async mask(image) {
    image.own = image.entry.own;
    const found = image.entry.layers.includes("mask") && !image.unreadable ? await this.layer(image, "mask") : null;
    return found ?? { width: image.width, height: image.height, data: new Uint8Array(image.width * image.height) };
  }

  async layer(image, name) {
    return png.decode(await bytes(`/files/layer/${name}/${image.id}.png?r=${image.entry.revision}`));
  }

  /** What is made once for an image and rarely needed: another layer, its maps, its superpixels. */
  once(image, name, make) {
    if (!image.extra.has(name)) {
      const made = make();
      made.catch(() => image.extra.delete(name));
      image.extra.set(name, made);
    }
    return image.extra.get(name);
  }

  shown(image, layer) {
    return layer === "mask" ? image.mask : this.once(image, layer, () => this.layer(image, layer));
  }

  cells(image) {
    const path = `/files/superpixels/${image.id}.png?cells=${CELLS}`;
    return this.once(image, "cells", async () => png.decode(await bytes(path)));
  }

  /** The strongest class and its score at each pixel of the mask; see maps.js. */
  scores(image) {
    return this.once(image, "scores", async () => {
      const found = maps.read(await bytes(`/files/maps/refined/${image.id}`));
      return maps.strongest(found, image.width, image.height);
    });
  }

  /** The run has made a round: forget what is of the one before. @param open id of the image that stays. */
  async renew(open) {
    for (const [id, loaded] of this.loaded) {
      if (id !== open && !this.busy(id)) {
        this.loaded.delete(id);
        continue;
      }
      const { extra } = (await loaded.catch(() => null)) ?? { extra: new Map() };
      for (const name of extra.keys()) if (name !== "cells") extra.delete(name);
    }
  }

  /** An image as the server has it now, { entry, mask, own }; the one in memory stays as it is. */
  async current(image) {
    const found = { ...image, entry: await this.entry(image.id) };
    found.mask = await this.mask(found);
    return found;
  }

  /** Whether the server's image is another than the one in memory; if so, the memory is brought up to it. */
  async refresh(image) {
    const entry = await this.entry(image.id);
    if (this.busy(image.id) || entry.revision === image.revision) return false;
    image.entry = entry;
    image.mask = await this.mask(image);
    image.revision = entry.revision;
    image.extra.delete("pseudo");
    return true;
  }
}
