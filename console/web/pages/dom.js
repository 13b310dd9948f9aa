// Elements built from values (never from markup), updates that change only what differs, and formats of numbers and
// times.

const SVG = "http://www.w3.org/2000/svg";

/** Create an element. `given`: attributes; `on` has listeners, `data` has data attributes. Children: nodes or text;
    null is left out. */
export function h(name, given = {}, ...children) {
  return fill(document.createElement(name), given, children);
}

/** Create an SVG element. */
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

/** Replace the children of an element if `value` has changed since they were made. The element with the same data-key
    keeps the focus. */
export function redraw(element, value, make) {
  const now = JSON.stringify(value);
  if (shown.get(element) === now) return false;
  shown.set(element, now);
  const held = element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  element.replaceChildren(...[make(value)].flat().filter(Boolean));
  if (held !== undefined) element.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
  return true;
}

/** Set the text of an element if it differs. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Create a table that scrolls in its own box. `numeric`: columns of numbers. `cards`: on a phone every row is a card,
    and the cells have the titles; the roles keep it a table for screen readers. `sort`: the `column` and direction in
    which it is sorted, which columns `can` be sorted, and what a `press` on a title does. */
export function table({ label, titles, numeric = [], more = "", cards = false, sort = null }, rows) {
  const found = h(
    "table",
    { class: cards ? "cards" : null },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        titles.map((title, n) => heading(title, { scope: "col", class: numeric.includes(n) ? "number" : null }, n, sort)),
      ),
    ),
    h("tbody", {}, rows),
  );
  if (cards) {
    found.setAttribute("role", "table");
    for (const [name, role] of [
      ["thead, tbody", "rowgroup"],
      ["tr", "row"],
      ["thead th", "columnheader"],
      ["tbody th", "rowheader"],
      ["td", "cell"],
    ])
      found.querySelectorAll(name).forEach((each) => each.setAttribute("role", role));
    for (const row of found.tBodies[0].rows)
      [...row.cells].forEach((cell, n) => {
        if (typeof titles[n] === "string") cell.dataset.title = titles[n];
      });
  }
  return h("div", { class: `scroll ${more}`.trim(), tabindex: "0", role: "group", "aria-label": label }, found);
}

function heading(title, given, n, sort) {
  if (!sort?.can(n)) return h("th", given, title);
  const now = sort.column !== n ? "none" : sort.descending ? "descending" : "ascending";
  const button = { type: "button", class: "sort", data: { key: `sort-${n}` }, on: { click: () => sort.press(n) } };
  return h("th", { ...given, "aria-sort": now, "aria-label": title }, h("button", button, title));
}

/** An address of the console that says nothing that can be shown. */
export class BadAddress extends Error {}

/** Make a sentence of a message of the server. */
export const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** Format a duration in seconds. */
export function duration(seconds) {
  if (seconds < 1) return seconds > 0 ? "< 1 s" : "0 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

const INTEGER = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

/** Format a count. */
export const count = (number) => INTEGER.format(number);

/** Format a count and its noun. */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Format exact decimal text with thousands separators and `least` to `most` decimal places. Works on the digits,
    without floats. */
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

/** Format a range of dates, both included: `2016-03-15`, or `2016-03-15 to 2016-03-18`. A missing end is null. */
export function dateRange(first, last) {
  if (first === null) return last === null ? "all dates" : `until ${last}`;
  if (last === null) return `${first} onwards`;
  return first === last ? first : `${first} to ${last}`;
}

/** Format a time: only the time if it is today, else date and time. */
export function timeText(iso) {
  const at = new Date(iso);
  const time = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date().toDateString()
    ? time
    : `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })}, ${time}`;
}
