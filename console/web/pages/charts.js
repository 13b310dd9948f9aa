// Charts as inline SVG, each with a table of its numbers. Floats are used for geometry only; texts are exact.

import { count, counted, decimal, h, s } from "./dom.js";

/** Draw the last samples as a line without axes. */
export function sparkline(values) {
  const top = Math.max(1, ...values);
  const x = (n) => 118 - (values.length - 1 - n) * 2;
  const points = values.map((value, n) => `${x(n)},${(26 - (24 * value) / top).toFixed(1)}`);
  return s(
    "svg",
    { viewBox: "0 0 120 28", class: "sparkline", "aria-hidden": "true", preserveAspectRatio: "none" },
    points.length > 1 ? s("polygon", { points: `${x(0)},28 ${points.join(" ")} 118,28`, class: "area" }) : null,
    s("polyline", { points: points.join(" "), class: "line" }),
  );
}

const COLUMNS = 60;

/** Draw positions by lag over time: one column per sample, one row per range of lags, stronger for a larger share of
    the positions. */
export function heatmap(samples, bounds) {
  if (!samples.length) return h("p", { class: "empty" }, "No sample yet.");
  const names = lagNames(bounds);
  const shown = spread(samples);
  const last = samples.at(-1);
  const total = last.lags.reduce((sum, each) => sum + each, 0);
  if (!total) return h("p", { class: "empty" }, "No position has been loaded.");
  const [left, top, wide, high] = [0, 0, 600, 26];
  const step = wide / shown.length;
  const cells = shown.map((sample, column) =>
    sample.lags.map((positions, row) => {
      const all = sample.lags.reduce((sum, each) => sum + each, 0);
      if (!positions) return null;
      return s("rect", {
        x: left + column * step + 0.5,
        y: top + row * high + 1,
        width: step - 1,
        height: high - 2,
        rx: 2,
        class: row ? "cell late" : "cell",
        "fill-opacity": (0.25 + 0.75 * Math.sqrt(positions / all)).toFixed(2),
      });
    }),
  );
  const lines = names.map((_, row) =>
    s("rect", { x: 0, y: row * high + 1, width: wide, height: high - 2, rx: 3, class: "track" }),
  );
  const spanned = Math.round(last.at - shown[0].at);
  const chart = s(
    "svg",
    {
      viewBox: `0 0 ${wide} ${names.length * high}`,
      class: "heat",
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `Positions by lag over the last ${spanned} seconds; the table has the present numbers`,
    },
    lines,
    cells,
  );
  const table = h(
    "table",
    { class: "lags" },
    h("caption", { class: "hidden" }, "Positions by lag"),
    h(
      "thead",
      { class: "hidden" },
      h("tr", {}, h("th", { scope: "col" }, "Lag"), h("th", { scope: "col" }, "Positions")),
    ),
    h(
      "tbody",
      {},
      names.map((name, row) =>
        h(
          "tr",
          { class: last.lags[row] ? "" : "none" },
          h("th", { scope: "row" }, name),
          h("td", { class: "number" }, count(last.lags[row])),
        ),
      ),
    ),
  );
  return [
    h("div", { class: "lag-chart" }, table, h("div", { class: "heat-box" }, chart)),
    h(
      "p",
      { class: "axis faint" },
      h("span", {}, spanned < 5 ? "just started" : `${spanned} s ago`),
      h("span", {}, `${counted(total, "position")}`),
    ),
  ];
}

function lagNames(bounds) {
  const first = bounds.map((bound, n) => {
    const from = n ? bounds[n - 1] + 1 : 0;
    return bound === 0 ? "none" : from === bound ? counted(bound, "day") : `${from} to ${bound} days`;
  });
  return [...first, `over ${bounds.at(-1)} days`];
}

function spread(samples) {
  const every = Math.max(1, Math.ceil(samples.length / COLUMNS));
  const picked = samples.filter((_, n) => (samples.length - 1 - n) % every === 0).slice(-COLUMNS);
  return picked;
}

const NOT_FROM_ZERO = "The scale does not begin at 0: it shows how the value moves.";
const H = 260,
  LEFT = 8,
  RIGHT = 8,
  TOP = 16,
  BOTTOM = 24;

/** Draw market value by date. A date whose total lacks lines is a hollow point, not on the line. `choose(date)` is
    called at a click or Enter. `narrow`: for a phone.

    A chart of values over time shows how they move, so the scale begins near the smallest one. It includes 0, and the
    area up to the line is filled, where that takes at most half of the height; elsewhere the chart says that it does
    not, and nothing is filled: a filled area would be read from 0. */
export function valueChart(totals, currency, chosen, choose, { narrow = false } = {}) {
  const W = narrow ? 420 : 900;
  const valued = totals.filter((each) => each.market_value !== null);
  if (!valued.length) return h("p", { class: "empty" }, "No date in this range has a value.");
  const amounts = valued.map((each) => Number(each.market_value));
  const { low, high, hasZero } = scale(amounts);
  const x = (n) => LEFT + (totals.length === 1 ? 0.5 : n / (totals.length - 1)) * (W - LEFT - RIGHT);
  const y = (amount) => TOP + (1 - (amount - low) / (high - low)) * (H - TOP - BOTTOM);
  const isPartial = (each) => each.lines_valued < each.lines;
  const runs = [[]];
  totals.forEach((each, n) => {
    if (each.market_value === null || isPartial(each)) {
      if (runs.at(-1).length) runs.push([]);
    } else runs.at(-1).push([x(n), y(Number(each.market_value))]);
  });
  const path = (points) => points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" ");
  const base = H - BOTTOM;
  const rule = (x1, x2, y1, y2, name) => s("line", { x1, x2, y1, y2, class: name });
  const grid = ticks(low, high).map((tick) => [
    rule(LEFT, W - RIGHT, y(tick), y(tick), tick === 0 ? "grid-line zero" : "grid-line"),
    s("text", { x: LEFT + 2, y: y(tick) - 4, class: "tick" }, short(tick)),
  ]);
  const last = totals.length - 1;
  const dates = spreadOver(last, narrow ? 3 : 6).map((n) => [
    rule(x(n), x(n), base, base + 4, "grid-line"),
    s("text", { x: x(n), y: H - 6, class: "tick date", "text-anchor": anchor(n, last) }, totals[n].date),
  ]);
  const marks = totals.map((each, n) =>
    each.market_value !== null && isPartial(each)
      ? s("circle", { cx: x(n), cy: y(Number(each.market_value)), r: 4, class: "partial" })
      : null,
  );
  const cross = s("line", { y1: TOP, y2: base, class: "cross" });
  const spot = s("circle", { r: 5, class: "spot" });
  const label = h("output", { class: "reading" });
  let at = Math.max(
    0,
    totals.findIndex((each) => each.date === chosen),
  );
  if (!totals.some((each) => each.date === chosen)) at = totals.length - 1;
  const point = (n) => {
    at = Math.max(0, Math.min(totals.length - 1, n));
    const each = totals[at];
    cross.setAttribute("x1", x(at));
    cross.setAttribute("x2", x(at));
    spot.setAttribute("cx", x(at));
    spot.setAttribute("cy", each.market_value === null ? -20 : y(Number(each.market_value)));
    label.replaceChildren(
      h("strong", {}, each.market_value === null ? "no value" : `${decimal(each.market_value)} ${currency}`),
      ` on ${each.date}`,
      isPartial(each) ? h("em", {}, ` · ${each.lines - each.lines_valued} of ${each.lines} lines have no value`) : "",
    );
  };
  const near = (event) => {
    const box = svg.getBoundingClientRect();
    return Math.round(
      ((((event.clientX - box.left) / box.width) * W - LEFT) / (W - LEFT - RIGHT)) * (totals.length - 1),
    );
  };
  const keys = { ArrowLeft: -1, ArrowRight: 1, PageUp: -21, PageDown: 21, Home: -Infinity, End: Infinity };
  const svg = s(
    "svg",
    {
      viewBox: `0 0 ${W} ${H}`,
      class: "value",
      tabindex: "0",
      role: "application",
      data: { key: "chart" },
      "aria-label":
        `Market value from ${totals[0].date} to ${totals.at(-1).date} in ${currency}. ` +
        (hasZero ? "" : `${NOT_FROM_ZERO} `) +
        "Arrow keys move along the dates, Enter shows the positions of a date.",
      on: {
        pointermove: (event) => point(near(event)),
        click: (event) => {
          point(near(event));
          choose(totals[at].date);
        },
        keydown: (event) => {
          if (event.key in keys) point(at + keys[event.key]);
          else if (event.key === "Enter") choose(totals[at].date);
          else return;
          event.preventDefault();
        },
      },
    },
    grid,
    dates,
    runs
      .filter((run) => run.length)
      .map((run) => [
        hasZero
          ? s("polygon", { points: path([[run[0][0], y(0)], ...run, [run.at(-1)[0], y(0)]]), class: "area" })
          : null,
        s("polyline", { points: path(run), class: "line" }),
      ]),
    marks,
    cross,
    spot,
  );
  point(at);
  return [
    h("div", { class: "reading-row" }, label),
    h("div", { class: "chart-box" }, svg),
    hasZero ? null : h("p", { class: "faint" }, NOT_FROM_ZERO),
    marks.some(Boolean)
      ? h("p", { class: "faint" }, "○ Some lines have no value on this date; the total does not include them.")
      : null,
  ];
}

/** From which amount to which the chart reaches, and whether 0 is between. */
function scale(amounts) {
  let [low, high] = [Math.min(...amounts), Math.max(...amounts)];
  const toZero = Math.max(low, -high, 0); // from the amount that is nearest to it
  const hasZero = toZero <= high - low;
  const margin = ((hasZero ? high - low + toZero : high - low) || Math.abs(high) || 1) * 0.08;
  if (!hasZero) return { low: low - margin, high: high + margin, hasZero };
  return { low: low < 0 ? low - margin : 0, high: high > 0 || low === 0 ? high + margin : 0, hasZero };
}

/** `most` numbers from 0 to `last`, both included, at equal distances. */
function spreadOver(last, most) {
  const parts = Math.min(most - 1, last);
  return parts ? Array.from({ length: parts + 1 }, (_, n) => Math.round((n * last) / parts)) : [0];
}

/** Which end of a date stands at its point, so that the first and the last are inside of the chart. */
const anchor = (n, last) => (last === 0 ? "middle" : n === 0 ? "start" : n === last ? "end" : "middle");

function ticks(low, high) {
  const raw = (high - low) / 6;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * size).find((each) => each >= raw);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high; n += 1) found.push(n * step + 0); // no -0
  return found;
}

function short(amount) {
  return new Intl.NumberFormat("en-GB", { notation: "compact", maximumSignificantDigits: 5 }).format(amount);
}
