// Requests to the server. Each has the token of this tab. Events are read by fetch, because EventSource cannot send
// a header.

const STORAGE_KEY = "revalue-token";

export const token = {
  get: () => sessionStorage.getItem(STORAGE_KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(STORAGE_KEY, value) : sessionStorage.removeItem(STORAGE_KEY)),
};

/** An error response of the server: its status, and its detail as the message. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function call(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refused(response.status, problem.detail ?? response.statusText);
}

/** GET: the parsed body. */
export const get = async (path, options) => (await call(path, options)).json();

/** GET: the parsed body, and the ETag as `tag`. The browser sends the ETag that it has, and gives the body again that
    belongs to it when the server says that it is unchanged. */
export async function getTagged(path, options) {
  const response = await call(path, options);
  return { ...(await response.json()), tag: response.headers.get("ETag") };
}

/** GET all pages of a list: the first body, with the items of all pages. `cursor`: the parameter that takes `next`. */
export async function getAll(path, cursor, options) {
  const first = await get(path, options);
  for (let next = first.next; next !== null;) {
    const url = new URL(path, document.baseURI);
    url.searchParams.set(cursor, next);
    const page = await get(url, options);
    first.items.push(...page.items);
    next = page.next;
  }
  return first;
}

/** GET all pages of a list as CSV, with the names of the columns once. `cursor`: the parameter that takes the next. */
export async function getCsv(path, cursor, options) {
  const parts = [];
  for (let url = new URL(path, document.baseURI); url !== null;) {
    const response = await call(url, { ...options, headers: { Accept: "text/csv" } });
    const text = await response.text();
    parts.push(parts.length ? text.slice(text.indexOf("\n") + 1) : text);
    const next = response.headers.get("Revalue-Next");
    if (next === null) return parts.join("");
    url.searchParams.set(cursor, decodeURIComponent(next));
  }
}

/** POST, with a body that becomes JSON: the parsed body of the response. */
export async function post(path, body, options = {}) {
  const sent =
    body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...options.headers } };
  return (await call(path, { ...options, ...sent, method: "POST" })).json();
}

/** DELETE: the parsed body of the response. */
export const remove = async (path) => (await call(path, { method: "DELETE" })).json();

/** The path of a request about a position. */
export const position = (portfolio, security, what) =>
  `positions/${encodeURIComponent(portfolio)}/${encodeURIComponent(security)}/${what}`;

/** Call `on(name, data)` for every event until the stream ends. Throws Refused, or what fetch throws. */
export async function stream(path, on, signal) {
  const response = await call(path, { headers: { Accept: "text/event-stream" }, signal, cache: "no-store" });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
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
