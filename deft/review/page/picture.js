/** A small picture of a photograph with a mask over it. */

const SIDE = 300; // pixels

/** A figure with the caption beneath.
 *
 * @param id of the image. @param mask { width, height, data }. @param colours of the mask values, as ImageData packs them.
 */
export function picture(caption, id, mask, colours) {
  const figure = document.createElement("figure");
  const frame = Object.assign(document.createElement("div"), { className: "frame" });
  const photo = Object.assign(document.createElement("img"), { src: `/files/thumb/${id}.jpg`, alt: "" });
  const canvas = Object.assign(document.createElement("canvas"), { width: mask.width, height: mask.height });
  const pixels = new ImageData(mask.width, mask.height);
  const packed = new Uint32Array(pixels.data.buffer);
  for (let i = 0; i < packed.length; i += 1) packed[i] = mask.data[i] ? colours[mask.data[i]] : 0;
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const scale = SIDE / Math.max(mask.width, mask.height);
  frame.style.width = `${Math.round(mask.width * scale)}px`;
  frame.style.height = `${Math.round(mask.height * scale)}px`;
  frame.append(photo, canvas);
  figure.append(frame, Object.assign(document.createElement("figcaption"), { textContent: caption }));
  return figure;
}
