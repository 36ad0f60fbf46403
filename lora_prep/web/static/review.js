// The review page: keys, the large view, and the crop box. Everything else the server draws.
"use strict";

const grid = () => document.getElementById("grid");
const dialog = document.getElementById("large");
const side = () => document.getElementById("side");
const editor = () => document.getElementById("editor");
const trouble = document.getElementById("trouble");
const cards = () => [...grid().querySelectorAll(".open")];
const indexOf = (open) => Number(open.dataset.open);

let current = null; // the index of the photo that keys are about

// ── the server ─────────────────────────────────────────────────────────────────────────────────

function show() {
  return new URLSearchParams(location.search).get("show") ?? "all";
}

function viewed() {
  return dialog.open ? (side() ?? dialog.querySelector(".compare")).dataset.index : "";
}

function change(path, values = {}) {
  trouble.hidden = true;
  return htmx.ajax("POST", path, {
    source: "#saving",
    swap: "none",
    values: { ...values, show: show(), view: viewed() },
  });
}

function decide(index, verdict) {
  return change(`/photos/${index}/verdict`, { verdict });
}

function fail(text) {
  trouble.textContent = text;
  trouble.hidden = false;
  (dialog.open ? dialog : document.body).append(trouble); // above the dialog, not behind it
}

document.addEventListener("htmx:responseError", (event) => {
  fail(event.detail.xhr.responseText.slice(0, 500));
  if (dialog.open) drawBox(savedBox());
});
document.addEventListener("htmx:sendError", () => {
  fail("Not saved: lora-prep review is not running any more. Start it again.");
});

// ── the grid ───────────────────────────────────────────────────────────────────────────────────

function choose(index, { focus = true } = {}) {
  current = index;
  for (const card of grid().children) {
    const mine = card.id === `card-${index}`;
    for (const button of card.querySelectorAll("button")) button.tabIndex = mine ? 0 : -1;
  }
  if (focus) document.getElementById(`open-${index}`)?.focus();
}

function refresh() {
  const opens = cards();
  const here = opens.some((open) => indexOf(open) === current);
  if (opens.length) choose(here ? current : indexOf(opens[0]), { focus: false });
}

function columns() {
  const opens = cards();
  const top = opens[0].offsetTop;
  const next = opens.findIndex((open) => open.offsetTop !== top);
  return next < 0 ? opens.length : next;
}

function neighbour(steps) {
  const opens = cards();
  const place = opens.findIndex((open) => indexOf(open) === current);
  return opens[Math.max(0, Math.min(opens.length - 1, place + steps))];
}

function go(steps) {
  const open = neighbour(steps);
  if (open) choose(indexOf(open));
}

// ── the large view ─────────────────────────────────────────────────────────────────────────────

async function enlarge(index, path = `/photos/${index}`) {
  choose(index, { focus: false });
  await htmx.ajax("GET", path, { target: "#large-body", swap: "innerHTML" });
  if (!dialog.open) dialog.showModal();
  if (!["step-back", "step-on", "box"].includes(document.activeElement.id)) {
    document.getElementById("large-name").focus(); // so that its name is read out
  }
  if (editor()) {
    drawBox(savedBox());
    watcher.observe(editor());
  }
  for (const steps of [1, -1]) {
    const near = neighbour(steps); // the next picture is there before it is asked for
    if (near) new Image().src = `/photos/${indexOf(near)}/large.jpg`;
  }
}

function compare(index) {
  const alike = document.getElementById("compare");
  if (!dialog.open || alike) enlarge(index, `/photos/${index}/compare`);
}

function step(steps) {
  const near = neighbour(steps);
  if (near && indexOf(near) !== current) enlarge(indexOf(near));
}

dialog.addEventListener("close", () => {
  document.body.append(trouble);
  choose(current);
});

// ── the crop box: [left, top, side] in pixels of the photo ─────────────────────────────────────

let box = null;
let drag = null;
let waiting = 0;
const watcher = new ResizeObserver(() => drawBox(box));

function savedBox() {
  const numbers = side()?.dataset.crop;
  return numbers ? numbers.split(" ").map(Number) : null;
}

function limits() {
  const { width, height, least, middle } = editor().dataset;
  const [x, y] = middle.split(" ").map(Number);
  return { width: +width, height: +height, least: +least, x, y };
}

const between = (least, value, most) => Math.max(least, Math.min(value, most));

// As the server fits it: square, inside the picture, not too small, over the middle of the face.
function fit([left, top, length]) {
  const { width, height, least, x, y } = limits();
  const edge = between(least, Math.round(length), Math.min(width, height));
  const start = (wanted, middle, whole) => {
    const first = Math.max(0, Math.floor(middle - edge) + 1);
    const last = Math.max(first, Math.min(whole - edge, Math.ceil(middle) - 1));
    return between(0, between(first, Math.round(wanted), last), whole - edge);
  };
  return [start(left, x, width), start(top, y, height), edge];
}

function drawBox(next) {
  box = next;
  const group = document.getElementById("box");
  if (!group || !box) return;
  const [left, top, length] = box;
  const { width, height } = limits();
  const rect = group.querySelector(".crop");
  const put = (element, values) => {
    for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
  };
  put(rect, { x: left, y: top, width: length, height: length });
  put(editor().querySelector(".shade"), {
    d: `M0 0H${width}V${height}H0Z M${left} ${top}h${length}v${length}h${-length}z`,
  });
  const pixel = 1 / (editor().getScreenCTM()?.a || 1);
  for (const circle of group.querySelectorAll("circle")) {
    const corner = circle.dataset.corner;
    put(circle, {
      cx: corner.includes("e") ? left + length : left,
      cy: corner.includes("s") ? top + length : top,
      r: (circle.classList.contains("reach") ? 22 : 7) * pixel,
    });
  }
  group.setAttribute("aria-label", `Crop box: left ${left}, top ${top}, side ${length} pixels`);
  for (const [name, value] of [["left", left], ["top", top], ["side", length]]) {
    document.getElementById(`crop-${name}`).value = value;
  }
}

function saveBox() {
  clearTimeout(waiting);
  waiting = 0;
  const saved = savedBox();
  if (!box || (saved && saved.every((number, place) => number === box[place]))) return;
  const [left, top, length] = box;
  change(`/photos/${current}/crop`, { left, top, side: length });
}

function saveSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(saveBox, 400);
}

function at(event) {
  const point = new DOMPoint(event.clientX, event.clientY);
  return point.matrixTransform(editor().getScreenCTM().inverse());
}

dialog.addEventListener("pointerdown", (event) => {
  const grip = event.target.closest?.("#box circle, #box rect");
  if (!grip || event.button !== 0) return;
  event.preventDefault();
  drag = { corner: grip.dataset.corner, from: at(event), box };
  editor().setPointerCapture(event.pointerId);
});

dialog.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const to = at(event);
  const [left, top, length] = drag.box;
  const across = to.x - drag.from.x;
  const down = to.y - drag.from.y;
  if (!drag.corner) {
    drawBox(fit([left + across, top + down, length]));
    return;
  }
  // The opposite corner stays, and the side is no longer than the picture is from there.
  const east = drag.corner.includes("e");
  const south = drag.corner.includes("s");
  const { width, height, least } = limits();
  const room = Math.min(east ? width - left : left + length, south ? height - top : top + length);
  const wanted = length + ((east ? across : -across) + (south ? down : -down)) / 2;
  const edge = Math.round(between(least, wanted, room));
  drawBox(fit([east ? left : left + length - edge, south ? top : top + length - edge, edge]));
});

for (const ending of ["pointerup", "pointercancel"]) {
  dialog.addEventListener(ending, (event) => {
    if (!drag) return;
    drag = null;
    if (event.type === "pointerup") saveBox();
    else drawBox(savedBox());
  });
}

function moveBox(event) {
  const { width, height } = limits();
  const unit = Math.max(1, Math.round(Math.min(width, height) / (event.shiftKey ? 20 : 100)));
  const [left, top, length] = box;
  const moves = {
    ArrowLeft: [left - unit, top, length],
    ArrowRight: [left + unit, top, length],
    ArrowUp: [left, top - unit, length],
    ArrowDown: [left, top + unit, length],
    "+": [left - unit, top - unit, length + 2 * unit],
    "=": [left - unit, top - unit, length + 2 * unit],
    "-": [left + unit, top + unit, length - 2 * unit],
  };
  if (!moves[event.key]) return false;
  drawBox(fit(moves[event.key]));
  saveSoon();
  return true;
}

dialog.addEventListener("change", (event) => {
  if (!event.target.closest("#crop-form")) return;
  const numbers = ["left", "top", "side"].map((name) => +document.getElementById(`crop-${name}`).value);
  if (numbers.every(Number.isFinite)) drawBox(fit(numbers));
  saveBox();
});
dialog.addEventListener("submit", (event) => event.preventDefault());
dialog.addEventListener("focusout", () => waiting && saveBox());

// ── clicks and keys ────────────────────────────────────────────────────────────────────────────

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { open, verdict, index, step: steps, compare: group } = button.dataset;
  if (open !== undefined) enlarge(Number(open));
  else if (group !== undefined) compare(Number(group));
  else if (steps !== undefined) step(Number(steps));
  else if (button.dataset.close !== undefined) dialog.close();
  else if (button.classList.contains("undo")) takeBack();
  else if (button.id === "uncrop") change(`/photos/${current}/crop`, { reset: 1 });
  else if (verdict !== undefined) {
    if (!dialog.open) choose(Number(index), { focus: false });
    const pressed = button.getAttribute("aria-pressed") === "true";
    decide(index, pressed ? "measures" : verdict); // pressed again it is taken back
  }
});

document.addEventListener("focusin", (event) => {
  const card = event.target.closest(".card");
  if (card) choose(Number(card.id.slice("card-".length)), { focus: false });
});

function takeBack() {
  if (waiting) saveBox();
  change("/undo");
}

const LETTERS = {
  k: () => decide(current, "keep"),
  x: () => decide(current, "leave_out"),
  r: () => decide(current, "measures"),
  u: takeBack,
  c: async () => {
    if (!dialog.open || !side()) await enlarge(current);
    document.getElementById("box")?.focus();
  },
  d: () => compare(current),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || current === null) return;
  if (event.target.matches("input, summary")) return;
  const letter = LETTERS[event.key.toLowerCase()];
  if (letter) {
    event.preventDefault();
    letter();
    return;
  }
  if (event.target.id === "box" && moveBox(event)) {
    event.preventDefault();
    return;
  }
  if (event.target.closest("#filters")) return;
  const row = dialog.open ? 1 : columns();
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row, Home: -1e9, End: 1e9 };
  const steps = moves[event.key];
  if (steps === undefined || (dialog.open && !side())) return;
  event.preventDefault();
  if (dialog.open) step(steps);
  else go(steps);
});

document.addEventListener("htmx:afterSettle", () => {
  refresh();
  if (dialog.open && editor() && !drag && !waiting) drawBox(savedBox());
});

// Of what changed, some is not on the page: another filter is chosen, another view is open.
document.addEventListener("htmx:beforeSwap", (event) => {
  const answer = document.createElement("template");
  answer.innerHTML = event.detail.serverResponse;
  for (const part of answer.content.querySelectorAll("[hx-swap-oob]")) {
    if (!document.getElementById(part.id)) part.remove();
  }
  event.detail.serverResponse = answer.innerHTML;
});

// What was undone is brought into sight.
document.addEventListener("htmx:afterRequest", (event) => {
  const { xhr, pathInfo } = event.detail;
  if (pathInfo?.requestPath !== "/undo" || !xhr?.getResponseHeader("x-photo")) return;
  const index = Number(xhr.getResponseHeader("x-photo"));
  if (!dialog.open) choose(index);
  else if (index !== current) enlarge(index);
});

refresh();
