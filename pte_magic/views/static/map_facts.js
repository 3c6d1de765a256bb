// What the page map is made of, and what it says of it: runs and spans as Python sent them. map.js draws; it comes below.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** Bytes as Python sent them, in a buffer of their own: typed arrays have to be aligned. */
const copied = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);

function spansOf(view) {
  const buffer = copied(view);
  const count = buffer.byteLength / 20; // first addresses and sizes: uint64, ends: uint32
  return {
    vaddr: new BigUint64Array(buffer, 0, count),
    size: new BigUint64Array(buffer, 8 * count, count),
    ends: new Uint32Array(buffer, 16 * count, count),
  };
}

/** The first run that ends behind a place: the one that it is in. */
function find(ends, place) {
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[middle] > place) high = middle;
    else low = middle + 1;
  }
  return low;
}

const startOf = (ends, run) => (run ? ends[run - 1] : 0);

/**
 * The line that is cut into squares. A place on it counts the smallest squares before it: entries, or grains of so many
 * bytes. An entry may be many grains, or, in physical memory, a part of one.
 */
function axisOf(spans, byBytes, grain) {
  const weight = Array.from(spans.size, (size) => (byBytes ? Number(size) / grain : 1));
  const ends = new Float64Array(weight.length);
  weight.forEach((of, span) => {
    ends[span] = startOf(ends, span) + (spans.ends[span] - startOf(spans.ends, span)) * of;
  });
  const placed = (span, entry) => startOf(ends, span) + (entry - startOf(spans.ends, span)) * weight[span];
  const into = (span, place) => (place - startOf(ends, span)) / weight[span]; // entries of the span
  const addressIn = (span, place) => spans.vaddr[span] + BigInt(into(span, place) * Number(spans.size[span]));
  return {
    length: ends.length ? ends[ends.length - 1] : 0,
    placeOf: (entry) => placed(find(spans.ends, entry), entry),
    address: (place) => addressIn(find(ends, place), place),

    entryAt(place) {
      const span = find(ends, place);
      return startOf(spans.ends, span) + Math.floor(into(span, place));
    },

    /** The last entry before a place, and the address at which a square that ends there ends. */
    before(place) {
      const found = find(ends, place);
      const span = found && startOf(ends, found) === place ? found - 1 : found;
      const entry = startOf(spans.ends, span) + Math.ceil(into(span, place)) - 1;
      return { entry, end: addressIn(span, place) };
    },

    /** The places at which runs end that end at these entries. */
    placesOf(runs) {
      let span = 0;
      return Float64Array.from(runs, (entry) => {
        while (spans.ends[span] < entry) span++;
        return placed(span, entry);
      });
    },
  };
}

function runsOf(layer, axis) {
  const buffer = copied(layer.runs);
  const count = buffer.byteLength / 5; // ends: uint32; codes: uint8
  const ends = new Uint32Array(buffer, 0, count);
  return { ...layer, ends, codes: new Uint8Array(buffer, 4 * count, count), places: axis.placesOf(ends) };
}

/** Call back for each square between two places: with its bounds, and the share of each category in it. */
function eachSquare(runs, per, from, to, back) {
  let run = find(runs.places, from);
  for (let begin = from; begin < to; begin += per) {
    const end = Math.min(begin + per, to);
    const shares = new Float64Array(runs.legend.length);
    for (let at = begin; at < end; ) {
      const next = Math.min(runs.places[run], end);
      shares[runs.codes[run]] += next - at;
      at = next;
      if (runs.places[run] === at) run++;
    }
    back(begin, end, shares);
  }
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

/** How much of a square is what, in a colouring. */
function shared(runs, from, to, grain) {
  const parts = [];
  eachSquare(runs, to - from, from, to, (_begin, _end, shares) => {
    shares.forEach((share, code) => {
      const count = grain ? bytes(share * grain) : `× ${share.toLocaleString("en")}`;
      if (share) parts.push(`${runs.legend[code].words[0]} ${count}`);
    });
  });
  return parts.join(", ");
}

/** The index of the first item of an array that begins at an address or after it, as place_in_target.py of Python writes it. */
function itemAt({ first, bytes: size, shape }, address) {
  if (!shape) return "";
  const into = address - BigInt(first);
  let at = into > 0n ? (into + BigInt(size) - 1n) / BigInt(size) : 0n;
  if (at >= shape.reduce((count, length) => count * BigInt(length), 1n)) return "";
  const index = shape.map(() => "");
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = (at % BigInt(shape[axis])).toLocaleString("en").replaceAll(",", "_");
    at /= BigInt(shape[axis]);
  }
  return `; item [${index.join(", ")}]`;
}

/** The words for the regions at some addresses, as Python sent them. */
function regionAt(regions, from, end) {
  const found = regions.filter(({ first, last }) => first < end && last > from);
  if (found.length > 1) return `; ${found.length} regions`;
  return found.length ? `; ${found[0].words}` : "";
}

/** What the status line says of the square between two places; `grain` is 0 if it counts entries. */
function told(from, to, { axis, spans, states, runs, grain, regions, items }) {
  const first = axis.entryAt(from);
  const { entry: last, end } = axis.before(to);
  if (first === last) {
    const state = states.legend[states.codes[find(states.ends, first)]].words[0];
    const run = find(runs.ends, first);
    const name = runs.legend[runs.codes[run]].words[0];
    const start = startOf(runs.ends, run);
    const of = `${(first - start + 1).toLocaleString("en")} of ${inWords(runs.ends[run] - start, runs)} in this run`;
    const value = name.endsWith(runs.color) ? name : `${runs.color}: ${name}`; // "not rw", "size: 4 KiB"
    const [address, size] = [axis.address(axis.placeOf(first)), spans.size[find(spans.ends, first)]];
    const kind = runs.color === states.color ? state : `${state}, ${value}`;
    return `${hex(address)}, ${bytes(size)}, ${kind}; ${of}${itemAt(items, axis.address(from))}${regionAt(regions, address, address + size)}`;
  }
  let covered = 0;
  for (let at = first; at <= last; ) {
    const span = find(spans.ends, at);
    const next = Math.min(spans.ends[span], last + 1);
    covered += (next - at) * Number(spans.size[span]);
    at = next;
  }
  const size = bytes(grain ? (to - from) * grain : covered);
  const colors = runs.color === states.color ? "" : `; ${runs.color}: ${shared(runs, from, to, grain)}`;
  const where = `${hex(axis.address(from))}-${hex(end)}, ${inWords(last - first + 1, runs)}, ${size}`;
  return `${where}: ${shared(states, from, to, grain)}${colors}${itemAt(items, axis.address(from))}${regionAt(regions, axis.address(from), end)}`;
}
