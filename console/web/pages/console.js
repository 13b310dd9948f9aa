// The page: the current view, the event stream that updates it, and the token.

import { Refused, stream, token } from "./api.js";
import { h, write } from "./dom.js";
import * as overview from "./overview.js";
import * as portfolio from "./portfolio.js";

const main = document.getElementById("main");
const link = document.getElementById("link");
const statusLine = document.getElementById("status");
const live = { state: null, samples: [], bounds: [], unavailable: null };
let view = null;

/** Set the text that screen readers speak. `shown`: a banner shows it too, so it is hidden here. */
function say(text, shown) {
  write(statusLine, text);
  statusLine.classList.toggle("hidden", Boolean(shown));
}

function show() {
  view?.leave?.();
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const found = /^\/portfolio\/(.+)$/.exec(path);
  view = found
    ? portfolio.open(main, decodeURIComponent(found[1]), new URLSearchParams(query), say, needToken)
    : overview.open(main, say, needToken);
  document.getElementById("to-overview").toggleAttribute("aria-current", !found);
  document.title = found ? `${decodeURIComponent(found[1])} · revalue` : "revalue";
  view.update(live);
}

function onEvent(name, data) {
  if (name === "history") [live.samples, live.bounds] = [data.samples, data.lag_bounds];
  if (name === "unavailable") live.unavailable = data.message;
  if (name === "state") {
    live.unavailable = null;
    live.state = data;
    live.samples = [...live.samples, data.sample].slice(-600);
    const names = document.getElementById("portfolio-names");
    if (names.childElementCount !== data.portfolios.length)
      names.replaceChildren(...data.portfolios.map((each) => h("option", { value: each.portfolio_id })));
  }
  if (name !== "history") mark(live.unavailable ? "unavailable" : "live");
  view.update(live);
}

function mark(state, title = "") {
  link.dataset.state = state;
  link.title = title;
  write(
    link,
    {
      live: "live",
      unavailable: "database unavailable",
      connecting: "connecting",
      unreachable: "server unreachable",
      closed: "no stream",
    }[state],
  );
}

let listening = new AbortController();

async function listen() {
  const { signal } = listening;
  let wait = 500;
  while (!signal.aborted) {
    try {
      await stream(
        "events",
        (name, data) => {
          wait = 500;
          onEvent(name, data);
        },
        signal,
      );
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status !== 503) {
        mark("closed", error.message);
        if (error.status === 401) needToken(error.message);
        live.refused = error.message;
        view.update(live);
        return;
      }
      mark("unreachable", error.message);
      live.unavailable =
        error instanceof Refused
          ? error.message
          : "The server cannot be reached. The page shows the last numbers that it received.";
      view.update(live);
    }
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, 8000);
  }
}

const access = document.getElementById("token-dialog");
const field = document.getElementById("token");

function needToken(why) {
  if (why) write(document.getElementById("token-why"), `The server says: ${why}.`);
  field.value = token.get();
  if (!access.open) access.showModal();
}

document.getElementById("access").addEventListener("click", () => needToken());
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    access.close("use");
  }
});
access.addEventListener("close", () => {
  if (access.returnValue !== "use") return;
  token.set(field.value.trim());
  listening.abort();
  listening = new AbortController();
  Object.assign(live, { state: null, refused: null, unavailable: null });
  mark("connecting");
  listen();
  show();
});
document.getElementById("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = document.getElementById("portfolio").value.trim();
  if (name) location.hash = `#/portfolio/${encodeURIComponent(name)}`;
});
window.addEventListener("hashchange", () => {
  if (location.hash === "#main") return;
  show();
  main.focus();
});
show();
listen();
