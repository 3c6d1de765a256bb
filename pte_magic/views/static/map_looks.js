// How squares of the page map look: patterns on colours of the theme, which blend where a square is of several categories.
// PATTERN, the side of a pattern's tile and the width and ends of its lines, is what palette.py has; Python puts it above
// this.

const STEPS = 16; // of a blend: squares.STEPS
const FAINTEST = 5; // squares.FAINTEST, of what lies in nothing

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The elements of a map: its summary, controls, squares, what is said of one, the legend, the entry that was picked. */
function partsOf(model, hasMeasures) {
  const select = (words) => element("select", {}, ...words.map((word) => element("option", {}, word)));
  const button = (label, key, sign) =>
    element("button", { type: "button", "aria-label": label, title: `${label} (${key}, Ctrl and wheel)` }, sign);
  const colors = select(model.get("colors"));
  const measures = select(["bytes", "entries"]);
  const [out, into, scale] = [button("Zoom out", "-", "−"), button("Zoom in", "+", "+"), element("span")];
  const bar = element("div", { class: "pte-map-bar", role: "group", "aria-label": "Page map controls" });
  bar.append(element("label", {}, "Colour by ", colors));
  if (hasMeasures) bar.append(element("label", {}, "squares by ", measures));
  bar.append(out, into, scale);
  const canvas = element("canvas");
  const whole = element("div", { class: "pte-map-whole" }, canvas);
  const scroller = element("div", { class: "pte-map-scroller", tabindex: 0, role: "slider", "aria-label": "Page map" }, whole);
  const status = element("p", { class: "pte-map-status pte-mono", role: "status", "aria-live": "polite" });
  const [summary, picked] = [element("p"), element("div")];
  const legend = element("table", { class: "pte-map-legend", "aria-label": "Legend" });
  const all = [summary, ...(model.get("count") ? [bar, scroller, status, legend, picked] : [])];
  const root = element("div", { class: "pte-magic pte-map" }, ...all);
  return { root, summary, colors, measures, out, into, scale, canvas, whole, scroller, status, picked, legend };
}

/** A colour as the theme has it at the moment: var() and the like resolved. */
function resolved(root, name) {
  const probe = element("span", { style: `color: var(--pte-map-${name}); display: none` });
  root.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** A look as something to fill with: its pattern on its colour. Sharp on screens with many pixels, too. */
function fillOf(root, look) {
  const ratio = window.devicePixelRatio || 1;
  const tile = element("canvas", { width: PATTERN.side * ratio, height: PATTERN.side * ratio });
  const context = tile.getContext("2d");
  context.scale(tile.width / PATTERN.side, tile.height / PATTERN.side);
  context.fillStyle = resolved(root, look.ground);
  context.fillRect(0, 0, PATTERN.side, PATTERN.side);
  context.strokeStyle = resolved(root, look.ink);
  context.lineWidth = PATTERN.stroke;
  context.lineCap = PATTERN.cap;
  context.stroke(new Path2D(look.pattern));
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(PATTERN.side / tile.width, PATTERN.side / tile.height));
  return pattern;
}

/** Make a canvas as sharp as the screen; return what draws on it, in CSS pixels. */
function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0);
  return context;
}

/** Paint a square: the looks of its categories one over the other, each as strongly as it has a share of them. */
function paint(context, fills, { order, empty }, shares, ...box) {
  let soFar = 0;
  let isFirst = true; // of what is there: it is painted on nothing
  for (const [at, code] of order.entries()) {
    if (!shares[code]) continue;
    soFar += shares[code];
    const isLowest = shares[code] === soFar;
    const least = (at >= empty && isFirst ? FAINTEST : 1) / STEPS;
    isFirst &&= at < empty;
    context.globalAlpha = isLowest ? 1 : Math.min(Math.max(shares[code] / soFar, least), 1 - 1 / STEPS);
    context.fillStyle = fills[code];
    context.fillRect(...box);
  }
  context.globalAlpha = 1;
}

function outline(context, { cursor, ink }, width, x, y, side) {
  // Two colours: one of them is seen whatever is below.
  for (const [line, color] of [[width + 2, ink], [width, cursor]]) {
    context.lineWidth = line;
    context.strokeStyle = color;
    context.strokeRect(x - 0.5, y - 0.5, side, side);
  }
}

/** The legend: the same rows as in the static HTML. */
function legendOf(root, runs) {
  const row = (look) => {
    const side = 2 * PATTERN.side;
    const swatch = element("canvas", { "aria-hidden": "true" });
    const context = sized(swatch, side, side);
    context.fillStyle = fillOf(root, look);
    context.fillRect(0, 0, side, side);
    return element("tr", {}, element("td", {}, swatch), ...look.words.map((word) => element("td", {}, word)));
  };
  const head = runs.head.map((word) => element("th", { scope: "col" }, word));
  return [
    element("thead", {}, element("tr", {}, element("td"), ...head)),
    element("tbody", {}, ...runs.legend.map(row)),
  ];
}
