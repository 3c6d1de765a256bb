// The page map. Python sends runs of entries; of these one canvas draws what is in sight, however many there are.
// What these runs are, and what they say, is in map_facts.js; how they look, in map_looks.js. Python puts both above this.

const SIZES = [8, 12, 16, 24]; // of a square, in pixels, while it is the smallest there is
const COMFORTABLE = SIZES.indexOf(16); // as large as squares are without being asked for
const LEAST = 160; // pixels of height of the part in sight, if there is so much to see; and at most
const SHARE = 0.55; // of the window's height
const DRAG = 4; // pixels that a mouse moves at least if it drags
const NOTCH = 40; // of a wheel
const HINT = "Point at a square, or move from one to the next with the arrow keys";

function live({ model, el }) {
  const count = model.get("count");
  const spans = spansOf(model.get("spans"));
  const { root, summary, colors, measures, out, into, scale, canvas, whole, scroller, status, picked, legend } = partsOf(
    model, new Set(spans.size).size > 1,
  );
  el.append(root);
  summary.textContent = model.get("layer").summary;
  if (!count) return () => root.remove();

  const hint = `${HINT}${model.get("picks") ? "; a click or Enter shows the bits of its entry." : "."}`;
  let map; // what is drawn: axis, spans, states, runs, and the bytes of its smallest square, 0 if it counts entries
  let fills = {};
  let zoom = null; // index into SIZES; below zero a square stands for 2 ** -zoom of the smallest
  let place = 0; // of the cursor
  let isShown = false; // the cursor: from the first focus on
  let hovered = null; // the square under the mouse
  let pointed = ""; // where the mouse was last
  let dragged = null; // from where
  let turned = 0; // how far a wheel was
  let asked = 0; // the frame that will be drawn

  const side = () => SIZES[Math.max(zoom, 0)];
  const per = () => 2 ** Math.max(-zoom, 0);
  const squares = () => Math.ceil(map.axis.length / per());
  const cursor = () => Math.floor(place / per());
  const highest = () => Math.max(LEAST, Math.round(window.innerHeight * SHARE));

  /** Squares in a line: a round number, so that columns mean something in addresses. */
  function columns() {
    const fit = Math.max(1, Math.floor(scroller.clientWidth / side()));
    return fit < 8 ? fit : fit - (fit % 8);
  }

  const lines = () => Math.ceil(squares() / columns());
  const page = () => Math.max(1, Math.floor(scroller.clientHeight / side()));

  /** Zoom so that everything is in sight, if it is not to be larger than comfortable. */
  function fit() {
    for (zoom = COMFORTABLE; lines() * side() > highest() && squares() > 1; ) zoom--;
  }

  /** Whether one can zoom so: out until everything is in sight, in until squares are largest. */
  const zooms = (step) => (step < 0 ? zoom > 0 || lines() * side() > highest() : zoom < SIZES.length - 1);

  /** Read what Python sent: another colouring, or squares of something else. */
  function read() {
    const byBytes = model.get("by") === "bytes";
    const axis = axisOf(spans, byBytes, model.get("grain"));
    const runs = runsOf(model.get("layer"), axis);
    const states = model.get("states").runs ? runsOf(model.get("states"), axis) : runs;
    const regions = model.get("regions").map(([first, last, words]) => ({ first: BigInt(first), last: BigInt(last), words }));
    map = { axis, spans, states, runs, regions, items: model.get("items"), grain: byBytes ? model.get("grain") : 0 };
    summary.textContent = runs.summary;
    colors.value = runs.color;
    measures.value = model.get("by");
  }

  /** Lay out and paint anew: after zooming, another colouring, another theme, another width. */
  function layout() {
    if (zoom === null) return; // not in the page yet: no theme, no width
    whole.style.height = `${lines() * side()}px`;
    scroller.style.height = `${Math.min(lines() * side(), highest())}px`;
    for (const [button, step] of [[out, -1], [into, 1]]) button.setAttribute("aria-disabled", !zooms(step));
    const blends = per() > 1 && map.runs.legend.length > 1 ? "; the colours in it blend by their shares" : "";
    scale.textContent = `one square is ${map.grain ? bytes(per() * map.grain) : inWords(per(), map.runs)}${blends}`;
    fills = { cursor: resolved(root, "cursor"), ink: resolved(root, "ink") };
    map.runs.legend.forEach((look, code) => (fills[code] = fillOf(root, look)));
    legend.replaceChildren(...legendOf(root, map.runs));
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
      const boxOf = (square) => [(square % across) * size, Math.floor(square / across) * size, size];
      const from = Math.floor(top / size) * across * step;
      const to = Math.min(Math.ceil((top + height) / size) * across * step, map.axis.length);
      eachSquare(map.runs, step, from, to, (begin, _end, shares) => {
        const [x, y] = boxOf(begin / step);
        paint(context, fills, map.runs, shares, x, y, size - 1, size - 1);
      });
      if (hovered !== null) outline(context, fills, 1, ...boxOf(hovered));
      if (isShown) outline(context, fills, 2, ...boxOf(cursor()));
    });
  }

  function tell() {
    const say = (square) => told(square * per(), Math.min((square + 1) * per(), map.axis.length), map);
    scroller.setAttribute("aria-valuemin", 0);
    scroller.setAttribute("aria-valuemax", count - 1);
    scroller.setAttribute("aria-valuenow", model.get("position"));
    scroller.setAttribute("aria-valuetext", say(cursor()));
    const square = hovered ?? (isShown ? cursor() : null);
    status.textContent = square === null ? hint : say(square);
  }

  function show() {
    if (map.axis.entryAt(place) !== model.get("position")) place = map.axis.placeOf(model.get("position"));
    if (model.get("position")) isShown = true;
    tell();
    if (zoom === null) return;
    const top = Math.floor(cursor() / columns()) * side();
    const lowest = top + side() - scroller.clientHeight;
    scroller.scrollTop = Math.max(Math.min(scroller.scrollTop, top), lowest);
    draw();
  }

  function move(square) {
    place = Math.max(0, Math.min(square, squares() - 1)) * per();
    model.set("position", map.axis.entryAt(place));
    model.save_changes();
    show(); // the entry may be the same: it is many squares
  }

  /** Have Python show the entry under the cursor. */
  function pick() {
    if (model.get("picks")) model.send({ pick: map.axis.entryAt(place) });
  }

  function showPicked() {
    picked.innerHTML = model.get("picked"); // a place in which the bits are live: place.js
  }

  /** Zoom; what is at a height of the part in sight stays there. */
  function zoomBy(step, square = cursor(), height = Math.floor(square / columns()) * side() - scroller.scrollTop) {
    if (!zooms(step)) return; // buttons stay enabled: a disabled one would lose the keyboard's focus
    const at = square * per();
    zoom += step;
    hovered = null;
    layout();
    scroller.scrollTop = Math.floor(at / per() / columns()) * side() - height;
    tell();
    draw();
  }

  function reread() {
    read();
    layout();
    show();
  }

  function remeasure() {
    const at = model.get("position");
    read();
    place = map.axis.placeOf(at);
    if (zoom !== null) fit();
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
    } else if (event.key in keys) zoomBy(keys[event.key]);
    else if (event.key === "Enter") pick();
    else return;
    event.preventDefault();
  }

  function under(event) {
    const box = scroller.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - scroller.clientLeft, event.clientY - box.top - scroller.clientTop];
    const column = Math.floor(x / side());
    const square = Math.floor((y + scroller.scrollTop) / side()) * columns() + column;
    return column >= 0 && column < columns() && square >= 0 && square < squares() ? square : null;
  }

  function hover(square) {
    if (square === hovered) return;
    hovered = square;
    draw();
    tell();
  }

  function onMove(event) {
    const at = `${event.screenX} ${event.screenY}`;
    if (at === pointed) return; // the browser says so, too, when the map was scrolled below the mouse
    pointed = at;
    if (dragged && Math.hypot(event.clientX - dragged.x, event.clientY - dragged.y) >= DRAG) dragged.moved = true;
    if (dragged?.moved) scroller.scrollTop = dragged.top + dragged.y - event.clientY;
    hover(under(event));
  }

  function onWheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    turned += event.deltaY;
    const square = under(event);
    if (Math.abs(turned) < NOTCH || square === null) return;
    zoomBy(turned < 0 ? 1 : -1, square, event.clientY - scroller.getBoundingClientRect().top - side() / 2);
    turned = 0;
  }

  const choose = (name, select) => () => {
    model.set(name, select.value);
    model.save_changes();
  };
  colors.addEventListener("change", choose("color", colors));
  measures.addEventListener("change", choose("by", measures));
  out.addEventListener("click", () => zoomBy(-1));
  into.addEventListener("click", () => zoomBy(1));
  scroller.addEventListener("keydown", onKey);
  scroller.addEventListener("scroll", draw);
  scroller.addEventListener("wheel", onWheel, { passive: false });
  scroller.addEventListener("focus", () => {
    isShown = true;
    show();
  });
  canvas.addEventListener("pointerdown", (event) => {
    dragged = { x: event.clientX, y: event.clientY, top: scroller.scrollTop, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", onMove);
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("click", (event) => {
    if (dragged?.moved || under(event) === null) return;
    move(under(event));
    pick();
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, () => setTimeout(() => (dragged = null))); // after the click
  }
  model.on("change:position", show);
  model.on("change:layer", reread);
  model.on("change:by", remeasure);
  model.on("change:picked", showPicked);
  const heard = whenGone(model, () => {
    colors.disabled = true;
    scale.after(element("span", { role: "status" }, "The kernel has ended: there are no other colours now."));
  });

  let size = "";
  function resize() {
    const now = `${scroller.clientWidth} ${highest()}`;
    if (now === size || !scroller.clientWidth) return;
    size = now;
    if (zoom === null) fit();
    layout();
    show();
  }
  const resized = new ResizeObserver(resize);
  resized.observe(scroller);
  addEventListener("resize", resize);
  const themed = new MutationObserver(layout); // JupyterLab says on the body which theme it has
  themed.observe(document.body, { attributes: true });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", layout);
  reread();
  showPicked();

  return () => {
    heard();
    cancelAnimationFrame(asked);
    resized.disconnect();
    removeEventListener("resize", resize);
    themed.disconnect();
    dark.removeEventListener("change", layout);
    model.off("change:position", show);
    model.off("change:layer", reread);
    model.off("change:by", remeasure);
    model.off("change:picked", showPicked);
    root.remove();
  };
}
