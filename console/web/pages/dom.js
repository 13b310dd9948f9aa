// Building the document: elements from values (never from markup), updates that change only what differs, and figures.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `given`: attributes; text, on (listeners) and data are apart. Children: nodes or text; null is left out. */
export function h(name, given = {}, ...children) {
  return fill(document.createElement(name), given, children);
}

/** An SVG element. */
export function s(name, given = {}, ...children) {
  return fill(document.createElementNS(SVG, name), given, children);
}

function fill(element, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

const shown = new WeakMap();

/** Replaces the element's children when `value` is not what they were made of; the focus stays on what has the same data-key. */
export function redraw(element, value, make) {
  const now = JSON.stringify(value);
  if (shown.get(element) === now) return false;
  shown.set(element, now);
  const held = element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  element.replaceChildren(...[make(value)].flat().filter(Boolean));
  if (held !== undefined) element.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
  return true;
}

/** Sets the text when it is another. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A table that scrolls in a box of its own. `numeric`: the columns of numbers. `cards`: on a phone every row is a card, whose
    cells have the titles; the roles keep it a table then. */
export function table({ label, titles, numeric = [], more = "", cards = false }, rows) {
  const found = h("table", { class: cards ? "cards" : null },
    h("thead", {}, h("tr", {}, titles.map((title, n) => h("th", { scope: "col", class: numeric.includes(n) ? "number" : null }, title)))),
    h("tbody", {}, rows));
  if (cards) {
    found.setAttribute("role", "table");
    for (const [name, role] of [["thead, tbody", "rowgroup"], ["tr", "row"], ["thead th", "columnheader"], ["tbody th", "rowheader"], ["td", "cell"]])
      found.querySelectorAll(name).forEach((each) => each.setAttribute("role", role));
    for (const row of found.tBodies[0].rows)
      [...row.cells].forEach((cell, n) => { if (typeof titles[n] === "string") cell.dataset.title = titles[n]; });
  }
  return h("div", { class: `scroll ${more}`.trim(), tabindex: "0", role: "group", "aria-label": label }, found);
}

/** What a server says, as a sentence. */
export const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** Seconds as people say them. */
export function duration(seconds) {
  if (seconds < 1) return seconds > 0 ? "< 1 s" : "0 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

const WHOLE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

/** A count. */
export const count = (number) => WHOLE.format(number);

/** A count and its noun. */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** An exact decimal in thousands, at least `least` and at most `most` decimal places. Works on the digits: no float. */
export function decimal(text, least = 2, most = 2) {
  const sign = text.startsWith("-") ? "-" : "";
  let [whole, part = ""] = text.replace("-", "").split(".");
  if (part.length > most) {
    const up = part[most] >= "5" ? 1n : 0n;
    const digits = (BigInt(whole + part.slice(0, most)) + up).toString().padStart(most + 1, "0");
    [whole, part] = most ? [digits.slice(0, -most), digits.slice(-most)] : [digits, ""];
  }
  while (part.length > least && part.endsWith("0")) part = part.slice(0, -1);
  part = part.padEnd(least, "0");
  whole = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const minus = sign && /[1-9]/.test(whole + part) ? "−" : "";
  return `${minus}${whole}${part ? `.${part}` : ""}`;
}

/** A time of today, or a date and time. */
export function moment(iso) {
  const at = new Date(iso);
  const time = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })}, ${time}`;
}
