// What is to be looked at on a date: what has no value, is old, or moved far, with the money that is concerned.

import { get, getCsv, post, Refused } from "./api.js";
import { address as correctionOf } from "./correct.js";
import { BadAddress, count, counted, decimal, h, redraw, sentence, timeText, write } from "./dom.js";
import { search } from "./portfolios.js";
import { listing } from "./tables.js";

const PAGE = 200;
const KINDS = {
  FAILED: ["Failed", "FAILED"],
  NO_VALUE: ["Without a value: data are missing", "WAITING_FOR_DATA"],
  NOT_VALUED: ["Not valued yet", "BEHIND"],
  REPROCESSING: ["Being reprocessed", "REPROCESSING"],
  OLD_PRICE: ["Valued at an old price", "STALE"],
  OLD_RATE: ["Valued at an old FX rate", "STALE"],
  PRICE_MOVE: ["Price moved far", "WAITING_FOR_DATA"],
  RATE_MOVE: ["FX rate moved far", "WAITING_FOR_DATA"],
  VALUE_MOVE: ["Value moved most", "BEHIND"],
};

/** The address of a list: `date` (empty: the last one), `portfolio` (empty: all), and `confirmed`. */
const address = (wanted) => {
  const given = Object.entries(wanted).filter(([, value]) => value);
  return `#/exceptions${given.length ? `?${new URLSearchParams(given)}` : ""}`;
};

function dateOf(text) {
  if (text !== "" && !/^\d{4}-\d{2}-\d{2}$/.test(text))
    throw new BadAddress(`“${text}” in this address is not a date: write date=2024-03-05.`);
  return text;
}

export function open(main, query, say, needToken) {
  const leaving = new AbortController();
  const wanted = {
    date: dateOf(query.get("date") ?? ""),
    portfolio: query.get("portfolio") ?? "",
    confirmed: query.get("confirmed") === "true" ? "true" : "",
  };
  let requests = 0;
  let cursors = [0]; // of the pages up to the one that is shown
  const orders = {}; // the order and the filter of the lines of each kind
  const told = h("small", { id: "told", class: "faint" });
  const error = h("div");
  const sums = h("dl", { class: "tiles", id: "kinds" });
  const list = h("div", { id: "exceptions" });
  const pager = h("div", { id: "pager" });
  const date = h("input", { type: "date", id: "of-date", value: wanted.date, on: { change: go } });
  const portfolio = h("input", {
    id: "of-portfolio",
    value: wanted.portfolio,
    placeholder: "All portfolios",
    autocomplete: "off",
    spellcheck: "false",
    list: "portfolios-of-exceptions",
    on: { change: go },
  });
  const names = h("datalist", { id: "portfolios-of-exceptions" });
  search(portfolio, names);
  const save = h("button", { type: "button", class: "quiet", id: "download", on: { click: download } }, "Download CSV");
  const refresh = h("button", { type: "button", class: "quiet", on: { click: () => load() } }, "Refresh");
  const confirmed = h("input", {
    type: "checkbox",
    id: "with-confirmed",
    checked: wanted.confirmed !== "",
    on: { change: go },
  });
  main.replaceChildren(
    h("div", { class: "row title" }, h("h1", {}, "Exceptions"), told),
    error,
    h(
      "div",
      { class: "row filters" },
      h("label", { class: "inline" }, "on ", date),
      h("label", { class: "inline" }, "of ", portfolio, names),
      h("label", { class: "inline" }, confirmed, " with confirmed"),
      h("div", { class: "group" }, refresh, save),
    ),
    sums,
    list,
    pager,
  );

  function go() {
    const isWanted = confirmed.checked ? "true" : "";
    Object.assign(wanted, { date: date.value, portfolio: portfolio.value.trim(), confirmed: isWanted });
    history.replaceState(null, "", address(wanted));
    cursors = [0];
    load();
  }

  function turn(next) {
    if (next === null) cursors.pop();
    else cursors.push(next);
    load();
  }

  const path = (given) =>
    `exceptions?${new URLSearchParams(Object.entries({ ...wanted, ...given }).filter(([, value]) => value !== ""))}`;

  async function load() {
    const mine = ++requests;
    const began = new Date().toISOString();
    try {
      const found = await get(path({ after: cursors.at(-1), limit: PAGE }), { signal: leaving.signal });
      if (mine !== requests || leaving.signal.aborted) return;
      redraw(error, "", () => null);
      write(told, `${found.dates.length ? `on ${found.dates.join(", ")}, ` : ""}as of ${timeText(began)}`);
      redraw(sums, found.counts, tiles);
      const ofPages = cursors.length > 1 || found.next !== null;
      redraw(list, [found.items, wanted, ofPages], ([items]) => kinds(items, { confirm, unconfirm }, orders, ofPages));
      const all = Object.values(found.counts).reduce((sum, each) => sum + each, 0);
      redraw(pager, [cursors.length, cursors.at(-1), found.items.length, found.next, all], pages);
      say(all ? `${counted(all, "exception")}.` : "Nothing is to be looked at.");
    } catch (problem) {
      if (mine === requests) refused(problem);
    }
  }

  async function confirm(each, why) {
    const { value, value_before } = each; // refused if it is compared with another value now
    await post("./exceptions:confirm", { ...nameOf(each), value, value_before, ...(why ? { why } : {}) });
    await load();
  }

  async function unconfirm(each) {
    try {
      await post("./exceptions:unconfirm", nameOf(each));
      await load();
    } catch (problem) {
      refused(problem);
    }
  }

  async function download() {
    save.disabled = true;
    try {
      const text = await getCsv(path({ limit: 1000 }), "after", { signal: leaving.signal });
      const link = h("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: fileName() });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    } catch (problem) {
      refused(problem);
    }
    save.disabled = false;
  }

  const fileName = () => `${["exceptions", wanted.portfolio, wanted.date].filter(Boolean).join("-")}.csv`;

  function refused(problem) {
    if (leaving.signal.aborted) return;
    if (problem instanceof Refused && problem.status === 401) needToken(problem.message);
    const text =
      problem instanceof Refused
        ? problem.message
        : "The server cannot be reached. The page shows the last list that it received.";
    redraw(error, text, () => h("p", { class: "banner", role: "alert" }, sentence(text)));
    say(text, true);
  }

  function pages([page, after, shown, next, all]) {
    if (page === 1 && next === null) return null;
    const button = (title, cursor, on) =>
      h(
        "button",
        { type: "button", class: "quiet", disabled: !on, data: { key: title }, on: { click: () => turn(cursor) } },
        title,
      );
    const lines = shown ? `${count(after + 1)} to ${count(after + shown)} of ${count(all)}` : "No more lines";
    return h(
      "div",
      { class: "row pages" },
      h("span", { class: "faint" }, lines),
      h("div", { class: "group" }, button("Previous", null, page > 1), button("Next", next, next !== null)),
    );
  }

  load();
  return { update: () => {}, leave: () => leaving.abort() };
}

function tiles(counts) {
  return Object.entries(counts).map(([kind, number]) =>
    h("div", { class: "tile" }, h("dt", {}, KINDS[kind][0]), h("dd", {}, h("strong", {}, count(number)))),
  );
}

/** What a call names of a price or rate. */
function nameOf(each) {
  const { subject, date } = each;
  if (each.kind === "PRICE_MOVE") return { kind: "price", security_id: subject, date };
  const [local_currency, base_currency] = subject.split("/");
  return { kind: "rate", local_currency, base_currency, date };
}

function kinds(items, acts, orders, ofPages) {
  if (!items.length) return h("p", { class: "empty" }, "Nothing is to be looked at.");
  const names = [...new Set(items.map((each) => each.kind))];
  return names.map((kind) => {
    const found = items.filter((each) => each.kind === kind);
    const lines = linesOf(kind, found, acts, (orders[kind] ??= {}));
    lines.show(found, { ofPages });
    return h(
      "section",
      { class: "panel", "aria-labelledby": `title-${kind}` },
      h("h2", { id: `title-${kind}` }, KINDS[kind][0]),
      lines.element,
    );
  });
}

function linesOf(kind, items, acts, state) {
  const currency = (each) => each.base_currency;
  const moves = items.some((each) => each.move_percent !== null);
  const canConfirm = items.some((each) => each.value !== null);
  const isTold = kind !== "VALUE_MOVE"; // of a value, the two last columns say it
  const columns = [
    { title: "Of", by: (each) => each.subject },
    isTold ? { title: "What", by: (each) => each.detail } : null,
    moves ? { title: "Moved", by: (each) => each.move_percent, numeric: true } : null,
    { title: "Positions", by: (each) => each.positions, numeric: true },
    { title: "Market value", by: (each) => each.market_value, numeric: true, within: currency },
    { title: "Change", by: (each) => each.change, numeric: true, within: currency },
    canConfirm ? { title: h("span", { class: "hidden" }, "Confirm") } : null,
  ].filter(Boolean);
  const row = (each) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, subject(each)),
      isTold
        ? h("td", { class: "wholly" }, h("span", { class: "flag", data: { state: KINDS[kind][1] } }, each.detail))
        : null,
      moves ? h("td", { class: "number" }, percent(each.move_percent)) : null,
      h("td", { class: "number" }, count(each.positions)),
      h("td", { class: "number value" }, amount(each.market_value), " ", h("small", {}, each.base_currency)),
      h("td", { class: "number" }, amount(each.change)),
      canConfirm ? h("td", { class: "wholly" }, confirmation(each, acts)) : null,
    );
  const words = (each) => [each.subject, each.detail, each.base_currency].join(" ");
  return listing({ label: KINDS[kind][0], columns, row, words, state });
}

/** A button that asks for a reason and confirms; of a confirmed line by whom and why, and the way back. */
function confirmation(each, { confirm, unconfirm }) {
  const button = (title, act) => {
    const given = { type: "button", class: "quiet", "aria-label": `${title}: ${each.subject}`, on: { click: act } };
    return h("button", given, title);
  };
  if (each.confirmed_by === null) return button("Confirm", () => askWhy(each, confirm));
  const by = `Confirmed by ${each.confirmed_by}${each.why ? `: ${each.why}` : ""} `;
  return [h("small", {}, by), button("Unconfirm", () => unconfirm(each))];
}

const dialog = document.getElementById("confirm-dialog");
const why = document.getElementById("confirm-why");
const wrong = document.getElementById("confirm-problem");
let answer = null; // what confirms the line that the dialog is about

document.getElementById("confirm-cancel").addEventListener("click", () => dialog.close());
document.getElementById("confirm-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await answer(why.value.trim());
    dialog.close();
  } catch (problem) {
    write(wrong, problem.message);
  }
});

function askWhy(each, confirm) {
  write(document.getElementById("confirm-title"), `${each.subject} on ${each.date}: ${each.detail}`);
  write(wrong, "");
  why.value = "";
  answer = (text) => confirm(each, text);
  dialog.showModal();
}

/** The subject: a price is a link to its correction, a position to its portfolio, where its name says which it is. */
function subject(each) {
  if (each.kind === "PRICE_MOVE") {
    const to = correctionOf({ kind: "price", security_id: each.subject, date: each.date });
    return h("a", { href: to, title: "Correct the price" }, each.subject);
  }
  const parts = each.subject.split(" / ");
  if (parts.length !== 2 || !["VALUE_MOVE", "NOT_VALUED"].includes(each.kind)) return each.subject;
  const [portfolio, security] = parts;
  const to = `#/portfolio/${encodeURIComponent(portfolio)}?${new URLSearchParams({ date: each.date })}`;
  return [h("a", { href: to }, portfolio), ` / ${security}`];
}

const amount = (text) => (text === null ? h("em", {}, "–") : h("span", { title: text }, decimal(text)));

const percent = (number) => (number === null ? "–" : `${number > 0 ? "+" : "−"}${Math.abs(number).toFixed(1)} %`);
