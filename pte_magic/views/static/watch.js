// Shows what Python rendered, and tells it that somebody pauses, stops, or looks no more.

const views = new Map(); // how many there are of a watch in this page

function live({ model, el }) {
  const name = model.get("_place");
  const bar = document.createElement("div");
  bar.className = "pte-magic pte-map";
  bar.innerHTML = `<div class="pte-map-bar"><button type="button">Pause</button><button type="button">Stop</button>
    <span role="status"></span></div>`;
  const content = document.createElement("div");
  el.append(bar, content); // above: what is pressed must not move away
  const [pause, stop] = bar.querySelectorAll("button");
  const status = bar.querySelector("[role=status]");
  let drawn = 0; // of how many was asked
  let isGone = false;

  function set(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  const isRunning = () => model.get("running") && !isGone;

  async function draw() {
    const number = ++drawn;
    const next = document.createElement("div");
    next.innerHTML = model.get("_content");
    if (isGone && model.get("running")) next.querySelector(".pte-watch-state").textContent = ENDED;
    const images = [...next.querySelectorAll("img")];
    await Promise.allSettled(images.map((image) => image.decode())); // or they would be missing for a moment
    if (number === drawn) content.replaceChildren(...next.childNodes);
  }

  function tell() {
    pause.textContent = model.get("paused") ? "Resume" : "Pause";
    for (const button of [pause, stop]) {
      button.setAttribute("aria-disabled", String(!isRunning())); // not disabled: it would lose the focus
    }
    if (isGone) status.textContent = "its kernel has ended";
    else if (!model.get("running")) status.textContent = "stopped";
    else status.textContent = model.get("paused") ? "paused" : "watching";
  }

  function end() {
    isGone = true;
    draw();
    tell();
  }

  pause.addEventListener("click", () => isRunning() && set("paused", !model.get("paused")));
  stop.addEventListener("click", () => isRunning() && set("running", false));
  model.on("change:_content", draw);
  model.on("change:paused change:running", tell);
  draw();
  tell();
  const heard = whenGone(model, end);
  views.set(name, (views.get(name) ?? 0) + 1);
  return () => {
    heard();
    model.off("change:_content", draw);
    model.off("change:paused change:running", tell);
    views.set(name, views.get(name) - 1);
    if (!views.get(name) && !isGone) model.send({ closed: true });
  };
}

const ENDED = "ended, as its kernel has ended or was restarted";
