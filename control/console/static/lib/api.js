// The HTTP API, and nothing else of the network. The key is in a header, never in an address.

const TIMEOUT_MS = 15_000;
const SLOW_TIMEOUT_MS = 90_000;

/** The gateway's answer was an error: a problem document. Decide by `code`. */
export class ApiError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.title || `the gateway answered ${status}`);
    this.status = status;
    this.code = problem.code || "";
    this.errors = problem.errors || [];
    this.retryMs = retryAfter ? Number(retryAfter) * 1000 : null;
  }

  /** Whether the same request may do better later. */
  get isPassing() {
    return this.status === 429 || this.status >= 502 || (this.status === 500 && !this.code);
  }
}

/** There was no answer. */
export class Unreachable extends Error {
  constructor() {
    super("The gateway does not answer.");
    this.isPassing = true;
    this.retryMs = null;
  }
}

/** A path below /v1 with its query; what is null or empty is left out. */
export function path(parts, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(kept).toString();
  return `/v1/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

export class Api {
  /** `onRejected` is called when the key opens nothing any more. */
  constructor(key, onRejected) {
    this.key = key;
    this.onRejected = onRejected;
  }

  /** The decoded answer. Throws ApiError, Unreachable, or AbortError when `signal` aborted. */
  async get(where, signal) {
    return (await this.read(where, signal)).data;
  }

  /** The decoded answer and its ETag. */
  async read(where, signal) {
    const response = await this.#fetch("GET", where, { signal });
    return { data: await decode(response), etag: response.headers.get("etag") };
  }

  /** What the gateway answers, or null where it has no such thing or this key may not see it. */
  async find(where, signal) {
    try {
      return await this.get(where, signal);
    } catch (error) {
      if (error instanceof ApiError && [403, 404, 405].includes(error.status)) return null;
      throw error;
    }
  }

  /** Changes something. `once` makes a request that may be sent twice and is done once. */
  async send(method, where, { body, etag, once, signal } = {}) {
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (etag) headers["If-Match"] = etag;
    if (once) headers["Idempotency-Key"] = once;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await this.#fetch(method, where, { headers, body: text, signal, timeout: SLOW_TIMEOUT_MS });
    return { data: await decode(response), etag: response.headers.get("etag"), status: response.status };
  }

  /** A document as it is. */
  async download(where, signal) {
    return (await this.#fetch("GET", where, { signal, timeout: SLOW_TIMEOUT_MS })).blob();
  }

  async #fetch(method, where, { headers = {}, body, signal, timeout = TIMEOUT_MS }) {
    const limits = [AbortSignal.timeout(timeout), ...(signal ? [signal] : [])];
    let response;
    try {
      response = await fetch(where, {
        method,
        body,
        headers: { ...headers, Authorization: `Bearer ${this.key}` },
        signal: AbortSignal.any(limits),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Unreachable();
    }
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    if (response.status === 401) this.onRejected();
    throw new ApiError(response.status, problem, response.headers.get("retry-after"));
  }
}

async function decode(response) {
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch {
    throw new Unreachable();
  }
}

/** A fresh idempotency key. `crypto.randomUUID` is there on secure origins alone. */
export function makeOnce() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
}
