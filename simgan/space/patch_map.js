// Tells the value of the patch under the pointer, the finger or the arrow keys, in all maps at once.
const NONE = 255; // in place of a value of 0 to 254: a patch of background
const known = new WeakMap();

function read(figure) {
  if (!known.has(figure)) {
    const map = JSON.parse(figure.dataset.map);
    map.values = Uint8Array.from(atob(map.values), (character) => character.charCodeAt(0));
    known.set(figure, map);
  }
  return known.get(figure);
}

// The patch whose cell holds a place (in pixels) along an axis: cells are centred on the receptive fields.
function patchAt(place, [first, size, stride], count) {
  const patch = Math.floor((place - first - (size - stride) / 2) / stride);
  return Math.min(Math.max(patch, 0), count - 1);
}

function put(box, x, y, width, height, map) {
  const left = Math.max(x, 0), top = Math.max(y, 0);
  box.style.left = (100 * left) / map.width + "%";
  box.style.top = (100 * top) / map.height + "%";
  box.style.width = (100 * (Math.min(x + width, map.width) - left)) / map.width + "%";
  box.style.height = (100 * (Math.min(y + height, map.height) - top)) / map.height + "%";
}

function choose(column, row) {
  const told = [];
  let seen = "";
  for (const figure of element.querySelectorAll(".patch-map")) {
    const map = read(figure);
    const x = map.x[0] + column * map.x[2], y = map.y[0] + row * map.y[2];
    put(figure.querySelector(".field"), x, y, map.x[1], map.y[1], map);
    put(
      figure.querySelector(".cell"),
      x + (map.x[1] - map.x[2]) / 2,
      y + (map.y[1] - map.y[2]) / 2,
      map.x[2],
      map.y[2],
      map,
    );
    figure.classList.add("chosen");
    const right = Math.min(x + map.x[1], map.width), bottom = Math.min(y + map.y[1], map.height);
    seen = `Patch ${column + 1}, ${row + 1} sees x ${Math.max(x, 0)}–${right - 1}, y ${Math.max(y, 0)}–${bottom - 1}.`;
    const value = map.values[row * map.columns + column];
    told.push(`${map.name}: ${value === NONE ? "background" : `${Math.round((100 * value) / (NONE - 1))} % real`}`);
    figure.dataset.patch = `${column},${row}`;
  }
  const status = element.querySelector(".patch-value");
  status.replaceChildren(Object.assign(document.createElement("b"), { textContent: told.join(" · ") }), " " + seen);
}

function point(event) {
  const stage = event.target.closest(".stage");
  if (!stage) return;
  const map = read(stage.parentElement), box = stage.getBoundingClientRect();
  choose(
    patchAt(((event.clientX - box.left) / box.width) * map.width, map.x, map.columns),
    patchAt(((event.clientY - box.top) / box.height) * map.height, map.y, map.rows),
  );
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

element.addEventListener("pointermove", point);
element.addEventListener("pointerdown", point);
element.addEventListener("focusin", (event) => {
  const figure = event.target.closest(".patch-map");
  if (!figure || figure.dataset.patch) return;
  const map = read(figure);
  choose(Math.floor(map.columns / 2), Math.floor(map.rows / 2));
});
element.addEventListener("keydown", (event) => {
  const figure = event.target.closest(".patch-map");
  if (!figure || !(event.key in STEPS)) return;
  event.preventDefault();
  const map = read(figure), [column, row] = (figure.dataset.patch || "0,0").split(",").map(Number);
  const [right, down] = STEPS[event.key];
  choose(
    Math.min(Math.max(column + right, 0), map.columns - 1),
    Math.min(Math.max(row + down, 0), map.rows - 1),
  );
});
