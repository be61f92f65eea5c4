/** PNG files of label values, read and written without the canvas, which knows colours alone.
 *
 * A mask travels as a PNG whose palette indices (or grey values) are its labels. Superpixels have more labels than a
 * byte holds: theirs are R + 256 G + 65536 B.
 */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const GREY = 0;
const RGB = 2;
const PALETTE = 3;

const CRC = new Uint32Array(256).map((_, value) => {
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** The labels of a PNG: { width, height, data }, data a Uint8Array, or a Uint32Array of an RGB file. */
export async function decode(buffer) {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  if (!SIGNATURE.every((value, index) => bytes[index] === value)) throw new Error("expected a PNG, got another file");
  let header = null;
  const parts = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") header = readHeader(body);
    if (kind === "IDAT") parts.push(body);
    if (kind === "IEND") break;
    at += 12 + length;
  }
  if (header === null || parts.length === 0) throw new Error("expected a whole PNG, got a part of one");
  const packed = await through(new Blob(parts), new DecompressionStream("deflate"));
  const rows = unfilter(packed, header);
  return { width: header.width, height: header.height, data: labels(rows, header) };
}

/** A PNG, 8-bit grey, of a mask { width, height, data: Uint8Array }. */
export async function encode({ width, height, data }) {
  const rows = new Uint8Array((width + 1) * height); // each row begins with its filter, 0: none
  for (let y = 0; y < height; y += 1) rows.set(data.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const packed = await through(new Blob([rows]), new CompressionStream("deflate"));
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  header[9] = GREY;
  const chunks = [chunk("IHDR", header), chunk("IDAT", packed), chunk("IEND", new Uint8Array(0))];
  return new Blob([new Uint8Array(SIGNATURE), ...chunks], { type: "image/png" });
}

function readHeader(body) {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const header = { width: view.getUint32(0), height: view.getUint32(4), depth: body[8], colour: body[9] };
  const channels = { [GREY]: 1, [RGB]: 3, [PALETTE]: 1 }[header.colour];
  if (channels === undefined || header.depth > 8 || (channels === 3 && header.depth !== 8) || body[12] !== 0) {
    throw new Error("expected a PNG of labels: palette, grey or RGB of up to 8 bits, not interlaced");
  }
  return { ...header, channels, stride: Math.ceil((header.width * channels * header.depth) / 8) };
}

async function through(blob, stream) {
  return new Uint8Array(await new Response(blob.stream().pipeThrough(stream)).arrayBuffer());
}

/** Rows of bytes with the filters of PNG undone: none, left, above, average, Paeth. */
function unfilter(packed, { height, stride, channels }) {
  const rows = new Uint8Array(height * stride);
  if (packed.length < height * (stride + 1)) throw new Error("expected a whole PNG, got a part of one");
  for (let y = 0; y < height; y += 1) {
    const from = y * (stride + 1);
    const filter = packed[from];
    const to = y * stride;
    if (filter === 0) {
      rows.set(packed.subarray(from + 1, from + 1 + stride), to);
      continue;
    }
    for (let x = 0; x < stride; x += 1) {
      const left = x >= channels ? rows[to + x - channels] : 0;
      const above = y > 0 ? rows[to + x - stride] : 0;
      const corner = x >= channels && y > 0 ? rows[to + x - stride - channels] : 0;
      rows[to + x] = packed[from + 1 + x] + predicted(filter, left, above, corner);
    }
  }
  return rows;
}

function predicted(filter, left, above, corner) {
  if (filter === 1) return left;
  if (filter === 2) return above;
  if (filter === 3) return (left + above) >> 1;
  const toLeft = Math.abs(above - corner);
  const toAbove = Math.abs(left - corner);
  const toCorner = Math.abs(left + above - 2 * corner);
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

function labels(rows, { width, height, depth, channels, stride }) {
  if (channels === 3) {
    const found = new Uint32Array(width * height);
    for (let i = 0; i < found.length; i += 1) {
      found[i] = rows[3 * i] + 256 * rows[3 * i + 1] + 65536 * rows[3 * i + 2];
    }
    return found;
  }
  if (depth === 8) return rows;
  const found = new Uint8Array(width * height); // palettes of up to 16 colours are often stored in fewer bits
  const within = 8 / depth;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const byte = rows[y * stride + Math.floor(x / within)];
      found[y * width + x] = (byte >> (8 - depth * ((x % within) + 1))) & ((1 << depth) - 1);
    }
  }
  return found;
}

function chunk(kind, body) {
  const whole = new Uint8Array(12 + body.length);
  const view = new DataView(whole.buffer);
  view.setUint32(0, body.length);
  for (let i = 0; i < 4; i += 1) whole[4 + i] = kind.charCodeAt(i);
  whole.set(body, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < 8 + body.length; i += 1) crc = CRC[(crc ^ whole[i]) & 255] ^ (crc >>> 8);
  view.setUint32(8 + body.length, ~crc >>> 0);
  return whole;
}
