// A correction: its fields, its preview, and then to make it with a reason.

import { get, post, Refused, remove } from "./api.js";
import { count, counted, dateRange, decimal, h, sentence, table, timeText } from "./dom.js";

const KINDS = {
  price: ["Price", ["security_id", "date", "price"]],
  rate: ["FX rate", ["base_currency", "quote_currency", "date", "rate"]],
  position: ["Position", ["portfolio_id", "security_id", "date", "quantity", "cost_basis_local", "cost_basis"]],
  delete_price: ["Delete a price", ["security_id", "date"]],
  delete_rate: ["Delete an FX rate", ["base_currency", "quote_currency", "date"]],
};
const FIELDS = {
  portfolio_id: "Portfolio",
  security_id: "Security",
  base_currency: "Base currency of the pair",
  quote_currency: "Quote currency of the pair",
  date: "Date of the record",
  price: "New price, as quoted",
  rate: "New rate: quote currency per base currency",
  quantity: "Quantity",
  cost_basis_local: "Cost basis, local",
  cost_basis: "Cost basis, base currency",
};
const POLL_MS = 500;
const MOST_LINES = 20;

/** The address of a correction whose fields are filled in as far as they are given. */
export const address = (given) => `#/correct?${new URLSearchParams(given)}`;

export function open(main, query, say, needToken) {
  const leaving = new AbortController();
  const { signal } = leaving;
  let kind = query.get("kind") in KINDS ? query.get("kind") : "price";
  let wanted = 0; // counts previews: what comes of an earlier one is not shown
  let waiting = null; // the id of the preview in the background
  let sent = { body: "", name: "" }; // the last body that was sent, and the name of its request
  const inputs = Object.fromEntries(
    Object.entries(FIELDS).map(([name, title]) => [
      name,
      h("input", {
        id: `of-${name}`,
        value: query.get(name) ?? "",
        type: name === "date" ? "date" : "text",
        required: true,
        autocomplete: "off",
        spellcheck: "false",
        "aria-label": title,
        on: { input: forget },
      }),
    ]),
  );
  const choice = h(
    "select",
    { id: "kind", on: { change: choose } },
    Object.entries(KINDS).map(([name, [title]]) => h("option", { value: name, selected: name === kind }, title)),
  );
  const fields = h("div", { class: "fields" });
  const preview = h("button", { id: "preview" }, "Preview");
  const outcome = h("div", { id: "outcome", "aria-live": "polite" });
  main.replaceChildren(
    h("h1", {}, "Correct"),
    h(
      "form",
      { class: "panel", id: "correction", on: { submit: ask } },
      h("label", { class: "field" }, h("span", {}, "What"), choice),
      fields,
      h("div", { class: "row end" }, preview),
    ),
    outcome,
  );
  draw();
  say("A correction is previewed first. Nothing is written until you make it.");

  function choose() {
    kind = choice.value;
    draw();
    forget();
  }

  function draw() {
    const field = (name) => h("label", { class: "field" }, h("span", {}, FIELDS[name]), inputs[name]);
    fields.replaceChildren(...KINDS[kind][1].map(field));
  }

  /** What was previewed is not what the fields say now. */
  function forget() {
    wanted += 1;
    cancel();
    outcome.replaceChildren();
    preview.disabled = false;
  }

  function cancel() {
    if (waiting !== null) remove(`previews/${encodeURIComponent(waiting)}`).catch(() => {});
    waiting = null;
  }

  const correction = () => ({
    kind,
    ...Object.fromEntries(KINDS[kind][1].map((name) => [name, inputs[name].value.trim()])),
  });

  async function ask(event) {
    event.preventDefault();
    forget();
    const mine = wanted;
    const asked = correction();
    preview.disabled = true;
    outcome.replaceChildren(h("p", { class: "faint", role: "status" }, "The preview is being made."));
    try {
      const found = await previewed(asked, mine);
      if (mine === wanted) outcome.replaceChildren(...told(found), form(asked));
    } catch (problem) {
      if (mine === wanted) refused(problem);
    }
    if (mine === wanted) preview.disabled = false;
  }

  async function previewed(asked, mine) {
    let found = await post("./corrections:preview", asked, { signal });
    if (found.preview_id === undefined) return found;
    waiting = found.preview_id;
    while (["QUEUED", "RUNNING"].includes(found.state)) {
      await new Promise((done) => setTimeout(done, POLL_MS));
      if (mine !== wanted) throw new Error("another preview is wanted");
      found = await get(`previews/${encodeURIComponent(found.preview_id)}`, { signal });
    }
    waiting = null;
    if (found.problem !== null) throw new Refused(found.problem.status, found.problem.detail);
    return found.result;
  }

  function refused(problem) {
    if (signal.aborted) return;
    if (problem instanceof Refused && problem.status === 401) needToken(problem.message);
    outcome.replaceChildren(banner(problem));
  }

  function form(asked) {
    const why = h("input", { id: "why", required: true, maxlength: "1000", autocomplete: "off" });
    const make = h("button", { id: "make" }, "Make this correction");
    const wrong = h("div");
    async function submit(event) {
      event.preventDefault();
      make.disabled = true;
      try {
        const body = { corrections: [asked], why: why.value.trim() };
        const made = await post("corrections", body, { headers: { "Idempotency-Key": nameOf(body) } });
        sent = { body: "", name: "" };
        outcome.replaceChildren(done(made));
        say("The correction is made.");
      } catch (problem) {
        if (problem instanceof Refused && problem.status === 401) needToken(problem.message);
        wrong.replaceChildren(banner(problem));
        make.disabled = false;
      }
    }
    return h(
      "form",
      { class: "panel", id: "making", on: { submit } },
      h("h2", {}, "Make this correction"),
      h("label", { class: "field" }, h("span", {}, "Reason: shown with every number that it changes"), why),
      wrong,
      h("div", { class: "row end" }, make),
    );
  }

  /** The name of a request: the same if the same is sent again, because no answer came, so that it is done once. */
  function nameOf(body) {
    const text = JSON.stringify(body);
    if (sent.body !== text) {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      sent = { body: text, name: [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("") };
    }
    return sent.name;
  }

  return {
    update: () => {},
    leave: () => {
      cancel();
      leaving.abort();
    },
  };
}

function banner(problem) {
  const text =
    problem instanceof Refused
      ? problem.message
      : "The server cannot be reached. If you make the correction again, it is made once only.";
  return h("p", { class: "banner", role: "alert" }, sentence(text));
}

const change = (each) => `${each.what}: ${tidy(each.old) ?? "none"} → ${tidy(each.new) ?? "deleted"}`;

const tidy = (text) => (text !== null && /^-?\d+\.\d+$/.test(text) ? text.replace(/\.?0+$/, "") : text);

function told(found) {
  const dates = found.first_date === null ? "" : `, ${dateRange(found.first_date, found.last_date)}`;
  const nothing = found.positions === 0;
  return [
    h(
      "section",
      { class: "panel", id: "told", "aria-label": "Preview" },
      h("h2", {}, "What it would do ", h("small", {}, "nothing is written yet")),
      found.correction.map((each) => h("p", {}, h("strong", {}, change(each)))),
      found.correction.flatMap((each) => each.warnings.map((text) => h("p", { class: "banner" }, sentence(text)))),
      h(
        "p",
        {},
        nothing
          ? "No valued position-day would change."
          : `${counted(found.positions, "position")}, ${counted(found.position_days, "position-day")}${dates}`,
      ),
      found.without_value
        ? h(
            "p",
            { class: "banner" },
            `${counted(found.without_value, "position-day")} would have no value, because data is missing.`,
          )
        : null,
      found.portfolios.length ? h("h3", {}, "Portfolios, on the day on which each changes most") : null,
      values(found.portfolios.slice(0, MOST_LINES), (each) => each.portfolio_id, "Portfolios"),
      found.portfolios.length > MOST_LINES
        ? h("p", { class: "faint" }, `and ${count(found.portfolios.length - MOST_LINES)} more`)
        : null,
      found.movers.length ? h("h3", {}, "Largest changes of a position") : null,
      values(largest(found.movers), (each) => `${each.portfolio_id} / ${each.security_id}`, "Largest changes"),
    ),
  ];
}

/** The largest changes of each currency, which `movers` are sorted by: amounts of two cannot be compared. */
function largest(movers) {
  const counts = {};
  const ranked = movers.map((each) => [(counts[each.base_currency] = (counts[each.base_currency] ?? 0) + 1), each]);
  const shown = new Set([...ranked].sort(([a], [b]) => a - b).slice(0, MOST_LINES).map(([, each]) => each));
  return movers.filter((each) => shown.has(each));
}

function values(items, name, label) {
  if (!items.length) return null;
  return table(
    { label, titles: ["Of", "Date", "Before", "After", "Change"], numeric: [2, 3, 4], more: "lines", cards: true },
    items.map((each) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, name(each)),
        h("td", {}, each.date),
        h("td", { class: "number" }, decimal(each.market_value_before)),
        h("td", { class: "number" }, decimal(each.market_value_after)),
        h("td", { class: "number value" }, decimal(each.change), " ", h("small", {}, each.base_currency)),
      ),
    ),
  );
}

function done(made) {
  const triggers = made.trigger_ids.length
    ? `Up to ${counted(made.positions, "position")} are valued again; the overview shows the progress.`
    : "No valued position-day is affected.";
  return h(
    "section",
    { class: "panel", id: "made", role: "status" },
    h("h2", {}, "The correction is made"),
    made.corrections.map((each) => h("p", {}, h("strong", {}, change(each)))),
    h("p", {}, triggers),
    h("p", { class: "faint" }, `By ${made.corrected_by}, ${timeText(made.corrected_at)}: ${made.why}`),
    h("p", {}, h("a", { href: "#/" }, "To the overview")),
  );
}
