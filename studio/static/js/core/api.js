// Requests to the public API. The page lies at PREFIX/studio/, the API at PREFIX/.

import { S } from "../strings.js";

const RETRIES = 2;
const RETRY_MILLIS = 400;

export const BASE = new URL("..", new URL(location.pathname, location.origin));

/** An answer that says what went wrong, with the API's own words. */
export class ApiError extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? S.errors.unexpected(status));
    this.name = "ApiError";
    this.status = status;
    this.code = body?.error?.code ?? "";
  }
}

/** A client with a function that gives the Authorization header's value, or null before the sign-in. */
export class Api {
  constructor(authorization) {
    this.authorization = authorization;
  }

  /** The response to a request. Throws ApiError for an answer over 399, and for no answer. */
  async request(path, { method = "GET", query, json, body, headers = {}, signal } = {}) {
    const url = address(path, query);
    const authorization = await this.authorization();
    const sent = {
      ...headers,
      ...(authorization ? { Authorization: authorization } : {}),
      ...(json === undefined ? {} : { "Content-Type": "application/json" }),
    };
    const options = { method, headers: sent, body: json === undefined ? body : JSON.stringify(json), signal };
    const response = await answer(url, options, method === "GET" ? RETRIES : 0);
    if (!response.ok) throw await refusal(response);
    return response;
  }

  async get(path, query, signal) {
    return (await this.request(path, { query, signal })).json();
  }

  async post(path, json = {}, signal) {
    return (await this.request(path, { method: "POST", json, signal })).json();
  }

  async patch(path, json) {
    return (await this.request(path, { method: "PATCH", json })).json();
  }

  async delete(path) {
    return (await this.request(path, { method: "DELETE" })).json();
  }

  /** Server-sent events of a path, as `{event, data}`, until the server ends them. Throws ApiError for a key that is no longer valid. */
  async *events(path, signal) {
    const headers = { Accept: "text/event-stream" };
    for (let tokenEnded = true; tokenEnded; ) {
      tokenEnded = false;
      const response = await this.request(path, { headers, signal });
      for await (const block of lines(response.body, "\n\n")) {
        const fields = block.split("\n").filter((line) => !line.startsWith(":")).map((line) => /^(\w+): ?(.*)$/s.exec(line));
        const named = Object.fromEntries(fields.filter(Boolean).map(([, name, value]) => [name, value]));
        if (named.id) headers["Last-Event-ID"] = named.id;
        if (!named.data) continue;
        const data = JSON.parse(named.data);
        tokenEnded = named.event === "error" && data.error.code === "token_ended";
        if (tokenEnded) break; // the next request has another token
        if (named.event === "error") throw new ApiError(401, data);
        yield { event: named.event ?? "message", data };
      }
    }
  }

  /** Sends a body and reports how much of it has gone. `fetch` can't do that. */
  async upload(path, { query, body, contentType, onProgress, signal }) {
    const url = address(path, query);
    const authorization = await this.authorization();
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", url);
      request.responseType = "json";
      request.setRequestHeader("Authorization", authorization);
      request.setRequestHeader("Content-Type", contentType);
      request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
      request.onload = () => (request.status < 400 ? resolve(request.response) : reject(new ApiError(request.status, request.response)));
      request.onerror = () => reject(new ApiError(0, { error: { message: S.errors.unreachable } }));
      request.onabort = () => reject(new DOMException("", "AbortError"));
      signal.addEventListener("abort", () => request.abort());
      request.send(body);
    });
  }

  /** A WebSocket's address at a path of the API. */
  socketUrl(path) {
    const url = new URL(path, BASE);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url;
  }
}

/** A signed link as an address of our own origin; links of a bucket stay as they are. */
export function localUrl(url) {
  if (!url) return null;
  const parsed = new URL(url, BASE);
  const at = parsed.pathname.indexOf("/objects/");
  return at < 0 ? url : new URL(`.${parsed.pathname.slice(at)}${parsed.search}`, BASE).href;
}

/** An address of the API. Parameters without a value are left out; those with several are repeated. */
function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    const values = Array.isArray(value) ? value : [value];
    for (const one of values) if (one !== undefined && one !== null && one !== "") url.searchParams.append(name, one);
  }
  return url;
}

/** The response of a server. What changes nothing is asked again, as a device that goes to another network loses its requests. */
async function answer(url, options, retries) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!retries) throw new ApiError(0, { error: { message: S.errors.unreachable } });
  }
  await new Promise((resolve) => setTimeout(resolve, RETRY_MILLIS));
  return answer(url, options, retries - 1);
}

async function refusal(response) {
  try {
    return new ApiError(response.status, await response.json());
  } catch {
    return new ApiError(response.status, null);
  }
}

async function* lines(body, separator) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(separator);
    rest = parts.pop();
    yield* parts;
  }
}
