// The looks of a page map's cells, as fills of a canvas, and its legend. Looks come from palette.py, as data; PATTERN,
// how their patterns are drawn, too: Python puts it above this.

const FAINT = 0.4; // patterns, where cells are too small for them

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A colour as the theme has it at the moment: var() and the like resolved. */
function resolved(root, name) {
  const probe = element("span", { style: `color: var(--pte-map-${name}); display: none` });
  root.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/**
 * A look as something to fill with: its pattern on its colour. Sharp on screens with many pixels, too.
 * Where cells are smaller than the pattern, that is faint, not to hide them, and lightness tells one look from another.
 */
function fillOf(root, look, small) {
  const ratio = window.devicePixelRatio || 1;
  const { side } = PATTERN;
  const tile = element("canvas", { width: side * ratio, height: side * ratio });
  const context = tile.getContext("2d");
  context.scale(tile.width / side, tile.height / side);
  context.fillStyle = resolved(root, look.ground);
  context.fillRect(0, 0, side, side);
  context.strokeStyle = context.fillStyle = resolved(root, look.ink);
  if (small) {
    context.globalAlpha = look.tone;
    context.fillRect(0, 0, side, side);
    context.globalAlpha = FAINT;
  }
  context.lineWidth = PATTERN.stroke;
  context.lineCap = PATTERN.cap;
  context.stroke(new Path2D(look.pattern));
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(side / tile.width, side / tile.height));
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

/** The legend: the same rows as in the static HTML, and how a cell looks that has several categories. */
function legendOf(root, runs, mixed, small) {
  const side = 2 * PATTERN.side;
  const row = (look, words) => {
    const swatch = element("canvas", { "aria-hidden": "true" });
    const context = sized(swatch, side, side);
    context.fillStyle = fillOf(root, look, small);
    context.fillRect(0, 0, side, side);
    return element("tr", {}, element("td", {}, swatch), ...words.map((word) => element("td", {}, word)));
  };
  const head = runs.head.map((word) => element("th", { scope: "col" }, word));
  const body = runs.legend.map((category) => row(category, category.words));
  if (mixed) body.push(row(mixed, ["several in one square", "", "", "", ""]));
  return [element("thead", {}, element("tr", {}, element("td"), ...head)), element("tbody", {}, ...body)];
}
