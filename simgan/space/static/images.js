// Images as simgan stores them: {width, height, channels, bits, data}; depth is in mm, 0 = no reading.
import { decode, encode } from "fast-png";

const SMALLEST = 16; // px of a side
const MOST = 1_000_000; // pixels
const FARTHEST_M = 20; // greater values are no metres

// Read a file. PNG keeps its bits; all else that the browser can show has 8.
export async function read(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  try {
    if (!isPlainPng(bytes)) return await fromBrowser(new Blob([bytes]));
    const { width, height, channels, depth, data } = decode(bytes, { checkCrc: true });
    return { width, height, channels, bits: depth, data };
  } catch {
    throw new Error("cannot be read as an image here: save it as PNG or JPEG.");
  }
}

// Whether it is a PNG file of 8 or 16 bits a channel: the browser would round 16, and change colours behind alpha.
function isPlainPng(bytes) {
  return [137, 80, 78, 71].every((value, place) => bytes[place] === value) && bytes[24] >= 8 && bytes[25] !== 3;
}

async function fromBrowser(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  return fromPicture(bitmap, bitmap.width, bitmap.height);
}

// Draw a picture of the browser (a bitmap, a video), or a part of it, in a size, and return its pixels.
export function fromPicture(picture, width, height, part = [0, 0, width, height]) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, ...part, 0, 0, width, height);
  const rgba = context.getImageData(0, 0, width, height).data;
  let grey = true, opaque = true;
  for (let place = 0; place < rgba.length; place += 4) {
    grey &&= rgba[place] === rgba[place + 1] && rgba[place] === rgba[place + 2];
    opaque &&= rgba[place + 3] === 255;
  }
  const kept = [...(grey ? [0] : [0, 1, 2]), ...(opaque ? [] : [3])], channels = kept.length;
  const data = new Uint8Array(width * height * channels);
  for (let to = 0, from = 0; from < rgba.length; from += 4) for (const channel of kept) data[to++] = rgba[from + channel];
  return { width, height, channels, bits: 8, data };
}

export function toPng({ width, height, channels, bits, data }) {
  return encode({ width, height, channels, depth: bits, data });
}

// Throw a sentence, without the image's name, where a model does not take an image.
export function check({ width, height, channels, bits, data }, model) {
  const size = `${width}×${height} pixels`;
  if (Math.min(width, height) < SMALLEST) throw new Error(`has ${size}, and ${SMALLEST}×${SMALLEST} are needed at least.`);
  if (width * height > MOST) throw new Error(`has ${size}, and this page takes ${MOST.toLocaleString("en")} at most: crop it.`);
  if (!model.cube && bits > 8) throw new Error(`has 16 bits, and ${model.name} takes 8 here: save it with 8 bits.`);
  if (!model.cube) return;
  if (bits < 16 || channels > 1) {
    throw new Error(`is no depth, which ${model.name} needs: save millimetres as a grey PNG of 16 bits, 0 = no reading.`);
  }
  const farthest = data.reduce((most, value) => Math.max(most, value), 0);
  if (farthest === 0) throw new Error("has no reading, all of its pixels are 0.");
  if (farthest <= FARTHEST_M) throw new Error(`has no depth beyond ${farthest}, as if in metres: multiply by 1000.`);
}

// The channels of an image that show, and whether it has alpha behind them.
const colours = ({ channels }) => (channels < 3 ? 1 : 3);

// The values that a model's network gets: luminance where it takes one channel, grey as colour where it takes three.
export function planes(image, model) {
  const { channels, data, width, height } = image;
  if (channels === model.channels) return data;
  const found = new data.constructor(width * height * model.channels);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < model.channels; channel++) {
      found[pixel * model.channels + channel] = plane(image, model, pixel * channels, channel);
    }
  }
  return found;
}

function plane(image, model, place, channel) {
  const { data } = image;
  if (colours(image) < model.channels) return data[place];
  if (colours(image) === model.channels) return data[place + channel];
  return (data[place] * 4899 + data[place + 1] * 9617 + data[place + 2] * 1868 + 8192) >> 14;
}

// The refined image: a network of one channel changes all colours by as much, and alpha stays.
export function merge(image, before, after, model) {
  const { channels, data, width, height } = image, shown = colours(image), most = 2 ** image.bits - 1;
  if (channels === model.channels) return { ...image, data: after };
  const merged = data.slice();
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < shown; channel++) {
      const from = pixel * model.channels, to = pixel * channels + channel;
      if (shown === model.channels) merged[to] = after[from + channel];
      else if (shown < model.channels) merged[to] = Math.round((after[from] + after[from + 1] + after[from + 2]) / 3);
      else merged[to] = Math.min(most, Math.max(0, data[to] + after[from] - before[from]));
    }
  }
  return { ...image, data: merged };
}

// Return before and after as a screen shows them: depth in viridis, near bright, and black without a reading.
export function show(before, after, model, viridis) {
  const images = [before, after];
  if (!model.cube) return images.map((image) => paint(image, (place) => sample(image, place)));
  const [near, far] = reach(before.data, model.cube), span = Math.max(1, 1.15 * (far - near));
  return images.map((image) =>
    paint(image, (place) => {
      const mm = image.data[place];
      return mm ? viridis[Math.round(255 * Math.min(1, Math.max(0, 1 - (mm - near) / span)))] : [0, 0, 0];
    }),
  );
}

function sample(image, place) {
  const from = place * image.channels, next = colours(image) === 3 ? 1 : 0;
  return [image.data[from], image.data[from + next], image.data[from + 2 * next]];
}

function paint({ width, height }, colour) {
  const painted = new ImageData(width, height);
  for (let place = 0; place < width * height; place++) painted.data.set([...colour(place), 255], 4 * place);
  return painted;
}

// The least and the greatest depth within the cube of the nearest object; stray readings before it do not count.
function reach(depth, cube) {
  let readings = depth.filter((mm) => mm > 0).sort(), nearest = 0;
  for (let time = 0; time < 2; time++) {
    nearest = readings[Math.floor(0.005 * (readings.length - 1))];
    readings = readings.filter((mm) => mm <= nearest + cube);
  }
  const start = Math.max(nearest - 20, 1);
  const inside = readings.filter((mm) => mm >= start && mm <= start + cube);
  return [inside[0], inside[inside.length - 1]];
}
