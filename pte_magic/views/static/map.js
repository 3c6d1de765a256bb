// The page map. Python sends runs of entries; of these one canvas draws what is in sight, however many there are.
// What these runs are, and what they say, is in map_facts.js; how cells and the legend look is in map_looks.js. Python
// puts both above this.

const SIZES = [2, 3, 4, 6, 8, 12, 16, 24]; // of a cell, in pixels, while it stands for one entry
const COMFORTABLE = SIZES.indexOf(16); // as large as cells are without being asked for
const GRID = 6; // cells from this size on have a gap between them
const SEEN = 8; // the cursor is at least as large
const HEIGHT = 320; // of the part in sight, at most

function live({ model, el }) {
  const count = model.get("count");
  const summary = element("p");
  const select = element("select", {}, ...model.get("colors").map((name) => element("option", {}, name)));
  const label = element("label", {}, "Colour by ", select);
  const out = element("button", { type: "button", "aria-label": "Zoom out", title: "Zoom out (-)" }, "−");
  const into = element("button", { type: "button", "aria-label": "Zoom in", title: "Zoom in (+)" }, "+");
  const scale = element("span");
  const bar = element("div", { class: "pte-map-bar", role: "group", "aria-label": "Page map controls" });
  const canvas = element("canvas");
  const whole = element("div", { class: "pte-map-whole" }, canvas);
  const scroller = element("div", { class: "pte-map-scroller", tabindex: 0, role: "slider", "aria-label": "Page map" }, whole);
  const status = element("p", { class: "pte-map-status pte-mono", role: "status", "aria-live": "polite" });
  const legend = element("table", { "aria-label": "Legend" });
  const root = element("div", { class: "pte-magic pte-map" });
  bar.append(label, out, into, scale);
  root.append(summary, ...(count ? [bar, scroller, status, legend] : []));
  el.append(root);
  summary.textContent = model.get("layer").summary;
  if (!count) return () => root.remove();

  const spans = spansOf(model.get("spans"));
  const statesOf = () => runsOf(model.get("states").runs ? model.get("states") : model.get("layer"));
  let states = statesOf();
  let runs = runsOf(model.get("layer"));
  let fills = {};
  let zoom = null; // index into SIZES; below zero a cell stands for 2 ** -zoom entries
  let hovered = null; // the cell under the mouse
  let pointed = ""; // where the mouse was last
  let asked = 0; // the frame that will be drawn

  const side = () => SIZES[Math.max(zoom, 0)];
  const per = () => 2 ** Math.max(-zoom, 0);
  const cells = () => Math.ceil(count / per());
  const cursor = () => Math.floor(Math.min(Math.max(model.get("position"), 0), count - 1) / per());

  /** Cells in a line: a round number, so that columns mean something in addresses. */
  function columns() {
    const fit = Math.max(1, Math.floor(scroller.clientWidth / side()));
    return fit < 8 ? fit : fit - (fit % 8);
  }

  const lines = () => Math.ceil(cells() / columns());
  const page = () => Math.max(1, Math.floor(scroller.clientHeight / side()));

  /** Zoom so that everything is in sight, if it is not to be larger than comfortable. */
  function fit() {
    for (zoom = COMFORTABLE; lines() * side() > HEIGHT && per() < count; ) zoom--;
  }

  /** Whether one can zoom so: out until everything is in sight, in until cells are largest. */
  const zooms = (step) => (step < 0 ? zoom > 0 || lines() * side() > HEIGHT : zoom < SIZES.length - 1);

  /** Lay out and paint anew: after zooming, another colouring, another theme, another width. */
  function layout() {
    if (zoom === null) return; // not in the page yet: no theme, no width
    whole.style.height = `${lines() * side()}px`;
    scroller.style.height = `${Math.min(lines() * side(), HEIGHT)}px`;
    for (const [button, step] of [[out, -1], [into, 1]]) button.setAttribute("aria-disabled", !zooms(step));
    const small = side() < GRID;
    scale.textContent = `one square is ${inWords(per(), runs)}${small ? "; zoom in to see patterns" : ""}`;
    fills = { [MIXED]: fillOf(root, model.get("mixed"), small), cursor: resolved(root, "cursor"), ink: resolved(root, "ink") };
    runs.legend.forEach((look, code) => (fills[code] = fillOf(root, look, small)));
    legend.replaceChildren(...legendOf(root, runs, per() > 1 && model.get("mixed"), small));
    draw();
  }

  function draw() {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(() => {
      const [width, height, top] = [scroller.clientWidth, scroller.clientHeight, scroller.scrollTop];
      if (!width || !height) return;
      const context = sized(canvas, width, height);
      context.translate(0, -top);
      const [size, across, step] = [side(), columns(), per()];
      const last = Math.min(Math.ceil((top + height) / size), lines());
      for (let line = Math.floor(top / size); line < last; line++) {
        const from = line * across * step;
        eachCell(runs, step, from, Math.min(from + across * step, count), (code, begin, end) => {
          context.fillStyle = fills[code];
          const x = ((begin - from) / step) * size;
          context.fillRect(x, line * size, (Math.ceil((end - from) / step)) * size - x, size);
        });
      }
      if (size >= GRID) {
        for (let column = 1; column <= across; column++) context.clearRect(column * size - 1, top, 1, height);
        for (let line = Math.floor(top / size) + 1; line <= last; line++) context.clearRect(0, line * size - 1, width, 1);
      }
      if (hovered !== null) outline(context, hovered, 1);
      outline(context, cursor(), 2);
    });
  }

  function outline(context, cell, width) {
    const length = Math.max(side(), SEEN);
    const [x, y] = [cell % columns(), Math.floor(cell / columns())].map((at) => (at + 0.5) * side() - length / 2 - 0.5);
    // Two colours: one of them is seen whatever is below.
    for (const [line, color] of [[width + 2, fills.ink], [width, fills.cursor]]) {
      context.lineWidth = line;
      context.strokeStyle = color;
      context.strokeRect(x, y, length, length);
    }
  }

  function tell() {
    const say = (cell) => told(cell * per(), Math.min((cell + 1) * per(), count), spans, states, runs);
    scroller.setAttribute("aria-valuemin", 0);
    scroller.setAttribute("aria-valuemax", count - 1);
    scroller.setAttribute("aria-valuenow", cursor() * per());
    scroller.setAttribute("aria-valuetext", say(cursor()));
    status.textContent = say(hovered ?? cursor());
  }

  function show() {
    tell();
    if (zoom === null) return;
    const top = Math.floor(cursor() / columns()) * side();
    const lowest = top + side() - scroller.clientHeight;
    scroller.scrollTop = Math.max(Math.min(scroller.scrollTop, top), lowest);
    draw();
  }

  function move(cell) {
    model.set("position", Math.max(0, Math.min(cell, cells() - 1)) * per());
    model.save_changes();
  }

  function zoomBy(step) {
    if (!zooms(step)) return; // buttons stay enabled: a disabled one would lose the keyboard's focus
    zoom += step;
    hovered = null;
    layout();
    show();
  }

  function recolor() {
    runs = runsOf(model.get("layer"));
    states = statesOf();
    summary.textContent = runs.summary;
    select.value = runs.color;
    layout();
    show();
  }

  function onKey(event) {
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns(),
      PageUp: -columns() * page(), PageDown: columns() * page(), Home: -Infinity, End: Infinity,
    };
    const keys = { "+": 1, "=": 1, "-": -1 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) {
      hovered = null; // the line follows the cursor, until the mouse moves again
      move(cursor() + steps[event.key]);
    }
    else if (event.key in keys) zoomBy(keys[event.key]);
    else return;
    event.preventDefault();
  }

  function under(event) {
    const box = scroller.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - scroller.clientLeft, event.clientY - box.top - scroller.clientTop];
    const column = Math.floor(x / side());
    const cell = Math.floor((y + scroller.scrollTop) / side()) * columns() + column;
    return column >= 0 && column < columns() && cell >= 0 && cell < cells() ? cell : null;
  }

  function hover(cell) {
    if (cell === hovered) return;
    hovered = cell;
    draw();
    tell();
  }

  select.addEventListener("change", () => {
    model.set("color", select.value);
    model.save_changes();
  });
  out.addEventListener("click", () => zoomBy(-1));
  into.addEventListener("click", () => zoomBy(1));
  scroller.addEventListener("keydown", onKey);
  scroller.addEventListener("scroll", draw);
  canvas.addEventListener("pointermove", (event) => {
    const at = `${event.screenX} ${event.screenY}`;
    if (at === pointed) return; // the browser says so, too, when the map was scrolled below the mouse
    pointed = at;
    hover(under(event));
  });
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("click", (event) => {
    if (under(event) !== null) move(under(event));
  });
  model.on("change:position", show);
  model.on("change:layer", recolor);
  const heard = whenGone(model, () => {
    select.disabled = true;
    scale.after(element("span", { role: "status" }, "The kernel has ended: there are no other colours now."));
  });

  let width = 0;
  const resized = new ResizeObserver(() => {
    if (scroller.clientWidth === width || !scroller.clientWidth) return;
    width = scroller.clientWidth;
    if (zoom === null) fit();
    layout();
    show();
  });
  resized.observe(scroller);
  const themed = new MutationObserver(layout); // JupyterLab says on the body which theme it has
  themed.observe(document.body, { attributes: true });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", layout);
  recolor();

  return () => {
    heard();
    cancelAnimationFrame(asked);
    resized.disconnect();
    themed.disconnect();
    dark.removeEventListener("change", layout);
    model.off("change:position", show);
    model.off("change:layer", recolor);
    root.remove();
  };
}
