// Shows what Python rendered, and tells it that somebody pauses, stops, or looks no more.

export default () => {
  let views = 0; // of this watch, in this page

  function render({ model, el }) {
    const bar = document.createElement("div");
    bar.className = "pte-magic pte-map";
    bar.innerHTML = `<div class="pte-map-bar"><button type="button">Pause</button><button type="button">Stop</button>
      <span role="status"></span></div>`;
    const content = document.createElement("div");
    el.append(bar, content); // above: what is pressed must not move away
    const [pause, stop] = bar.querySelectorAll("button");
    const status = bar.querySelector("[role=status]");

    function set(name, value) {
      model.set(name, value);
      model.save_changes();
    }

    function draw() {
      content.innerHTML = model.get("_content");
    }

    function tell() {
      const [running, paused] = [model.get("running"), model.get("paused")];
      pause.textContent = paused ? "Resume" : "Pause";
      for (const button of [pause, stop]) {
        button.setAttribute("aria-disabled", String(!running)); // not disabled: it would lose the focus
      }
      status.textContent = running ? (paused ? "paused" : "watching") : "stopped";
    }

    pause.addEventListener("click", () => model.get("running") && set("paused", !model.get("paused")));
    stop.addEventListener("click", () => model.get("running") && set("running", false));
    model.on("change:_content", draw);
    model.on("change:paused change:running", tell);
    draw();
    tell();
    views += 1;
    return () => {
      model.off("change:_content", draw);
      model.off("change:paused change:running", tell);
      views -= 1;
      if (!views) model.send({ closed: true });
    };
  }

  return { render };
};
