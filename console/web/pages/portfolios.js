// The portfolios that a search finds, page by page.

import { get, Refused } from "./api.js";
import { count, h, redraw, sentence, table, write } from "./dom.js";

const PAGE = 50;

/** The address of the list of portfolios whose ids contain a text, whatever the case. */
export const address = (search) => `#/portfolios${search ? `?${new URLSearchParams({ search })}` : ""}`;

/** The portfolios whose ids contain a text: one page of the API. */
export const find = (search, after = "", limit = PAGE, options = undefined) =>
  get(`portfolios?${new URLSearchParams({ search, after, limit })}`, options);

export function open(main, query, say, needToken) {
  const leaving = new AbortController();
  const search = query.get("search") ?? "";
  const cursors = [""]; // of the pages up to the one that is shown
  const list = h("div", { id: "found" });
  main.replaceChildren(
    h("p", { class: "crumb" }, h("a", { href: "#/" }, "Overview")),
    h("h1", {}, search ? `Portfolios with “${search}”` : "Portfolios"),
    h("section", { class: "panel", "aria-label": "Portfolios" }, list),
  );

  function turn(next) {
    if (next === null) cursors.pop();
    else cursors.push(next);
    load();
  }

  async function load() {
    try {
      const found = await find(search, cursors.at(-1), PAGE, { signal: leaving.signal });
      redraw(list, [found.items, found.next, cursors.length], ([items, next, page]) => draw(items, next, page, turn));
      say(found.items.length ? "Portfolios by name." : "No portfolio was found.");
    } catch (problem) {
      if (leaving.signal.aborted) return;
      if (problem instanceof Refused && problem.status === 401) needToken(problem.message);
      const text = problem instanceof Refused ? problem.message : "The server cannot be reached.";
      redraw(list, text, () => h("p", { class: "banner" }, sentence(text)));
      say(text, true);
    }
  }

  load();
  return { update: () => {}, leave: () => leaving.abort() };
}

function draw(items, next, page, turn) {
  if (!items.length) return h("p", { class: "empty" }, "No portfolio was found.");
  const first = (page - 1) * PAGE + 1;
  const button = (title, cursor, on) =>
    h(
      "button",
      { type: "button", class: "quiet", disabled: !on, data: { key: title }, on: { click: () => turn(cursor) } },
      title,
    );
  return [
    table(
      { label: "Portfolios", titles: ["Portfolio", "Currency"], cards: true },
      items.map((each) =>
        h(
          "tr",
          {},
          h(
            "th",
            { scope: "row" },
            h("a", { href: `#/portfolio/${encodeURIComponent(each.portfolio_id)}` }, each.portfolio_id),
          ),
          h("td", {}, each.base_currency),
        ),
      ),
    ),
    page > 1 || next !== null
      ? h(
          "div",
          { class: "row pages" },
          h("span", { class: "faint" }, `${count(first)} to ${count(first + items.length - 1)}`),
          h("div", { class: "group" }, button("Previous", null, page > 1), button("Next", next, next !== null)),
        )
      : null,
  ];
}

/** Offer the portfolios that contain what is typed, and open one. `field`: the input, with a datalist. */
export function search(field, list) {
  let waiting = 0;
  let asked = new AbortController();

  async function offer() {
    asked.abort();
    asked = new AbortController();
    const typed = field.value.trim();
    if (!typed) return list.replaceChildren();
    try {
      const { items } = await find(typed, "", 20, { signal: asked.signal });
      list.replaceChildren(...items.map((each) => h("option", { value: each.portfolio_id })));
    } catch {
      // The field works without its offers; opening a portfolio says what is wrong.
    }
  }

  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(offer, 150);
  });

  /** The address to open for what is typed: the portfolio of this name, the only one that contains it, or the list. */
  return async () => {
    const typed = field.value.trim();
    if (!typed) return address("");
    const { items } = await find(typed, "", 20).catch(() => ({ items: [{ portfolio_id: typed }] }));
    const same = (each) => each.portfolio_id === typed;
    const alike = (each) => each.portfolio_id.toLowerCase() === typed.toLowerCase();
    const found = items.find(same) ?? items.find(alike) ?? (items.length === 1 ? items[0] : null);
    return found ? `#/portfolio/${encodeURIComponent(found.portfolio_id)}` : address(typed);
  };
}
