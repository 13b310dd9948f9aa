// The dialog that explains a number, with every number that the date has had.

import { get, position } from "./api.js";
import { decimal, h, timeText } from "./dom.js";

const dialog = document.getElementById("explain-dialog");
const title = document.getElementById("explain-title");
const body = document.getElementById("explain-body");
const VERDICTS = {
  AGREES: ["CURRENT", "The stored number agrees with the present data."],
  DISAGREES: ["FAILED", "The stored number differs from the number that the present data give."],
  REPROCESSING: ["REPROCESSING", "Being reprocessed: the number shown is that of the published version."],
  MISSING: ["WAITING_FOR_DATA", "No number: data are missing."],
  NOT_VALUED_YET: ["BEHIND", "Not valued yet."],
  NOT_DUE: ["BEHIND", "No number is due for this date."],
};
const NAMES = {
  quantity: "quantity",
  cost_basis_local: "cost (local)",
  cost_basis: "cost",
  price: "price",
  price_date: "price date",
  fx_rate: "rate",
  fx_date: "rate date",
};
const CAUSES = {
  PRICE: "price",
  FX: "FX rate",
  INSTRUMENT: "instrument",
  CALENDAR: "calendar",
  POLICY: "policy",
  POSITION: "position",
};
let requests = 0;

document.getElementById("explain-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

/** Show the explanation of a position's number on a date. */
export async function explain(portfolio, security, date) {
  const mine = ++requests;
  title.textContent = `${security} in ${portfolio} on ${date}`;
  body.replaceChildren(h("p", { class: "faint", role: "status" }, "Loading."));
  if (!dialog.open) dialog.showModal();
  try {
    const [explanation, changes] = await Promise.all([
      get(`${position(portfolio, security, "explain")}?date=${date}`),
      get(`${position(portfolio, security, "changes")}?date=${date}`),
    ]);
    if (mine === requests) body.replaceChildren(...explained(explanation), ...history(changes.items));
  } catch (error) {
    if (mine === requests) body.replaceChildren(h("p", { class: "banner", role: "alert" }, error.message));
  }
}

function explained(found) {
  const isWaiting = found.verdict === "REPROCESSING" && found.missing;
  const [state, text] = isWaiting
    ? ["WAITING_FOR_DATA", "Being reprocessed: data are missing, so the date will show no number."]
    : VERDICTS[found.verdict];
  const shown = found.stored?.market_value;
  return [
    h(
      "p",
      { class: "answer", id: "explain-value" },
      shown ? h("span", { title: shown }, decimal(shown, 2, 12)) : h("em", {}, "no value"),
      " ",
      h("small", {}, found.position.base_currency ?? ""),
    ),
    h("p", { class: "flag big", data: { state } }, text),
    h(
      "ol",
      { class: "steps" },
      found.items.map((each) => h("li", {}, each.text)),
    ),
  ];
}

function history(items) {
  if (!items.length) return [];
  return [
    h("h3", {}, "All numbers of this date"),
    h(
      "ol",
      { class: "changes", reversed: true },
      [...items].reverse().map((each) =>
        h(
          "li",
          { class: each.is_shown ? "is-shown" : "" },
          h(
            "div",
            { class: "row" },
            h("strong", { title: each.market_value }, decimal(each.market_value)),
            each.is_shown ? h("span", { class: "flag", data: { state: "CURRENT" } }, "shown now") : null,
          ),
          h(
            "div",
            { class: "faint" },
            [
              each.cause ? `After a correction of the ${CAUSES[each.cause]}` : "First valuation",
              each.published_at ? `, shown from ${timeText(each.published_at)}` : "",
              each.superseded_at ? ` to ${timeText(each.superseded_at)}` : "",
            ].join(""),
          ),
          each.corrected_by || each.why
            ? h("div", { class: "faint" }, `Corrected by ${author(each)}`)
            : null,
          Object.entries(each.changed).map(([name, [before, after]]) =>
            h(
              "div",
              { class: "changed" },
              `${NAMES[name] ?? name}: `,
              h("del", {}, tidy(before)),
              " → ",
              h("ins", {}, tidy(after)),
            ),
          ),
        ),
      ),
    ),
  ];
}

const author = (each) => `${each.corrected_by ?? "somebody"}${each.why ? `: ${each.why}` : ""}`;

function tidy(value) {
  if (value === null) return "none";
  return /^-?\d+(\.\d+)?$/.test(value) ? decimal(value, 0, 18) : value;
}
