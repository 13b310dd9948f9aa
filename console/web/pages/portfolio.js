// A portfolio: its market value, its state, and its lines. Every number opens its explanation.

import { get, getAll, getTagged, Refused } from "./api.js";
import { valueChart } from "./charts.js";
import {
  BadAddress,
  count,
  counted,
  dateRange,
  decimal,
  h,
  redraw,
  sentence,
  table as createTable,
  timeText,
  write,
} from "./dom.js";
import { explain } from "./explain.js";
import { listing } from "./tables.js";

const RANGES = [
  ["1 month", 31],
  ["6 months", 184],
  ["1 year", 366],
  ["5 years", 1827],
];
const WHY = { WAITING_FOR_DATA: "waiting for data", FAILED: "failed", NOT_VALUED: "missing" };
const RELOAD_MS = 1000;
const TOTALS_MS = 10000; // how often totals are read while lines are being valued
const OLD_MS = 2000;
const PAGE_LINES = 500;
const PHONE = matchMedia("(max-width: 34rem)");

const MAX_DAYS = 36525;

function dateOf(text) {
  if (text === null) return null;
  const day = new Date(`${text}T00:00:00Z`);
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text) || Number.isNaN(day.getTime()) || day.toISOString().slice(0, 10) !== text)
    throw new BadAddress(`“${text}” in this address is not a date: write date=2024-03-05.`);
  return text;
}

function daysOf(text) {
  if (text === null) return 366;
  const days = Number(text);
  if (!/^\d+$/.test(text) || days < 1 || days > MAX_DAYS)
    throw new BadAddress(`“${text}” in this address is not a number of days: write days=366, at most ${MAX_DAYS}.`);
  return days;
}

const isoToday = () => new Date().toISOString().slice(0, 10);

export function open(main, name, query, say, needToken) {
  const leaving = new AbortController();
  let wanted = dateOf(query.get("date"));
  let days = daysOf(query.get("days"));
  let timer = 0;
  let requests = 0;
  let unavailable = null;
  let received = null; // when the request was sent whose answer is shown
  let receivedAt = 0;
  let totals = null; // the last that were read: for which dates, and with which tag of the lines
  let cursors = [""]; // of the pages of lines up to the one that is shown
  const flag = h("p", { id: "flag", class: "flag big" });
  const told = h("small", { id: "told", class: "faint" });
  const error = h("div");
  const sums = h("dl", { class: "tiles sums" });
  const chart = h("div", { id: "chart" });
  const table = h("div", { id: "totals" });
  const lines = listing({
    label: "Positions",
    id: "lines",
    noun: "position",
    empty: "No position is open on this date.",
    columns: COLUMNS,
    row: (each) => line(each, (security, on) => explain(name, security, on)),
    words: (each) => [each.security_id, each.local_currency, ...states(each)].join(" "),
  });
  const pager = h("div", { id: "pager" });
  const date = h("input", { type: "date", id: "as-of", on: { change: () => date.value && go(date.value) } });
  const ranges = RANGES.map(([title, size]) =>
    h(
      "button",
      { type: "button", class: "quiet", "aria-pressed": String(size === days), on: { click: () => range(size) } },
      title,
    ),
  );
  const body = h(
    "div",
    { hidden: true },
    sums,
    h(
      "section",
      { class: "panel", "aria-labelledby": "title-chart" },
      h(
        "div",
        { class: "row" },
        h("h2", { id: "title-chart" }, "Market value"),
        h("div", { class: "group", role: "group", "aria-label": "Range" }, ranges),
      ),
      chart,
      h("details", {}, h("summary", {}, "As a table"), table),
    ),
    h(
      "section",
      { class: "panel", "aria-labelledby": "title-lines" },
      h(
        "div",
        { class: "row" },
        h("h2", { id: "title-lines" }, "Positions"),
        h("label", { class: "inline" }, "on ", date),
      ),
      lines.element,
      pager,
    ),
  );
  main.replaceChildren(
    h("p", { class: "crumb" }, h("a", { href: "#/" }, "Overview")),
    h("div", { class: "row title" }, h("h1", {}, name), flag, told),
    error,
    body,
  );

  function go(day) {
    wanted = day;
    cursors = [""];
    const now = new URLSearchParams({ date: day, days });
    history.replaceState(null, "", `#/portfolio/${encodeURIComponent(name)}?${now}`);
    load();
  }

  function range(size) {
    days = size;
    ranges.forEach((button, n) => button.setAttribute("aria-pressed", String(RANGES[n][1] === size)));
    load();
  }

  function turn(next) {
    if (next === null) cursors.pop();
    else cursors.push(next);
    load();
  }

  async function load() {
    clearTimeout(timer);
    const mine = ++requests;
    try {
      await draw(mine);
      redraw(error, unavailable, (text) => text && h("p", { class: "banner" }, text));
    } catch (problem) {
      if (leaving.signal.aborted || mine !== requests) return;
      if (problem instanceof Refused && problem.status === 401) needToken(problem.message);
      const text =
        problem instanceof Refused
          ? problem.message
          : "The server cannot be reached. The page shows the last numbers that it received.";
      redraw(error, text, () => h("p", { class: "banner" }, sentence(text)));
      say(text, true);
      showOld();
    }
    if (!leaving.signal.aborted && mine === requests && !document.hidden) timer = setTimeout(load, RELOAD_MS);
  }

  async function draw(mine) {
    const [began, beganAt] = [new Date().toISOString(), performance.now()];
    const today = isoToday();
    const path = `portfolios/${encodeURIComponent(name)}`;
    const options = { signal: leaving.signal };
    const asked = new URLSearchParams({ limit: PAGE_LINES, as_of: wanted ?? today, after: cursors.at(-1) });
    const found = await getTagged(`${path}/positions?${asked}`, options);
    const last = found.horizon && found.horizon < today ? found.horizon : today;
    const first = new Date(Date.parse(last) - days * 86400000).toISOString().slice(0, 10);
    const day = found.items[0]?.date ?? wanted ?? last;
    const key = `${first} ${last} ${day}`;
    let read = totals;
    if (!isKnown(found.tag, key)) {
      const { items } = await getAll(`${path}/valuation?limit=1000&from=${first}&to=${last}`, "from", options);
      const of =
        items.find((each) => each.date === day) ??
        (await get(`${path}/valuation?from=${day}&to=${day}`, options)).items[0];
      read = { key, tag: found.tag, at: performance.now(), items, of };
    }
    if (mine !== requests || leaving.signal.aborted) return;
    totals = read;
    body.hidden = false;
    body.classList.remove("is-old");
    received = began;
    receivedAt = beganAt;
    write(told, `as of ${timeText(received)}`);
    if (document.activeElement !== date) date.value = day;
    showState(found);
    redraw(sums, [totals.of ?? null, found.base_currency, day], summary);
    redraw(chart, [totals.items, found.base_currency, day, PHONE.matches], ([items, currency, chosen, narrow]) =>
      items.length
        ? valueChart(items, currency, chosen, go, { narrow })
        : h("p", { class: "empty" }, "This range has no business day."),
    );
    redraw(table, totals.items, totalsTable);
    lines.show(found.items, { ofPages: cursors.length > 1 || found.next !== null });
    redraw(pager, [cursors.length, found.items.length, found.next, totals.of?.lines ?? null], pages);
  }

  // A tag of a version says that nothing of the portfolio has changed. Another one is of the lines alone: dates
  // that they do not show may have changed.
  const isKnown = (tag, key) =>
    totals?.key === key &&
    totals.tag === tag &&
    (/^(W\/)?"v-/.test(tag) || performance.now() - totals.at < TOTALS_MS);

  function pages([page, shown, next, all]) {
    if (page === 1 && next === null) return null;
    const first = (page - 1) * PAGE_LINES + 1;
    const of = all === null ? "" : ` of ${count(all)}`;
    const button = (title, cursor, on) =>
      h(
        "button",
        { type: "button", class: "quiet", disabled: !on, data: { key: title }, on: { click: () => turn(cursor) } },
        title,
      );
    return h(
      "div",
      { class: "row pages" },
      h("span", { class: "faint" }, shown ? `Lines ${count(first)} to ${count(first + shown - 1)}${of}` : "No more lines"),
      h("div", { class: "group" }, button("Previous", null, page > 1), button("Next", next, next !== null)),
    );
  }

  // What was received more than two seconds ago is not called current: the state may have changed since.
  function showOld() {
    if (!received) return;
    flag.dataset.state = "WAITING_FOR_DATA";
    write(flag, `As of ${timeText(received)}`);
    write(told, "");
    body.classList.add("is-old");
  }

  function age() {
    if (performance.now() - receivedAt > OLD_MS) showOld();
  }

  function showState(found) {
    const now = found.positions_reprocessing;
    flag.dataset.state = now ? "REPROCESSING" : "CURRENT";
    write(flag, now ? `Being reprocessed: ${count(now)} of ${counted(found.positions, "position")}` : "Current");
    say(
      unavailable ??
        (now
          ? `${name} is being reprocessed. Its published version is shown until then.`
          : `${name}: no position is being reprocessed.`),
    );
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : load()), {
    signal: leaving.signal,
  });
  const aging = setInterval(age, 250);
  load();
  return {
    update: (live) => {
      unavailable = live.unavailable;
    },
    leave: () => {
      leaving.abort();
      clearTimeout(timer);
      clearInterval(aging);
    },
  };
}

function summary([total, currency, day]) {
  const tile = (title, value, note, tone) =>
    h(
      "div",
      { class: "tile" },
      h("dt", {}, title),
      h(
        "dd",
        {},
        h("strong", { data: { tone: tone ?? "" }, id: `sum-${title.toLowerCase().replace(/ .*/, "")}` }, value),
        h("small", {}, note),
      ),
    );
  if (!total) return [tile("Market value", "no value", `${day} is not a business day`)];
  const missing = total.lines - total.lines_valued;
  const of = missing
    ? `${count(total.lines_valued)} of ${counted(total.lines, "line")}, ${currency}`
    : `${currency}, ${day}`;
  return [
    tile(
      "Market value",
      total.market_value === null ? "no value" : decimal(total.market_value),
      of,
      missing ? "warn" : "",
    ),
    tile(
      "Unrealized gain",
      total.unrealized_gain === null ? "no value" : decimal(total.unrealized_gain),
      of,
      missing ? "warn" : "",
    ),
    tile(
      "Stale",
      count(total.lines_stale),
      total.stale.length ? total.stale.slice(0, 4).join(", ") : "lines valued with an older price or rate",
      total.lines_stale ? "warn" : "",
    ),
    tile(
      "Without value",
      count(missing),
      total.without_value.length
        ? `${total.without_value.slice(0, 4).join(", ")}: not in the sums`
        : "the sums include every line",
      missing ? "bad" : "",
    ),
  ];
}

function totalsTable(items) {
  const cell = (text) =>
    h("td", { class: "number", title: text ?? null }, text === null ? h("em", {}, "no value") : decimal(text));
  const titles = ["Date", "Market value", "Unrealized gain", "Lines", "Valued", "Stale", "Waiting", "Missing"];
  return createTable(
    { label: "Totals by date", titles, numeric: [1, 2, 3, 4, 5, 6, 7], more: "tall" },
    [...items].reverse().map((each) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, each.date),
        cell(each.market_value),
        cell(each.unrealized_gain),
        [each.lines, each.lines_valued, each.lines_stale, each.lines_waiting, each.lines_missing].map((number) =>
          h("td", { class: "number" }, number === null ? "–" : count(number)),
        ),
      ),
    ),
  );
}

const COLUMNS = [
  { title: "Security", by: (each) => each.security_id },
  { title: "Quantity", by: (each) => each.quantity, numeric: true },
  { title: "Unit price", by: (each) => each.price, numeric: true },
  { title: "Rate", by: (each) => each.fx_rate, numeric: true },
  { title: "Market value", by: (each) => each.market_value, numeric: true },
  { title: "Unrealized gain", by: (each) => each.unrealized_gain, numeric: true },
  { title: "State", by: (each) => states(each).join(", ") },
];

/** What the flags of a line say. */
function states(each) {
  const why = WHY[each.valuation_status];
  const found = [
    each.reprocessing_status === "IN_PROGRESS" ? "being reprocessed" : null,
    each.valuation_status === "VALUED_STALE" ? "stale" : null,
    why ?? (each.first_hole ? `no value on ${dateRange(each.first_hole, each.last_hole)}` : null),
  ].filter(Boolean);
  return found.length ? found : ["current"];
}

function line(each, explainLine) {
  const why = WHY[each.valuation_status];
  const number = (text, least, most) =>
    h(
      "td",
      { class: "number" },
      text === null ? h("em", {}, "–") : h("span", { title: text }, decimal(text, least, most)),
    );
  const button = {
    type: "button",
    class: "figure",
    data: { key: `v-${each.security_id}` },
    on: { click: () => explainLine(each.security_id, each.date) },
  };
  const shown = each.market_value === null ? null : decimal(each.market_value);
  const value =
    shown === null
      ? h("button", { ...button, "aria-label": `${each.security_id}: ${why}. Explain` }, h("em", {}, why))
      : h(
          "button",
          {
            ...button,
            title: each.market_value,
            "aria-label": `${each.security_id}: market value ${shown} ${each.base_currency}. Explain`,
          },
          shown,
        );
  const flags = [
    each.reprocessing_status === "IN_PROGRESS"
      ? h("span", { class: "flag", data: { state: "REPROCESSING" } }, "being reprocessed")
      : null,
    each.valuation_status === "VALUED_STALE"
      ? h("span", { class: "flag", data: { state: "STALE" }, title: staleBy(each) }, "stale")
      : null,
    why
      ? h(
          "span",
          {
            class: "flag",
            data: { state: each.valuation_status === "NOT_VALUED" ? "BEHIND" : each.valuation_status },
            title: each.failure_reason,
          },
          why,
        )
      : null,
    !why && each.first_hole
      ? h(
          "span",
          { class: "flag", data: { state: "WAITING_FOR_DATA" }, title: `Valued through ${each.frontier_date}` },
          `no value on ${dateRange(each.first_hole, each.last_hole)}`,
        )
      : null,
  ].filter(Boolean);
  return h(
    "tr",
    { data: { security: each.security_id }, class: why ? "lacking" : "" },
    h("th", { scope: "row" }, each.security_id, " ", h("small", {}, each.local_currency)),
    number(each.quantity, 0, 6),
    number(each.price, 2, 6),
    number(each.fx_rate, 0, 6),
    h("td", { class: "number value" }, value),
    number(each.unrealized_gain, 2, 2),
    h("td", { class: "wholly" }, flags.length ? flags : h("span", { class: "faint" }, "current")),
  );
}

function staleBy(each) {
  const parts = [];
  if (each.price_date && each.price_date !== each.date) parts.push(`price of ${each.price_date}`);
  if (each.fx_date && each.fx_date !== each.date) parts.push(`rate of ${each.fx_date}`);
  return parts.join(", ");
}
