/** Changes of the pixels of a mask: lines of a round brush, polygons, connected regions, superpixels.
 *
 * A mask is { width, height, data: Uint8Array }. Coordinates are those of the photograph: (0, 0) is its upper left
 * corner and pixel (x, y) has its centre at (x + 0.5, y + 0.5). Every function changes the mask in place and returns
 * the rectangle { left, top, right, bottom } (the last two exclusive) it touched, or null if it touched nothing.
 */

/** A line of a round brush from one point to another.
 *
 * A pixel is painted if its centre is within `size / 2` of the line; so is the pixel under the point, whatever the size.
 */
export function line(mask, from, to, size, value) {
  const radius = size / 2;
  const box = clipped(mask, {
    left: Math.floor(Math.min(from.x, to.x) - radius),
    top: Math.floor(Math.min(from.y, to.y) - radius),
    right: Math.ceil(Math.max(from.x, to.x) + radius) + 1,
    bottom: Math.ceil(Math.max(from.y, to.y) + radius) + 1,
  });
  if (box === null) return null;
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  for (let y = box.top; y < box.bottom; y += 1) {
    for (let x = box.left; x < box.right; x += 1) {
      const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
      const along = length === 0 ? 0 : Math.min(1, Math.max(0, (px * dx + py * dy) / length));
      if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= radius * radius) mask.data[y * mask.width + x] = value;
    }
  }
  for (const point of [from, to]) {
    const [x, y] = [Math.floor(point.x), Math.floor(point.y)];
    if (x >= 0 && y >= 0 && x < mask.width && y < mask.height) mask.data[y * mask.width + x] = value;
  }
  return box;
}

/** The pixels whose centres are inside a polygon, by the even-odd rule. */
export function polygon(mask, corners, value) {
  const box = clipped(mask, {
    left: Math.floor(Math.min(...corners.map(({ x }) => x))),
    top: Math.floor(Math.min(...corners.map(({ y }) => y))),
    right: Math.ceil(Math.max(...corners.map(({ x }) => x))),
    bottom: Math.ceil(Math.max(...corners.map(({ y }) => y))),
  });
  if (box === null || corners.length < 3) return null;
  for (let y = box.top; y < box.bottom; y += 1) {
    const crossings = [];
    corners.forEach((from, index) => {
      const to = corners[(index + 1) % corners.length];
      if (from.y <= y + 0.5 !== to.y <= y + 0.5) {
        crossings.push(from.x + ((y + 0.5 - from.y) / (to.y - from.y)) * (to.x - from.x));
      }
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const begin = Math.max(box.left, Math.ceil(crossings[i] - 0.5));
      const end = Math.min(box.right, Math.ceil(crossings[i + 1] - 0.5));
      if (begin < end) mask.data.fill(value, y * mask.width + begin, y * mask.width + end);
    }
  }
  return box;
}

/** The connected region (by edges) of equal values around a pixel. */
export function region(mask, point, value) {
  const { width, height, data } = mask;
  const [x, y] = [Math.floor(point.x), Math.floor(point.y)];
  const old = valueAt(mask, point);
  if (old === null || old === value) return null;
  const box = { left: x, top: y, right: x + 1, bottom: y + 1 };
  const open = [y * width + x];
  while (open.length) {
    const seed = open.pop();
    if (data[seed] !== old) continue;
    const row = Math.floor(seed / width);
    let [begin, end] = [seed, seed + 1];
    while (begin > row * width && data[begin - 1] === old) begin -= 1;
    while (end < (row + 1) * width && data[end] === old) end += 1;
    data.fill(value, begin, end);
    for (const next of [row - 1, row + 1]) {
      if (next < 0 || next >= height) continue;
      const shift = (next - row) * width;
      for (let i = begin + shift; i < end + shift; i += 1) {
        if (data[i] === old && (i === begin + shift || data[i - 1] !== old)) open.push(i);
      }
    }
    box.left = Math.min(box.left, begin - row * width);
    box.right = Math.max(box.right, end - row * width);
    box.top = Math.min(box.top, row);
    box.bottom = Math.max(box.bottom, row + 1);
  }
  return box;
}

/** All pixels of one value, wherever they are. */
export function replace(mask, old, value) {
  if (old === null || old === value || !mask.data.includes(old)) return null;
  for (let i = 0; i < mask.data.length; i += 1) if (mask.data[i] === old) mask.data[i] = value;
  return whole(mask);
}

/** The superpixels that a line touches.
 *
 * @param cells { width, height, data: labels } of the mask's size.
 * @param done a Set of the labels painted already, which grows.
 */
export function cells(mask, cells, from, to, value, done) {
  const steps = Math.max(1, Math.ceil(Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y))));
  const before = done.size;
  for (let step = 0; step <= steps; step += 1) {
    const x = Math.floor(from.x + ((to.x - from.x) * step) / steps);
    const y = Math.floor(from.y + ((to.y - from.y) * step) / steps);
    if (x >= 0 && y >= 0 && x < mask.width && y < mask.height) done.add(cells.data[y * mask.width + x]);
  }
  if (done.size === before) return null;
  for (let i = 0; i < cells.data.length; i += 1) if (done.has(cells.data[i])) mask.data[i] = value;
  return whole(mask);
}

/** The value under a point; null outside. */
export function valueAt({ width, height, data }, point) {
  const [x, y] = [Math.floor(point.x), Math.floor(point.y)];
  return x < 0 || y < 0 || x >= width || y >= height ? null : data[y * width + x];
}

/** Pixels of each value: an array of 256 counts. */
export function counts({ data }) {
  const found = new Array(256).fill(0);
  for (let i = 0; i < data.length; i += 1) found[data[i]] += 1;
  return found;
}

/** The smallest rectangle around two, either of which may be null. */
export function joined(one, other) {
  if (one === null || other === null) return one ?? other;
  return {
    left: Math.min(one.left, other.left),
    top: Math.min(one.top, other.top),
    right: Math.max(one.right, other.right),
    bottom: Math.max(one.bottom, other.bottom),
  };
}

/** The rectangle of all pixels. */
export function whole({ width, height }) {
  return { left: 0, top: 0, right: width, bottom: height };
}

export function copy({ width, height, data }) {
  return { width, height, data: data.slice() };
}

export function same(one, other) {
  return one.width === other.width && one.data.every((value, i) => value === other.data[i]);
}

function clipped({ width, height }, { left, top, right, bottom }) {
  const box = {
    left: Math.max(0, left),
    top: Math.max(0, top),
    right: Math.min(width, right),
    bottom: Math.min(height, bottom),
  };
  return box.left < box.right && box.top < box.bottom ? box : null;
}
