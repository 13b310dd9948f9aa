// Asking the server: every call carries the token of this tab; the stream of events is read by fetch, which can send it.

const KEPT = "revalue-token";

export const token = {
  get: () => sessionStorage.getItem(KEPT) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEPT, value) : sessionStorage.removeItem(KEPT)),
};

/** What the server said no to. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function call(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, problem.detail ?? answer.statusText);
}

/** A GET's answer. */
export const ask = async (path, options) => (await call(path, options)).json();

/** Every page of a list: the answer of the first with all items. `cursor`: the parameter that takes `next`. */
export async function askAll(path, cursor, options) {
  const first = await ask(path, options);
  for (let next = first.next; next !== null && first.items.length < 5000; ) {
    const url = new URL(path, document.baseURI);
    url.searchParams.set(cursor, next);
    const page = await ask(url, options);
    first.items.push(...page.items);
    next = page.next;
  }
  return first;
}

/** A POST's answer. */
export const act = async (path) => (await call(path, { method: "POST" })).json();

/** The path of a position's call. */
export const position = (portfolio, security, what) =>
  `positions/${encodeURIComponent(portfolio)}/${encodeURIComponent(security)}/${what}`;

/** Calls `on(name, data)` with every event until the stream ends. Throws Refused, or what fetch throws. */
export async function stream(path, on, signal) {
  const answer = await call(path, { headers: { Accept: "text/event-stream" }, signal, cache: "no-store" });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const name = /^event: (.*)$/m.exec(part)?.[1];
      const data = /^data: (.*)$/m.exec(part)?.[1];
      if (name && data) on(name, JSON.parse(data));
    }
  }
}
