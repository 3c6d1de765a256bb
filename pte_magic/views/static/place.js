// Where a picture is live, and whose its keys are. Python puts this below a script with a function live({ model, el }).
//
// A cell shows HTML that needs nobody: it is saved, and read where no kernel is. Where the model of the picture is, which
// needs no output of its own, the live picture takes the place of that HTML. So what is saved never asks for a model.

/** All places in this page, and what to draw there. Each widget has a module of its own, so they share this one. */
const places = (globalThis[Symbol.for("pte-magic places")] ??= (() => {
  const models = new Map(); // what draws, by the name of its places
  const drawn = new Map(); // what ends it, by the element
  const found = document.getElementsByClassName("pte-magic-place");

  /** Whether an element will not come back: JupyterLab takes cells that are out of sight out of the page for a while. */
  function isGone(el) {
    const cell = el.closest(".jp-Cell");
    return !el.isConnected && !cell?.querySelector(".cm-editor"); // which a cell loses that was deleted
  }

  function look() {
    for (const [el, { end }] of drawn) {
      if (!isGone(el)) continue;
      drawn.delete(el);
      end();
    }
    for (const el of found) {
      const name = [...el.classList].find((each) => models.has(each));
      if (!name || drawn.has(el)) continue;
      const made = document.createElement("div");
      const still = [...el.childNodes];
      el.replaceChildren(made); // not hidden: patterns of two pictures may have the same names
      drawn.set(el, { name, still, end: models.get(name)(made) ?? (() => {}) });
    }
  }

  new MutationObserver(look).observe(document, { childList: true, subtree: true });
  return {
    add(name, draw) {
      models.set(name, draw);
      look();
    },
    retire(name) {
      models.delete(name); // what is drawn stays, but nothing more is
    },
    remove(name) {
      models.delete(name);
      for (const [el, { name: its, still, end }] of drawn) {
        if (its !== name) continue;
        drawn.delete(el);
        end();
        el.replaceChildren(...still);
      }
    },
  };
})());

/** Call back, once, when the kernel of a model has ended or was restarted: nobody answers any more. */
function whenGone(model, back) {
  const kernel = model.widget_manager?.kernel; // JupyterLab's; others tell only of the comm
  const changed = (_, status) => ["restarting", "autorestarting", "terminating", "dead"].includes(status) && tell();
  const lost = async () => {
    const { comm_live } = await model.widget_manager.get_model(model.get("_place"));
    if (comm_live === false) tell();
  };

  function end() {
    kernel?.statusChanged?.disconnect(changed);
    kernel?.disposed?.disconnect(tell);
    model.off("comm_live_update", lost);
  }

  function tell() {
    end();
    back();
  }

  kernel?.statusChanged?.connect(changed);
  kernel?.disposed?.connect(tell);
  model.on("comm_live_update", lost);
  lost(); // it may be of a state that was saved with the notebook
  return end;
}

/** Keep keys from the notebook: x would cut the cell. It looks at the very element that has the focus. */
function keepKeys(el) {
  el.addEventListener("focusin", ({ target }) => target.setAttribute("data-lm-suppress-shortcuts", "true"));
  el.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented) el.closest(".jp-Cell")?.focus(); // back to the notebook
  });
}

/** Put an SVG, or a PNG of it with two pixels for one, among what the browser downloads. */
async function download(svg, kind) {
  let file = new Blob([svg], { type: "image/svg+xml" });
  if (kind === "png") {
    const image = new Image();
    image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`; // of an object URL, no pixels could be read
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    file = await new Promise((done) => canvas.toBlob(done));
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `pte-magic.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Buttons below a picture that save it: Python draws what is saved. */
function offerToSave({ model, el }) {
  const bar = document.createElement("div");
  bar.className = "pte-magic pte-save";
  bar.innerHTML = `Save as <button type="button">SVG</button> <button type="button">PNG</button>`;
  let kind = null; // that was asked for
  const answered = (message) => {
    if (!kind || !message?.svg) return;
    download(message.svg, kind);
    kind = null;
  };
  for (const button of bar.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      kind = button.textContent.toLowerCase();
      model.send({ svg: true });
    });
  }
  model.on("msg:custom", answered);
  el.append(bar);
  const heard = whenGone(model, () => bar.remove());
  return () => {
    heard();
    model.off("msg:custom", answered);
  };
}

function render({ model, el }) {
  keepKeys(el);
  const ends = [live({ model, el }), offerToSave({ model, el })];
  return () => ends.forEach((end) => end?.());
}

function initialize({ model }) {
  const name = `pte-magic-${model.get("_place")}`;
  places.add(name, (el) => render({ model, el }));
  const heard = whenGone(model, () => places.retire(name));
  return () => {
    heard();
    places.remove(name);
  };
}

export default { initialize, render };
