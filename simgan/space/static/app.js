// The page: images come in, an engine refines them, and each is shown before and after.
import { zipSync } from "fflate";
import { ask, start as startEngine } from "./engine.js";
import { check, fromPicture, merge, planes, read, show, toPng } from "./images.js";

const BATCH = 2 ** 15; // pixels that are refined at once
const SCALE = 1.5; // a size that differs by more from that of the training images is warned of
const GREYS = Array.from({ length: 256 }, (_, level) => [level, level, level]); // for depth under a heatmap
const PREVIEW = 660; // px of width up to which an image is enlarged

const $ = (id) => document.getElementById(id);
const site = { models: [], scale: [], viridis: [] };
const items = []; // {name, image, after, maps, done, problem, element}
let exemplary = false; // whether the items are examples
let choice = 0; // of files or examples; examples that come late give way to a newer one
let turn = 0; // of what is refined; an older one ends when a newer one begins

const say = (text) => ($("status").textContent = text);
const model = () => site.models[$("model").selectedIndex];
const strength = () => Number($("strength").value);
const judged = () => $("heat").checked && Boolean(model().judge);

// What is fed for images of one size: their planes, as the values of one array.
function feed(images, { channels, bits }) {
  const [{ width, height }] = images, parts = images.map((image) => planes(image, { channels }));
  const all = new (bits === 16 ? Uint16Array : Uint8Array)(parts.length * parts[0].length);
  parts.forEach((part, place) => all.set(part, place * part.length));
  return [`uint${bits}`, all, [images.length, height, width, ...(channels === 3 ? [3] : [])]];
}

// Refine images of one size: they get `after`, and with the heatmap `maps`, the probabilities of being real.
async function refineBatch(batch, chosen, blend, heat) {
  const images = feed(batch.map((item) => item.image), chosen);
  const { data, engine, seconds } = await ask(chosen.file, { images, strength: ["float32", [blend], []] });
  const size = data.length / batch.length;
  const cut = (values, place) => values.slice(place * size, (place + 1) * size);
  for (const [place, item] of batch.entries()) {
    const [before, after] = [images[1], data].map((values) => cut(values, place));
    item.after = merge(item.image, before, after, chosen);
    item.maps = heat ? await judge(images, before, after, chosen) : null;
  }
  return { engine, seconds };
}

async function judge([type, , dims], before, after, chosen) {
  const scene = new before.constructor([...before, ...after]);
  const { data, dims: [, rows, columns] } = await ask(chosen.judge, { images: [type, scene, [2, ...dims.slice(1)]] });
  return [0, 1].map((side) => ({ rows, columns, values: data.slice(side * rows * columns, (side + 1) * rows * columns) }));
}

// Refine all items that are not refined as the settings say.
async function refine() {
  const mine = ++turn, chosen = model(), blend = strength(), heat = judged();
  const key = JSON.stringify([chosen.name, blend, heat]);
  let count = 0, seconds = 0, engine = "";
  for (const item of items) if (item.image && item.done !== key) attempt(item, () => check(item.image, chosen));
  try {
    for (;;) {
      const next = items.filter((item) => item.image && !item.problem && item.done !== key);
      if (!next.length) break;
      const { width, height } = next[0].image, most = Math.max(1, Math.floor(BATCH / (width * height)));
      const batch = next.filter(({ image }) => image.width === width && image.height === height).slice(0, most);
      say(`Refining ${count} of ${count + next.length}…`);
      const done = await refineBatch(batch, chosen, blend, heat);
      if (mine !== turn) return;
      engine = done.engine;
      seconds += done.seconds;
      for (const item of batch) draw(item, chosen, key);
      count += batch.length;
    }
  } catch (error) {
    if (mine === turn) say(`${chosen.name} could not refine here: ${error.message}`);
    return;
  }
  $("all").hidden = items.filter((item) => item.after).length < 2;
  const what = `${count} image${count === 1 ? "" : "s"}`;
  if (count) say(`Refined ${what} in ${seconds.toFixed(2)} s (${engine}).`);
  else if (items.some((item) => item.after)) say("Refined all images.");
  else say(items.length ? "No image could be refined." : "No images: choose some, or show the examples.");
}

// Do something with an item; what goes wrong is told in its place.
function attempt(item, act) {
  item.problem = "";
  try {
    act();
  } catch (error) {
    item.problem = `${item.name} ${error.message}`;
    item.after = item.done = null;
  }
  const problem = item.element.querySelector(".problem");
  problem.textContent = item.problem;
  problem.hidden = !item.problem;
  item.element.classList.toggle("wrong", Boolean(item.problem));
}

function draw(item, chosen, key) {
  item.done = key;
  const { image, after, maps, element } = item, shown = show(image, after, chosen, maps ? GREYS : site.viridis);
  const enlarged = Math.max(1, Math.floor(PREVIEW / image.width));
  for (const [side, canvas] of element.querySelectorAll("canvas").entries()) {
    canvas.width = image.width * enlarged;
    canvas.height = image.height * enlarged;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = !chosen.cube;
    context.imageSmoothingQuality = "high";
    context.drawImage(toCanvas(shown[side]), 0, 0, canvas.width, canvas.height);
    if (maps) drawHeat(context, maps[side], chosen, [image, after][side], enlarged);
  }
  const kind = `${image.width}×${image.height}, ${image.bits}-bit ${chosen.cube ? "depth" : image.channels < 3 ? "grey" : "colour"}`;
  element.querySelector(".note").textContent = kind + (maps ? `. ${real(maps, chosen, [image, after])}` : "") + unusual(image, chosen);
  element.classList.add("ready");
}

function toCanvas(pixels) {
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

// How real the discriminator finds both sides, in words: the mean over patches, of depth those whose middle has a reading.
function real(maps, chosen, images) {
  const [before, after] = maps.map(({ rows, columns, values }, side) => {
    const { width, height, data } = images[side];
    const middle = (place, count, length) => Math.min(length - 1, Math.floor(((place + 0.5) / count) * length));
    const seen = values.filter((_, place) => {
      const row = middle(Math.floor(place / columns), rows, height), column = middle(place % columns, columns, width);
      return !chosen.cube || data[row * width + column];
    });
    return Math.round((100 * seen.reduce((sum, one) => sum + one, 0)) / seen.length);
  });
  return `Looks ${before} % real before, ${after} % refined`;
}

function unusual({ width, height }, { size, images }) {
  if (!size) return "";
  const ratios = [width / size[0], height / size[1]];
  if (Math.max(...ratios) <= SCALE && Math.min(...ratios) >= 1 / SCALE) return "";
  return `. Unusual size: the model learned from ${images} of ${size.join("×")} pixels, so do not trust details of another scale`;
}

// Each patch at the centre of what the discriminator saw of it; depth without a reading stays free.
function drawHeat(context, { rows, columns, values }, chosen, image, enlarged) {
  const heat = new ImageData(columns, rows), { width, height } = context.canvas;
  values.forEach((value, place) => heat.data.set(site.scale[Math.round((site.scale.length - 1) * value)], 4 * place));
  const over = new OffscreenCanvas(width, height).getContext("2d");
  over.imageSmoothingEnabled = false;
  const { first, size, stride } = chosen.field ?? {}, start = (first + (size - stride) / 2) * enlarged;
  const box = chosen.field ? [start, start, columns * stride * enlarged, rows * stride * enlarged] : [0, 0, width, height];
  over.drawImage(toCanvas(heat), ...box);
  if (chosen.cube) {
    const mask = new ImageData(image.width, image.height);
    image.data.forEach((mm, place) => (mask.data[4 * place + 3] = mm ? 255 : 0));
    over.globalCompositeOperation = "destination-in";
    over.drawImage(toCanvas(mask), 0, 0, width, height);
  }
  context.drawImage(over.canvas, 0, 0);
}

// Results: one figure an image.
function makeItem(name) {
  const element = $("result").content.firstElementChild.cloneNode(true), item = { name, element };
  element.querySelector("b").textContent = name;
  const [before, after] = element.querySelectorAll("canvas"), slider = element.querySelector("input");
  for (const [canvas, side] of [[before, "before"], [after, "refined"]]) {
    canvas.role = "img";
    canvas.ariaLabel = `${name} ${side}`;
  }
  slider.ariaLabel = `${name}: how much of it is shown before refining`;
  slider.oninput = () => element.querySelector(".compare").style.setProperty("--at", `${slider.value}%`);
  element.querySelector(".save").ariaLabel = `Download ${name}, refined`;
  element.querySelector(".save").onclick = () => save(toPng(item.after), pngName(name), "image/png");
  element.querySelector(".remove").ariaLabel = `Leave ${name} out`;
  element.querySelector(".remove").onclick = () => {
    items.splice(items.indexOf(item), 1);
    element.remove();
    refine();
  };
  return item;
}

const pngName = (name) => `${name.replace(/\.[^.]*$/, "")}-refined.png`;

function save(bytes, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function clear() {
  for (const { element } of items.splice(0)) element.remove();
}

// Add files behind the others, in place of examples.
function add(files) {
  choice++;
  if (exemplary) clear();
  exemplary = false;
  return put(files);
}

// Show files; each is refined when it is read, and a broken one stops none.
async function put(files) {
  const added = [...files].map((file) => ({ file, item: makeItem(file.name) }));
  for (const { item } of added) {
    items.push(item);
    $("results").append(item.element);
  }
  for (const { file, item } of added) {
    const image = await read(file).catch((error) => attempt(item, () => { throw error; }));
    if (image) item.image = image;
  }
  await refine();
}

async function showExamples() {
  const mine = ++choice;
  say("Loading…");
  const files = await Promise.all(model().examples.map(async (address) => {
    const content = await (await fetch(address)).blob();
    return new File([content], decodeURIComponent(address.split("/").pop()));
  }));
  if (mine !== choice) return;
  clear();
  exemplary = true;
  await put(files);
}

// A camera: the middle of each frame, in the size of the training images.
async function startCamera() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch {
    return say("The camera cannot be used: allow it for this page, or connect one.");
  }
  const video = $("video"), item = makeItem("camera.png");
  choice++;
  clear();
  exemplary = false;
  items.push(item);
  $("results").append(item.element);
  video.srcObject = stream;
  await video.play();
  $("live").hidden = false;
  $("live").scrollIntoView({ block: "nearest" });
  $("stop").onclick = () => stream.getTracks().forEach((track) => track.stop());
  let frames = 0, start = performance.now();
  while (stream.active && items.includes(item)) {
    const chosen = model(), [width, height] = chosen.size ?? [128, 96];
    if (chosen.cube) break;
    const { videoWidth: wide, videoHeight: high } = video, side = Math.min(wide / width, high / height) / $("zoom").value;
    const part = [(wide - side * width) / 2, (high - side * height) / 2, side * width, side * height];
    const frame = $("view").querySelector("i").style;
    frame.width = `${(100 * part[2]) / wide}%`;
    frame.height = `${(100 * part[3]) / high}%`;
    item.image = fromPicture(video, width, height, part);
    turn++;
    const { engine } = await refineBatch([item], chosen, strength(), judged());
    draw(item, chosen, "");
    frames++;
    const seconds = (performance.now() - start) / 1000;
    if (seconds > 1) {
      say(`${(frames / seconds).toFixed(0)} frames a second (${engine}).`);
      [frames, start] = [0, performance.now()];
    }
    await new Promise(requestAnimationFrame);
  }
  stream.getTracks().forEach((track) => track.stop());
  $("live").hidden = true;
  await refine();
}

function describe() {
  const { images, size, takes, cube, judge, card, file, examples } = model();
  ask(file).catch(() => null); // fetched meanwhile; refining says what is wrong with it
  const camera = cube ? " It takes no camera, as those of browsers measure no depth." : "";
  $("takes").textContent = `For ${images}${size ? ` of ${size.join("×")} pixels` : ""}. Each file: ${takes}.${camera}`;
  $("camera").disabled = Boolean(cube);
  $("heat").disabled = !judge;
  $("examples").hidden = !examples.length;
  $("card").hidden = !card;
  if (card) $("card").href = card;
  $("legend").hidden = !judged();
}

function listen() {
  $("settings").onsubmit = (event) => event.preventDefault();
  $("model").onchange = () => {
    describe();
    return exemplary || !items.length ? showExamples() : refine();
  };
  $("strength").oninput = () => {
    $("strength-value").textContent = strength();
    refine();
  };
  $("heat").onchange = () => {
    describe();
    refine();
  };
  $("files").onchange = (event) => {
    add([...event.target.files]);
    event.target.value = "";
  };
  $("examples").onclick = showExamples;
  $("camera").onclick = startCamera;
  $("all").onclick = () => {
    const files = {};
    for (const { name, after } of items) {
      if (!after) continue;
      let free = pngName(name);
      for (let number = 2; free in files; number++) free = pngName(name).replace(/\.png$/, `-${number}.png`);
      files[free] = [toPng(after), { level: 0 }];
    }
    save(zipSync(files), "refined.zip", "application/zip");
  };
  document.ondragover = (event) => {
    event.preventDefault();
    document.body.classList.add("dragged");
  };
  document.ondragleave = (event) => event.relatedTarget ?? document.body.classList.remove("dragged");
  document.ondrop = (event) => {
    event.preventDefault();
    document.body.classList.remove("dragged");
    if (event.dataTransfer.files.length) add(event.dataTransfer.files);
  };
  document.onpaste = (event) => event.clipboardData.files.length && add(event.clipboardData.files);
}

async function start() {
  startEngine(() => say("This browser cannot run ONNX Runtime: open the page in a newer one."));
  try {
    Object.assign(site, await (await fetch("site.json")).json());
  } catch {
    return say("The page's list of models could not be fetched: load the page again.");
  }
  for (const { name } of site.models) $("model").add(new Option(name));
  const stops = site.scale.filter((_, place) => place % 16 === 0).map(([r, g, b, a]) => `rgb(${r} ${g} ${b} / ${a / 255})`);
  $("legend").querySelector("i").style.background = `linear-gradient(90deg, ${stops}), gray`;
  listen();
  describe();
  await showExamples();
}

start();
