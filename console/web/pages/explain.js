// How a number came about, and every number that the date has had: in a dialog.

import { ask, position } from "./api.js";
import { decimal, h, moment } from "./dom.js";

const dialog = document.getElementById("explain-dialog");
const title = document.getElementById("explain-title");
const body = document.getElementById("explain-body");
const SAYS = {
  AGREES: ["CURRENT", "The stored number agrees with today's data."],
  DISAGREES: ["FAILED", "The stored number is another than today's data give."],
  REPROCESSING: ["REPROCESSING", "Being corrected: the number shown is that of the last complete history."],
  MISSING: ["WAITING_FOR_DATA", "There is no number: data are missing."],
  NOT_VALUED_YET: ["BEHIND", "Not valued yet."],
  NOT_DUE: ["BEHIND", "No number is due for this date."],
};
const NAMES = { quantity: "quantity", cost_basis_local: "cost (local)", cost_basis: "cost", price: "price", price_date: "price date", fx_rate: "rate", fx_date: "rate date" };
const CAUSES = { PRICE: "price", FX: "exchange rate", INSTRUMENT: "instrument", CALENDAR: "calendar", POLICY: "policy", POSITION: "position" };
let asked = 0;

document.getElementById("explain-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

/** Shows the explanation of a position's number on a date. */
export async function explain(portfolio, security, date) {
  const mine = ++asked;
  title.textContent = `${security} in ${portfolio} on ${date}`;
  body.replaceChildren(h("p", { class: "faint", role: "status" }, "Asking."));
  if (!dialog.open) dialog.showModal();
  try {
    const [told, changes] = await Promise.all([
      ask(`${position(portfolio, security, "explain")}?date=${date}`),
      ask(`${position(portfolio, security, "changes")}?date=${date}`),
    ]);
    if (mine === asked) body.replaceChildren(...explained(told), ...history(changes.items));
  } catch (error) {
    if (mine === asked) body.replaceChildren(h("p", { class: "banner", role: "alert" }, error.message));
  }
}

function explained(told) {
  const lacking = told.verdict === "REPROCESSING" && told.missing;
  const [state, says] = lacking ? ["WAITING_FOR_DATA", "The number shown is that of the last complete history: the correction that it is on cannot be valued yet."] : SAYS[told.verdict];
  const shown = told.stored?.market_value;
  return [
    h("p", { class: "answer", id: "explain-value" }, shown ? h("span", { title: shown }, decimal(shown, 2, 12)) : h("em", {}, "no value"), " ", h("small", {}, told.position.base_currency ?? "")),
    h("p", { class: "flag big", data: { state } }, says),
    h("ol", { class: "steps" }, told.items.map((each) => h("li", {}, each.text))),
  ];
}

function history(items) {
  if (!items.length) return [];
  return [h("h3", {}, "What this number has been"), h("ol", { class: "changes", reversed: true }, [...items].reverse().map((each) => h("li", { class: each.is_shown ? "is-shown" : "" },
    h("div", { class: "row" }, h("strong", { title: each.market_value }, decimal(each.market_value)), each.is_shown ? h("span", { class: "flag", data: { state: "CURRENT" } }, "shown now") : null),
    h("div", { class: "faint" }, [each.cause ? `After a correction of the ${CAUSES[each.cause]}` : "First valued", each.published_at ? `, shown from ${moment(each.published_at)}` : "", each.superseded_at ? ` to ${moment(each.superseded_at)}` : ""].join("")),
    Object.entries(each.changed).map(([name, [before, after]]) => h("div", { class: "changed" }, `${NAMES[name] ?? name}: `, h("del", {}, tidy(before)), " → ", h("ins", {}, tidy(after)))))))];
}

function tidy(value) {
  if (value === null) return "none";
  return /^-?\d+(\.\d+)?$/.test(value) ? decimal(value, 0, 18) : value;
}
