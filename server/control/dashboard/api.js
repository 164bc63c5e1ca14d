// Calls of the server's API with the user's token, which this tab keeps until
// it is closed.

const KEY = "dissonance.token";
const FIRST_PAUSE_MS = 1000;
const MOST_PAUSE_MS = 15000;

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

// What the server refused: `code` as in gRPC, e.g. "NOT_FOUND".
export class ApiError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

async function request(path, options = {}) {
  const headers = {authorization: `Bearer ${token.get()}`, ...options.headers};
  let response;
  try {
    response = await fetch(path, {...options, headers, cache: "no-store"});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("UNAVAILABLE", "the server does not answer");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new ApiError(body?.error?.code ?? "UNKNOWN",
                     body?.error?.message ?? `HTTP ${response.status}`);
}

export const getJson = async (path) => (await request(path)).json();
export const getText = async (path) => (await request(path)).text();
export const getBlob = async (path) => (await request(path)).blob();

export async function post(path) {
  const response = await request(path, {
    method: "POST",
    headers: {"content-type": "application/json"},
    body: "{}",
  });
  return response.json();
}

// "ok", or why the server does not serve; for this nobody needs a token.
export async function health() {
  try {
    const response = await fetch("/healthz", {cache: "no-store"});
    return (await response.text()).trim();
  } catch {
    return "no answer";
  }
}

// Gives each server-sent event of `response` to `take(event, data, id)`.
async function readEvents(response, take) {
  const reader =
      response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0;) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name) => lines.find((line) => line.startsWith(`${name}: `))
          ?.slice(name.length + 2);
      if (field("data")) {
        take(field("event"), JSON.parse(field("data")), field("id"));
      }
    }
  }
}

const pause = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    resolve();
  }, {once: true});
});

// Nobody looks at a hidden page, and a browser has few connections.
const seen = (signal) => new Promise((resolve) => {
  if (!document.hidden || signal.aborted) return resolve();
  const look = () => {
    if (document.hidden && !signal.aborted) return;
    document.removeEventListener("visibilitychange", look);
    resolve();
  };
  document.addEventListener("visibilitychange", look);
  signal.addEventListener("abort", look, {once: true});
});

// Follows a stream until `signal` ends it or `take(event, data)` returns true;
// comes again where it broke off. `onBreak(error)` is told why it broke; what
// it throws ends it.
export async function follow(path, {signal, take, onBreak}) {
  let lastId = "";
  let wait = FIRST_PAUSE_MS;
  let isDone = false;
  while (!signal.aborted && !isDone) {
    await seen(signal);
    const attempt = new AbortController();
    const stop = () => attempt.abort();
    const hide = () => document.hidden && attempt.abort();
    signal.addEventListener("abort", stop);
    document.addEventListener("visibilitychange", hide);
    try {
      const headers = lastId === "" ? {} : {"last-event-id": lastId};
      const response = await request(path, {headers, signal: attempt.signal});
      onBreak(null);
      await readEvents(response, (event, data, id) => {
        if (event === "error") throw new ApiError(data.code, data.message);
        if (id) lastId = id;
        wait = FIRST_PAUSE_MS;
        if (take(event, data)) isDone = true;
      });
      if (!isDone) throw new ApiError("UNAVAILABLE", "the stream broke off");
    } catch (error) {
      if (signal.aborted || isDone) return;
      if (error.name === "AbortError") continue;
      onBreak(error instanceof ApiError
          ? error : new ApiError("UNAVAILABLE", "the stream broke off"));
      await pause(wait, signal);
      wait = Math.min(2 * wait, MOST_PAUSE_MS);
    } finally {
      attempt.abort();
      signal.removeEventListener("abort", stop);
      document.removeEventListener("visibilitychange", hide);
    }
  }
}
