// The overview: positions by status, corrections in progress, throughput, and what waits or failed.

import { post, Refused } from "./api.js";
import { heatmap, sparkline } from "./charts.js";
import { address } from "./portfolios.js";
import { count, counted, dateRange, duration, h, redraw, sentence, table, timeText, write } from "./dom.js";

export const STATES = {
  CURRENT: "Current",
  BEHIND: "Behind",
  REPROCESSING: "Being reprocessed",
  WAITING_FOR_DATA: "Waiting for data",
  FAILED: "Failed",
};
const KINDS = {
  PRICE: "Price",
  FX: "FX rate",
  INSTRUMENT: "Instrument",
  CALENDAR: "Calendar",
  POLICY: "Policy",
  POSITION: "Position",
};

const OLD_SECONDS = 2;
const MAX_ITEMS = 50; // of a list; the server has the same limit

const TILES = [
  ["left", "Position-days left"],
  ["eta", "Time left"],
  ["speed", "Rows per second"],
  ["tasks", "Tasks in flight"],
  ["leader", "Scheduler"],
  ["dead-letters", "Dead letters"],
];

export function open(main, say, needToken) {
  const tile = Object.fromEntries(
    TILES.map(([name]) => [name, { value: h("strong", { id: `tile-${name}` }, "–"), note: h("small") }]),
  );
  const part = Object.fromEntries(
    ["banner", "positions", "corrections", "lags", "reasons", "dead-letters", "portfolios"].map((name) => [
      name,
      h("div", { id: `part-${name}` }),
    ]),
  );
  const spark = h("div", { class: "spark" });
  const notes = { "dead-letters": h("p", { class: "note", role: "status" }) };
  const sizes = Object.fromEntries(["corrections", "portfolios", "dead-letters"].map((name) => [name, h("small")]));
  sizes.lags = h("small", {}, "positions by calendar days from watermark to horizon, over time");
  // Positions are counted together; where they are many, less often than the page is drawn.
  const asOf = Object.fromEntries(
    ["positions", "lags", "reasons", "portfolios"].map((name) => [name, h("small", { class: "as-of" })]),
  );
  const panel = (title, name, more = "") =>
    h(
      "section",
      { class: `panel ${more}`, "aria-labelledby": `title-${name}` },
      h("h2", { id: `title-${name}` }, title, " ", sizes[name], " ", asOf[name]),
      part[name],
      notes[name],
    );
  const body = h(
    "div",
    {},
    h(
      "dl",
      { class: "tiles" },
      TILES.map(([name, title]) =>
        h(
          "div",
          { class: `tile ${name}` },
          h("dt", {}, title),
          h("dd", {}, tile[name].value, tile[name].note, name === "speed" ? spark : null),
        ),
      ),
    ),
    h(
      "div",
      { class: "grid" },
      panel("Positions by status", "positions"),
      panel("Corrections in progress", "corrections"),
      panel("Lag of the watermarks", "lags", "wide"),
      panel("Why positions wait or failed", "reasons"),
      panel("Portfolios", "portfolios"),
      panel("Dead letters", "dead-letters", "wide"),
    ),
  );
  main.replaceChildren(h("h1", {}, "Overview"), part.banner, body);
  const bars = new Map();

  async function retry(job) {
    try {
      await post(`jobs/${job}:retry`);
      write(notes["dead-letters"], `Job ${job} was requeued.`);
    } catch (error) {
      write(notes["dead-letters"], `Job ${job} was not requeued: ${error.message}`);
      if (error instanceof Refused && error.status === 401) needToken(error.message);
    }
  }

  function update(live) {
    const { state } = live;
    redraw(part.banner, [live.unavailable, live.refused, state && pausedText(state)], (texts) =>
      texts.filter(Boolean).map((text) => h("p", { class: "banner" }, sentence(text))),
    );
    body.hidden = !state && Boolean(live.refused);
    if (!state) {
      say(live.refused ?? live.unavailable ?? "Loading the state of the engine.", live.refused ?? live.unavailable);
      return;
    }
    const frame = `As of ${timeText(state.read_at)}: `;
    say(live.unavailable ?? (live.isOld ? frame : "") + summary(state), live.unavailable);
    for (const each of Object.values(asOf)) {
      write(each, `as of ${timeText(state.counted_at)}`);
      each.classList.toggle("old", live.isOld || countAge(state) > OLD_SECONDS);
    }
    body.classList.toggle("is-old", live.isOld);
    write(sizes.corrections, listSize(state.corrections.length));
    write(sizes.portfolios, listSize(state.portfolios.length, ", those that are not current first"));
    write(
      sizes["dead-letters"],
      state.dead_letters > state.recent_dead_letters.length
        ? `the last ${state.recent_dead_letters.length} of ${count(state.dead_letters)}`
        : "",
    );
    figures(tile, state);
    redraw(
      spark,
      live.samples.slice(-60).map((each) => Math.round(each.rows_per_second)),
      sparkline,
    );
    redraw(part.positions, [state.positions, state.changed_since_count && state.counted_at], positions);
    corrections(part.corrections, state.corrections, bars);
    redraw(part.lags, [live.samples, live.bounds], ([samples, bounds]) => heatmap(samples, bounds));
    redraw(part.reasons, state.reasons, reasons);
    redraw(part.portfolios, [state.portfolios, isCertain(live)], portfolios);
    redraw(part["dead-letters"], state.recent_dead_letters, (found) => deadLetters(found, retry));
  }
  return { update };
}

function pausedText(state) {
  if (!state.paused_at) return null;
  const by = state.paused_by ? ` by ${state.paused_by}` : "";
  return `Paused since ${timeText(state.paused_at)}${by}: no new work is started. Run "revalue resume" to continue.`;
}

/** Describe the size of a list. A full list may not have all items. */
function listSize(found, order = "") {
  if (!found) return "";
  return found < MAX_ITEMS ? count(found) : `the first ${count(MAX_ITEMS)}${order}`;
}

const countAge = (state) => (Date.parse(state.read_at) - Date.parse(state.counted_at)) / 1000;

/** Whether what was counted as current is current now. */
const isCertain = ({ state, isOld, unavailable }) => !isOld && !unavailable && !state.changed_since_count;

function summary(state) {
  if (!Object.values(state.positions).some(Boolean)) return "No position has been loaded.";
  if (state.is_current && !state.recent_dead_letters.length) return "Every position is current.";
  const parts = [];
  const inProgress = state.corrections.length;
  if (inProgress)
    parts.push(`${counted(inProgress, inProgress < MAX_ITEMS ? "correction" : "or more correction")} in progress`);
  if (state.positions.BEHIND) parts.push("positions are being valued up to the horizon");
  const waiting = state.positions.WAITING_FOR_DATA;
  if (waiting) parts.push(`${counted(waiting, "position waits", "positions wait")} for data`);
  if (state.positions.FAILED) parts.push(`${counted(state.positions.FAILED, "position")} failed`);
  if (state.changed_since_count) parts.push(`data changed after the positions were counted, ${timeText(state.counted_at)}`);
  return parts.length ? `${parts.join("; ")}.`.replace(/^[pd]/, (first) => first.toUpperCase()) : "Nothing is in progress.";
}

function figures(tile, state) {
  const put = (name, value, note = "") => {
    write(tile[name].value, value);
    write(tile[name].note, note);
  };
  const countedAt = countAge(state) > OLD_SECONDS ? `, as of ${timeText(state.counted_at)}` : "";
  put(
    "left",
    count(state.remaining_position_days),
    state.triggers_queued
      ? `${counted(state.triggers_queued, "correction")} not counted yet`
      : `due for positions that can be valued${countedAt}`,
  );
  const eta = state.estimated_seconds;
  put(
    "eta",
    eta === null ? "unknown" : eta === 0 ? "done" : duration(eta),
    eta === null
      ? "no scheduler is running, no job has finished, or a correction is queued"
      : state.rows_per_second
        ? `at ${count(state.rows_per_second)} rows per second`
        : "nothing is due",
  );
  put("speed", count(state.rows_per_second_now), "over the last 5 s");
  put(
    "tasks",
    count(state.tasks_in_flight),
    `${counted(state.spans_in_flight, "span")}; ${counted(state.actors, "actor")} connected`,
  );
  const age = state.heartbeat_age_seconds;
  const silent = state.holder !== null && age > state.lease_seconds;
  const isDue = state.remaining_position_days > 0 || state.triggers_queued > 0; // without work no scheduler is needed
  put(
    "leader",
    state.holder === null ? "none" : silent ? "silent" : state.paused_at ? "paused" : "leads",
    state.holder === null
      ? `No scheduler is running${isDue ? '. "revalue value" does what is due' : ""}`
      : `${state.holder}, term ${state.term}, heartbeat ${duration(age)} ago`,
  );
  tile.leader.value.dataset.tone =
    state.holder === null || silent ? (isDue ? "bad" : "") : state.paused_at ? "warn" : "good";
  put(
    "dead-letters",
    count(state.dead_letters),
    (state.jobs_deferred ? `${counted(state.jobs_deferred, "job")} to be retried` : "jobs that failed for good") +
      countedAt,
  );
  tile["dead-letters"].value.dataset.tone = state.dead_letters ? "bad" : "";
}

function positions([found, before]) {
  const total = Object.values(found).reduce((sum, each) => sum + each, 0);
  if (!total) return h("p", { class: "empty" }, "No position has been loaded.");
  const present = Object.keys(STATES).filter((state) => found[state]);
  const bar = h(
    "div",
    { class: "stack", "aria-hidden": "true" },
    present.map((state) => {
      const piece = h("span", { data: { state } });
      piece.style.flexGrow = found[state];
      return piece;
    }),
  );
  const share = (number) =>
    !number
      ? "–"
      : number === total
        ? "100 %"
        : number / total < 0.001
          ? "< 0.1 %"
          : `${Math.min(99.9, (100 * number) / total).toFixed(1)} %`;
  const rows = Object.entries(STATES).map(([state, title]) =>
    h(
      "tr",
      { class: found[state] ? "" : "none" },
      h(
        "th",
        { scope: "row" },
        h("i", { class: "dot", data: { state } }),
        before && state === "CURRENT" ? "Was current" : title,
      ),
      h("td", { class: "number", id: `positions-${state}` }, count(found[state] ?? 0)),
      h("td", { class: "number faint" }, share(found[state] ?? 0)),
    ),
  );
  return [
    before
      ? h("p", { class: "faint" }, `Data have changed since ${timeText(before)}, when the positions were counted.`)
      : null,
    bar,
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, "Positions by status"),
      h("tbody", {}, rows),
      h(
        "tfoot",
        {},
        h("tr", {}, h("th", { scope: "row" }, "All"), h("td", { class: "number" }, count(total)), h("td")),
      ),
    ),
  ];
}

// Bars are kept from one event to the next, so that they move smoothly.
function corrections(element, found, bars) {
  const gone = [...bars.keys()].filter((id) => !found.some((each) => each.trigger_id === id));
  for (const id of gone) {
    bars.get(id).item.remove();
    bars.delete(id);
  }
  if (!found.length) {
    redraw(element, "none", () => h("p", { class: "empty" }, "No correction is in progress."));
    return;
  }
  if (!bars.size) redraw(element, "some", () => h("ol", { class: "corrections" }));
  for (const each of found) {
    if (!bars.has(each.trigger_id)) {
      const bar = h("progress", { max: 1, "aria-label": `Correction ${each.trigger_id}` });
      const note = h("span", { class: "faint" });
      const pair = each.base_currency && `${each.base_currency}/${each.quote_currency}`;
      const what = [KINDS[each.kind], pair || each.security_id, each.portfolio_id && `in ${each.portfolio_id}`]
        .filter(Boolean)
        .join(" ");
      const item = h(
        "li",
        { data: { trigger: each.trigger_id } },
        h(
          "div",
          { class: "row" },
          h("strong", {}, what, " ", h("small", {}, dateRange(each.first_date, each.last_date))),
          h("span", { class: "faint" }, `since ${timeText(each.created_at)}`),
        ),
        each.corrected_by || each.why
          ? h("small", {}, `by ${each.corrected_by ?? "somebody"}${each.why ? `: ${each.why}` : ""}`)
          : null,
        bar,
        note,
      );
      bars.set(each.trigger_id, { bar, note, item });
      element.querySelector("ol").append(item);
    }
    const { bar, note } = bars.get(each.trigger_id);
    if (each.fanned_out_at === null) {
      bar.removeAttribute("value");
      write(note, "queued: its positions are not counted yet");
    } else {
      const left = each.positions_left ?? 0;
      const others = each.together > 1 ? `, together with ${counted(each.together - 1, "other correction")}` : "";
      if (each.positions_left === null && each.progress === null) {
        bar.removeAttribute("value");
        write(note, `${count(each.positions_invalidated)} positions; those that are left are not counted yet`);
        continue;
      }
      bar.value = each.progress ?? 1;
      write(note, `${counted(left, "position")} left of ${count(Math.max(each.positions_invalidated, left))}${others}`);
    }
  }
}

function reasons(found) {
  if (!found.length) return h("p", { class: "empty" }, "No position waits, and none failed.");
  return table(
    { label: "Why positions wait or failed", titles: ["Reason", "Positions", "Example"], numeric: [1], cards: true },
    found.map((each) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, h("code", {}, each.reason)),
        h("td", { class: "number" }, count(each.positions)),
        h("td", { class: "long" }, each.example),
      ),
    ),
  );
}

function portfolios([found, isCertain]) {
  if (!found.length) return h("p", { class: "empty" }, "No portfolio has been loaded.");
  const flag = (each) => [
    each.positions_reprocessing
      ? h(
          "span",
          { class: "flag", data: { state: "REPROCESSING" } },
          `${count(each.positions_reprocessing)} being reprocessed`,
        )
      : null,
    each.positions_waiting
      ? h("span", { class: "flag", data: { state: "WAITING_FOR_DATA" } }, `${count(each.positions_waiting)} waiting`)
      : null,
    each.positions_failed
      ? h("span", { class: "flag", data: { state: "FAILED" } }, `${count(each.positions_failed)} failed`)
      : null,
    each.positions_behind
      ? h("span", { class: "flag", data: { state: "BEHIND" } }, `${count(each.positions_behind)} behind`)
      : null,
    each.positions_reprocessing + each.positions_waiting + each.positions_failed + each.positions_behind
      ? null
      : h("span", { class: "flag", data: { state: isCertain ? "CURRENT" : "" } }, isCertain ? "current" : "was current"),
  ];
  const all = h("p", {}, h("a", { href: address("") }, "All portfolios"));
  return [all, table(
    { label: "Portfolios", titles: ["Portfolio", "Positions", "State"], numeric: [1], more: "tall", cards: true },
    found.map((each) =>
      h(
        "tr",
        {},
        h(
          "th",
          { scope: "row" },
          h(
            "a",
            { href: `#/portfolio/${encodeURIComponent(each.portfolio_id)}`, data: { key: `p-${each.portfolio_id}` } },
            each.portfolio_id,
          ),
          " ",
          h("small", {}, each.base_currency),
        ),
        h("td", { class: "number" }, count(each.positions)),
        h("td", { class: "wholly" }, flag(each)),
      ),
    ),
  )];
}

function deadLetters(found, retry) {
  if (!found.length) return h("p", { class: "empty" }, "No job has failed for good.");
  const titles = ["Job", "Position", "Dates", "Attempts", "Reason", "Failed", h("span", { class: "hidden" }, "Action")];
  return table(
    { label: "Dead letters", titles, numeric: [3], cards: true },
    found.map((each) =>
      h(
        "tr",
        { data: { job: each.job_id } },
        h("th", { scope: "row" }, String(each.job_id)),
        h(
          "td",
          {},
          h(
            "a",
            { href: `#/portfolio/${encodeURIComponent(each.portfolio_id)}`, data: { key: `l-${each.job_id}` } },
            each.portfolio_id,
          ),
          ` ${each.security_id}`,
        ),
        h("td", { class: "nowrap" }, dateRange(each.first_date, each.last_date)),
        h("td", { class: "number" }, count(each.attempt_count)),
        h("td", { class: "long" }, each.failure_reason),
        h("td", { class: "nowrap" }, timeText(each.died_at)),
        h(
          "td",
          { class: "act" },
          h(
            "button",
            {
              type: "button",
              "aria-label": `Retry job ${each.job_id}`,
              data: { key: `r-${each.job_id}` },
              on: { click: () => retry(each.job_id) },
            },
            "Retry",
          ),
        ),
      ),
    ),
  );
}
