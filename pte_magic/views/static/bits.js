// Shows what Python rendered, and tells it which bit was clicked. All decoding is Python's.

function hex(number, width) {
  return "0x" + number.toString(16).padStart(width / 4, "0");
}

/**
 * Read what a person typed, by the same rule as typed_numbers.py: digits alone are hex, as oopses print entries, if there
 * are no more than an entry has. Returns its number, and how it was read if that may not be what was meant; null if it is
 * not an entry.
 */
function parse(text, width) {
  const typed = text.trim();
  const digits = typed.replaceAll("_", "");
  const isDecimal = digits !== typed || digits.length > width / 4; // 1_000 is Python's
  const read = (as, note = "") => {
    const number = BigInt(as);
    return number >= 0n && number < 1n << BigInt(width) ? { number, note } : null;
  };
  if (!digits) return null; // which BigInt() takes for zero
  try {
    if (/^0b[01]+$/i.test(digits)) {
      const isPadded = [8, 16].includes(typed.length); // of %08lx and %016lx, which print the same for hex
      return read(digits, isPadded ? `${typed} was read as binary, 0x${BigInt(digits).toString(16)}` : "");
    }
    if (/^[1-9][0-9]+$/.test(digits)) {
      const as = isDecimal ? "decimal" : "hex";
      const number = isDecimal ? digits : `0x${digits}`;
      return read(number, digits === typed ? `${typed} was read as ${as}, 0x${BigInt(number).toString(16)}` : "");
    }
    return read(/^[0-9a-f]+$/i.test(digits) ? `0x${digits}` : digits);
  } catch {
    return null;
  }
}

/** The button above another one, or below it: the picture has one, two or four rows beside each other. */
function beyond(target, buttons, up) {
  const place = (button) => {
    const { left, top, height } = button.getBoundingClientRect();
    return { button, left, top, height };
  };
  const here = place(target);
  const away = ({ top }) => (up ? here.top - top : top - here.top);
  const lines = buttons.map(place).filter((there) => away(there) > here.height / 2);
  const nearest = Math.min(...lines.map(away));
  const aside = ({ left }) => Math.abs(left - here.left);
  const line = lines.filter((there) => away(there) < nearest + here.height / 2);
  return line.reduce((best, there) => (aside(there) < aside(best) ? there : best), line[0] ?? here).button;
}

let made = 0; // pictures, to tell them apart

function live({ model, el }) {
  const name = `pte-status-${model.get("_place")}-${(made += 1)}`; // of the line that says what is wrong with what was typed
  const controls = document.createElement("div");
  controls.className = "pte-magic";
  controls.innerHTML = `<div class="pte-edit"><label>Entry <input type="text" spellcheck="false" autocomplete="off" aria-describedby="${name}"></label>
    <button type="button">Reset</button><span>This is a thought experiment: nothing is written to any page table.</span></div>
    <p class="pte-status" role="status" id="${name}"></p>`;
  const content = document.createElement("div");
  el.append(controls, content);
  const [input, reset, status] = ["input", "button", ".pte-status"].map((what) => controls.querySelector(what));
  let isGone = false; // the kernel
  let current = 0; // the bit that the Tab key leads to
  let typed = {}; // the entry that somebody typed, and how it was read

  const buttons = () => [...content.querySelectorAll("button[data-bit]")];
  const button = (bit) => content.querySelector(`button[data-bit="${bit}"]`);
  const width = model.get("_width");
  const toHex = (number) => hex(number, width);
  const isOriginal = () => model.get("entry") === model.get("_original");

  function set(number, note = "") {
    if (isGone) return void tellGone();
    typed = { entry: toHex(number), note };
    model.set("entry", toHex(number));
    model.save_changes();
  }

  function tellGone() {
    status.textContent = "The kernel has ended, and decodes no more; run the cell again.";
  }

  function tell(target) {
    const cell = target.closest("td");
    status.classList.remove("pte-wrong");
    status.textContent = `${target.getAttribute("aria-label")} = ${target.textContent}. ${cell.title}`;
  }

  function tellAll() {
    const { textContent } = content.querySelector(".pte-says");
    if (!textContent.includes(model.get("entry"))) return; // it will be drawn anew
    const note = typed.entry === model.get("entry") ? typed.note : "";
    status.textContent = note ? `${note}; ${textContent}` : textContent;
  }

  /** Say what is wrong with what was typed, and mark it; nothing if it is empty. */
  function complain(why) {
    input.setCustomValidity(why);
    input.setAttribute("aria-invalid", String(Boolean(why)));
    status.classList.toggle("pte-wrong", Boolean(why));
    if (why) status.textContent = why;
  }

  /** Have the text field show the entry, whatever was typed. */
  function restore() {
    input.value = model.get("entry");
    complain("");
    offer();
  }

  /** Offer to go back, if there is anything to go back from. */
  function offer() {
    const nothing = isOriginal() && input.value === model.get("entry");
    reset.setAttribute("aria-disabled", String(nothing)); // not disabled: it would lose the focus
  }

  function draw() {
    const hadFocus = content.contains(document.activeElement);
    content.innerHTML = model.get("_content");
    restore();
    const target = button(current) ?? buttons()[0];
    target.tabIndex = 0;
    if (hadFocus) target.focus();
  }

  /** What was told of the entry before no longer holds: tell of the bit that somebody is at, or of all of it. */
  function redraw() {
    draw();
    const target = document.activeElement;
    if (content.contains(target)) tell(target);
    else tellAll();
  }

  function focus(target) {
    buttons().forEach((each) => (each.tabIndex = -1));
    current = Number(target.dataset.bit);
    target.tabIndex = 0;
    target.focus();
  }

  const moves = {
    ArrowLeft: (target) => button(Number(target.dataset.bit) + 1),
    ArrowRight: (target) => button(Number(target.dataset.bit) - 1),
    ArrowUp: (target) => beyond(target, buttons(), true),
    ArrowDown: (target) => beyond(target, buttons(), false),
    Home: () => buttons().at(0),
    End: () => buttons().at(-1),
  };

  content.addEventListener("click", (event) => {
    const target = event.target.closest("button[data-bit]");
    if (target) {
      current = Number(target.dataset.bit);
      set(BigInt(model.get("entry")) ^ (1n << BigInt(current)));
    }
  });
  content.addEventListener("keydown", (event) => {
    const target = event.target.closest("button[data-bit]");
    if (target && event.key in moves) {
      event.preventDefault();
      focus(moves[event.key](target) ?? target);
    }
  });
  for (const kind of ["focusin", "mouseover"]) {
    content.addEventListener(kind, (event) => {
      const target = event.target.closest("button[data-bit]");
      if (target) tell(target);
    });
  }
  function accept() {
    const found = parse(input.value, width);
    if (found === null) {
      const text = input.value.trim();
      complain(`${text ? `${text} is not a ${width}-bit entry` : "no number"}; type one such as 0x8000000153016067`);
    } else if (toHex(found.number) === model.get("entry")) {
      typed = { entry: toHex(found.number), note: found.note };
      restore();
      tellAll();
    } else {
      set(found.number, found.note);
    }
  }

  input.addEventListener("change", accept);
  input.addEventListener("input", offer);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") accept();
  });
  reset.addEventListener("click", () => {
    if (reset.getAttribute("aria-disabled") === "true") return;
    if (isOriginal()) {
      typed = {};
      restore();
      tellAll();
    } else {
      set(BigInt(model.get("_original")));
    }
  });

  model.on("change:_content", redraw);
  draw();
  const heard = whenGone(model, () => {
    isGone = true;
    tellGone();
  });
  return () => {
    heard();
    model.off("change:_content", redraw);
  };
}
