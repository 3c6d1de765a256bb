// Shows what Python rendered, and tells it which bit was clicked. All decoding is Python's.

const WIDTH = 64n;

function toHex(number) {
  return "0x" + number.toString(16).padStart(16, "0");
}

/** Read what a person typed: hex with 0x, else decimal. Returns null if it is no entry. */
function parse(text) {
  try {
    const number = BigInt(text.trim().replaceAll("_", ""));
    return number >= 0n && number < 1n << WIDTH ? number : null;
  } catch {
    return null;
  }
}

function render({ model, el }) {
  el.dataset.lmSuppressShortcuts = "true"; // keys are ours here, not the notebook's
  const controls = document.createElement("div");
  controls.className = "pte-magic";
  controls.innerHTML = `<div class="pte-edit"><label>Entry <input type="text" spellcheck="false" autocomplete="off"></label>
    <button type="button">Reset</button><span>This is a thought experiment: nothing is written to any page table.</span></div>
    <p class="pte-status" role="status"></p>`;
  const content = document.createElement("div");
  el.append(controls, content);
  const [input, reset, status] = ["input", "button", ".pte-status"].map((what) => controls.querySelector(what));
  let current = 0; // the bit that the Tab key leads to

  const buttons = () => [...content.querySelectorAll("button[data-bit]")];
  const button = (bit) => content.querySelector(`button[data-bit="${bit}"]`);

  function set(number) {
    model.set("entry", toHex(number));
    model.save_changes();
  }

  function tell(target) {
    const cell = target.closest("td");
    status.textContent = `${target.getAttribute("aria-label")} = ${target.textContent}. ${cell.title}`;
  }

  function draw() {
    const hadFocus = content.contains(document.activeElement);
    content.innerHTML = model.get("_content");
    input.value = model.get("entry");
    input.setCustomValidity("");
    reset.disabled = model.get("entry") === model.get("_original");
    const target = button(current) ?? buttons()[0];
    target.tabIndex = 0;
    if (hadFocus) {
      target.focus();
      tell(target);
    }
  }

  function move(bit) {
    buttons().forEach((each) => (each.tabIndex = -1));
    current = Math.max(0, Math.min(Number(WIDTH) - 1, bit));
    button(current).tabIndex = 0;
    button(current).focus();
  }

  const steps = { ArrowLeft: 1, ArrowRight: -1, ArrowUp: 16, ArrowDown: -16, Home: 64, End: -64 };

  content.addEventListener("click", (event) => {
    const target = event.target.closest("button[data-bit]");
    if (target) {
      current = Number(target.dataset.bit);
      set(BigInt(model.get("entry")) ^ (1n << BigInt(current)));
    }
  });
  content.addEventListener("keydown", (event) => {
    const target = event.target.closest("button[data-bit]");
    if (target && event.key in steps) {
      event.preventDefault();
      move(Number(target.dataset.bit) + steps[event.key]);
    }
  });
  for (const kind of ["focusin", "mouseover"]) {
    content.addEventListener(kind, (event) => {
      const target = event.target.closest("button[data-bit]");
      if (target) tell(target);
    });
  }
  function accept() {
    const number = parse(input.value);
    status.textContent = number === null ? `${input.value} is no 64-bit entry; type a number such as 0x8000000153016067` : "";
    input.setCustomValidity(number === null ? status.textContent : "");
    if (number !== null) set(number);
  }

  input.addEventListener("change", accept);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") accept();
  });
  reset.addEventListener("click", () => set(BigInt(model.get("_original"))));

  model.on("change:_content", draw);
  draw();
  return () => model.off("change:_content", draw);
}

export default { render };
