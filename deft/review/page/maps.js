/** Masks from score maps at any threshold, computed here so that a slider answers at once.
 *
 * The rules are those of deft/seedmaps.py: cell i is centred on pixel 4 i, scores are bilinear between cells and
 * constant beyond the last, a pixel has its strongest class (the first in a tie) if that score is above the threshold
 * in float32, strictly, and is background otherwise.
 */

const STRIDE = 4;

/** Maps as the server sends them: { classes: [mask value], rows, columns, size: [H, W], maps: Float32Array(P h w) }. */
export function read(buffer) {
  const [planes, rows, columns, height, width] = new Uint32Array(buffer, 0, 5);
  const classes = Array.from(new Uint32Array(buffer, 20, planes));
  return { classes, rows, columns, size: [height, width], maps: new Float32Array(buffer, 20 + 4 * planes) };
}

/** The strongest class of each pixel and its score, from which a mask at any threshold follows.
 *
 * @param read maps of an image.
 * @param width, height: pixels of the mask; scores are enlarged once more if they are not those of the image.
 * @returns { width, height, winner: Uint8Array of mask values, score: Float32Array }
 */
export function strongest({ classes, rows, columns, size, maps }, width, height) {
  const across = axis(width, size[1], columns);
  const down = axis(height, size[0], rows);
  const winner = new Uint8Array(width * height);
  const score = new Float32Array(width * height);
  classes.forEach((value, plane) => {
    const cells = maps.subarray(plane * rows * columns, (plane + 1) * rows * columns);
    const upper = new Float32Array(width);
    const lower = new Float32Array(width);
    for (let y = 0; y < height; y += 1) {
      stretch(cells, down.first[y] * columns, across, upper);
      stretch(cells, down.second[y] * columns, across, lower);
      const share = down.share[y];
      const rest = Math.fround(1 - share);
      for (let x = 0, i = y * width; x < width; x += 1, i += 1) {
        const found = Math.fround(Math.fround(upper[x] * rest) + Math.fround(lower[x] * share));
        if (plane === 0 || found > score[i]) {
          score[i] = found;
          winner[i] = value;
        }
      }
    }
  });
  return { width, height, winner, score };
}

/** The mask { width, height, data } at a threshold. */
export function maskAt({ width, height, winner, score }, threshold) {
  const limit = Math.fround(threshold);
  const data = new Uint8Array(winner.length);
  for (let i = 0; i < data.length; i += 1) data[i] = score[i] > limit ? winner[i] : 0;
  return { width, height, data };
}

/** For each pixel of a side the two cells it lies between, and the share of the second. */
function axis(pixels, side, cells) {
  const first = new Uint32Array(pixels);
  const second = new Uint32Array(pixels);
  const share = new Float32Array(pixels);
  for (let i = 0; i < pixels; i += 1) {
    const at = pixels === side ? i : Math.min(Math.max(((i + 0.5) * side) / pixels - 0.5, 0), side - 1);
    const cell = Math.min(at / STRIDE, cells - 1);
    first[i] = Math.floor(cell);
    second[i] = Math.min(first[i] + 1, cells - 1);
    share[i] = cell - first[i];
  }
  return { first, second, share };
}

function stretch(cells, from, { first, second, share }, line) {
  for (let x = 0; x < line.length; x += 1) {
    const rest = Math.fround(1 - share[x]);
    line[x] = Math.fround(cells[from + first[x]] * rest) + Math.fround(cells[from + second[x]] * share[x]);
  }
}
