// The page: the current view, the event stream that updates it, and the token.

import { Refused, stream, token } from "./api.js";
import { BadAddress, h, timeText, write } from "./dom.js";
import * as correct from "./correct.js";
import * as exceptions from "./exceptions.js";
import * as overview from "./overview.js";
import * as portfolio from "./portfolio.js";
import * as portfolios from "./portfolios.js";

const main = document.getElementById("main");
const link = document.getElementById("link");
const asOf = document.getElementById("as-of-frame");
const statusLine = document.getElementById("status");
const live = { state: null, samples: [], bounds: [], unavailable: null, received: 0, isOld: false };
const OLD_MS = 2000;
let view = null;

/** Set the text that screen readers speak. `shown`: a banner shows it too, so it is hidden here. */
function say(text, shown) {
  write(statusLine, text);
  statusLine.classList.toggle("hidden", Boolean(shown));
}

function show() {
  view?.leave?.();
  document.title = "revalue";
  try {
    view = choose(location.hash.replace(/^#/, ""));
  } catch (error) {
    view = wrongAddress(error instanceof BadAddress ? error.message : "This address cannot be read.");
  }
  view.update(live);
}

function choose(address) {
  const at = address.indexOf("?");
  const [path, query] = at < 0 ? [address, ""] : [address.slice(0, at), address.slice(at + 1)];
  const found = /^\/portfolio\/(.+)$/.exec(path);
  document.getElementById("to-overview").toggleAttribute("aria-current", path === "" || path === "/");
  for (const name of ["exceptions", "correct"])
    document.getElementById(`to-${name}`).toggleAttribute("aria-current", path === `/${name}`);
  if (path === "" || path === "/") return overview.open(main, say, needToken);
  if (path === "/portfolios") return portfolios.open(main, new URLSearchParams(query), say, needToken);
  if (path === "/exceptions") return exceptions.open(main, new URLSearchParams(query), say, needToken);
  if (path === "/correct") return correct.open(main, new URLSearchParams(query), say, needToken);
  if (!found) throw new BadAddress(`There is no page “${path}”.`);
  const name = decoded(found[1]);
  document.title = `${name} · revalue`;
  return portfolio.open(main, name, new URLSearchParams(query), say, needToken);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new BadAddress(`The name of the portfolio in this address is not encoded: write %25 for %.`);
  }
}

function wrongAddress(text) {
  main.replaceChildren(
    h("h1", {}, "Wrong address"),
    h("p", { class: "banner", role: "alert" }, text),
    h("p", {}, h("a", { href: "#/" }, "To the overview"), " · ", h("a", { href: "#/portfolios" }, "All portfolios")),
  );
  say(text, true);
  return { update: () => {} };
}

function onEvent(name, data) {
  if (name === "history") [live.samples, live.bounds] = [data.samples, data.lag_bounds];
  if (name === "unavailable") live.unavailable = data.message;
  if (name === "state") {
    live.unavailable = null;
    live.state = data;
    live.received = performance.now();
    live.isOld = false;
    live.samples = [...live.samples, data.sample].slice(-600);
  }
  if (name !== "history") mark(live.unavailable ? "unavailable" : "live");
  view.update(live);
}

/** Show a frame as old when no other has come for two seconds. */
function age() {
  if (live.isOld || !live.state || performance.now() - live.received < OLD_MS) return;
  live.isOld = true;
  if (link.dataset.state === "live") mark("old");
  view.update(live);
}

setInterval(age, 250);

function mark(state, title = "") {
  link.dataset.state = state;
  link.title = title;
  write(asOf, live.state ? `as of ${timeText(live.state.read_at)}` : "");
  write(
    link,
    {
      live: "live",
      old: "old",
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
const opened = portfolios.search(document.getElementById("portfolio"), document.getElementById("portfolio-names"));
document.getElementById("find").addEventListener("submit", async (event) => {
  event.preventDefault();
  location.hash = await opened();
});
document.addEventListener("visibilitychange", () => {
  listening.abort();
  if (document.hidden) return;
  listening = new AbortController();
  listen();
});
window.addEventListener("hashchange", () => {
  if (location.hash === "#main") return;
  show();
  main.focus();
});
show();
if (!document.hidden) listen();
