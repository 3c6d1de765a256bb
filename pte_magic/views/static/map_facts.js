// What the page map is made of, and what it says of it: runs and spans as Python sent them. map.js draws; it comes below.

const MIXED = 255; // code of a cell with entries of several categories: layers.MIXED
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** Bytes as Python sent them, in a buffer of their own: typed arrays have to be aligned. */
const copied = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);

function runsOf(layer) {
  const buffer = copied(layer.runs);
  const count = buffer.byteLength / 5; // ends: uint32; codes: uint8
  return {
    ...layer,
    ends: new Uint32Array(buffer, 0, count),
    codes: new Uint8Array(buffer, 4 * count, count),
  };
}

function spansOf(view) {
  const buffer = copied(view);
  const count = buffer.byteLength / 20; // first addresses and sizes: uint64, ends: uint32
  return {
    vaddr: new BigUint64Array(buffer, 0, count),
    size: new BigUint64Array(buffer, 8 * count, count),
    ends: new Uint32Array(buffer, 16 * count, count),
  };
}

/** The first run that ends behind an entry: the one that it is in. */
function find(ends, entry) {
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[middle] > entry) high = middle;
    else low = middle + 1;
  }
  return low;
}

const startOf = (ends, run) => (run ? ends[run - 1] : 0);

/** Call back for each piece of some runs between two entries: with the run's number and the piece's bounds. */
function each(ends, from, to, back) {
  for (let run = find(ends, from), at = from; at < to; run++) {
    const end = Math.min(ends[run], to);
    back(run, at, end);
    at = end;
  }
}

/** The same of cells of several entries: with their code, and the bounds of neighbours that look alike. */
function eachCell(runs, per, from, to, back) {
  let run = find(runs.ends, from);
  let begin = from;
  let code = -1;
  for (let at = from; at < to; at += per) {
    while (runs.ends[run] <= at) run++;
    const found = runs.ends[run] >= Math.min(at + per, to) ? runs.codes[run] : MIXED;
    if (found !== code && at > from) {
      back(code, begin, at);
      begin = at;
    }
    code = found;
  }
  if (from < to) back(code, begin, to);
}

const hex = (address) => `0x${address.toString(16).padStart(12, "0")}`;

/** Bytes with their unit, as units.size() of Python writes them. */
function bytes(count) {
  let value = Number(count);
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${Number(value.toPrecision(4))} ${UNITS[unit]}`;
}

/** A number of entries, in a colouring's word for them. */
const inWords = (count, { unit: [one, more] }) => (count === 1 ? `1 ${one}` : `${count.toLocaleString("en")} ${more}`);

/** How many of some entries are what, in a colouring. */
function counted(runs, from, to) {
  const counts = runs.legend.map(() => 0);
  each(runs.ends, from, to, (run, at, end) => (counts[runs.codes[run]] += end - at));
  const parts = runs.legend.flatMap(({ words }, code) =>
    counts[code] ? [`${words[0]} × ${counts[code].toLocaleString("en")}`] : [],
  );
  return parts.join(", ");
}

/** What the status line says of the entries of a cell. */
function told(from, to, spans, states, runs) {
  const first = find(spans.ends, from);
  const last = find(spans.ends, to - 1);
  const address = (span, entry) => spans.vaddr[span] + BigInt(entry - startOf(spans.ends, span)) * spans.size[span];
  if (to - from === 1) {
    const state = states.legend[states.codes[find(states.ends, from)]].words[0];
    const run = find(runs.ends, from);
    const name = runs.legend[runs.codes[run]].words[0];
    const start = startOf(runs.ends, run);
    const of = `${(from - start + 1).toLocaleString("en")} of ${inWords(runs.ends[run] - start, runs)} in this run`;
    const value = name.endsWith(runs.color) ? name : `${runs.color}: ${name}`; // "not rw", "size: 4 KiB"
    return `${hex(address(first, from))}, ${bytes(spans.size[first])}, ${runs.color === states.color ? state : `${state}, ${value}`}; ${of}`;
  }
  let covered = 0n;
  each(spans.ends, from, to, (span, at, end) => (covered += BigInt(end - at) * spans.size[span]));
  const end = address(last, to - 1) + spans.size[last];
  const colors = runs.color === states.color ? "" : `; ${runs.color}: ${counted(runs, from, to)}`;
  const where = `${hex(address(first, from))}-${hex(end)}, ${inWords(to - from, runs)}, ${bytes(covered)}`;
  return `${where}: ${counted(states, from, to)}${colors}`;
}
