// Calls to the API this page was served by, and to no other: `apiURL` in the address is ignored.

/** The API's own address, with a trailing slash: the page lives at <api>/ui/connect/. */
export const apiBase = new URL(
  window.location.pathname.replace(/ui\/connect(\/[^/]*)?\/?$/, ''),
  window.location.origin,
);

/** An answer that was not a success. `code` is the API's own, or `network_error`. */
export class ApiFailure extends Error {
  constructor(code, message, status = 0) {
    super(message || code);
    this.code = code;
    this.status = status;
  }
}

/** Return an address of the API. `path` begins without a slash. */
export function apiUrl(path, query = {}) {
  const url = new URL(path, apiBase);
  for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
  return url;
}

/** The address of the WebSocket: the session's path against the API, as the clients resolve it. */
export function socketUrl(websocketsPath) {
  const path = websocketsPath || '/';
  const elsewhere = path.startsWith('//') || /^(https?|wss?):/.test(path);
  const below = apiBase.pathname.replace(/\/$/, '') + (path.startsWith('/') ? path : `/${path}`);
  const url = new URL(elsewhere ? path : below, apiBase);
  if (url.protocol.startsWith('ws')) return url;
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url;
}

// API Gateway answers within 30 s.
const LONGEST_WAIT = 40_000;
// As the API takes them beside the last one.
const MOST_NOTES = 20;

async function call(url, options = {}) {
  let response;
  try {
    response = await fetch(url, {
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
      signal: AbortSignal.timeout?.(LONGEST_WAIT),
      ...options,
    });
  } catch {
    throw new ApiFailure('network_error', '');
  }
  let body = null;
  try {
    body = await response.json();
  } catch { /* judged below */ }
  if (!response.ok || !body || body.error) {
    const error = (body && body.error) || {};
    const failure = new ApiFailure(error.code || 'unknown_error', error.message || '',
      response.status);
    if (typeof error.payload === 'string') failure.reference = error.payload;
    throw failure;
  }
  return body;
}

const inLanguage = (lang) => (lang ? { 'accept-language': lang } : {});

/** One visitor's session. */
export class Session {
  #token;
  #notes = [];

  constructor(token) {
    this.#token = token;
  }

  async #get(path, headers = {}) {
    const body = await call(apiUrl(path), {
      headers: { ...headers, authorization: `Bearer ${this.#token}` },
    });
    return body.data;
  }

  /** The session's description, and all that its page begins with, in one answer. */
  open(lang) { return this.#get('connect/session?include=page', inLanguage(lang)); }

  /** How the latest attempt went: `{status, connection_id?, code?, changed_at?, log_id}`. */
  status() { return this.#get('connect/session/status'); }

  /** The definition of a provider, texts in `lang` where there are any. */
  provider(name, lang) {
    return this.#get(`providers/${encodeURIComponent(name)}`, inLanguage(lang));
  }

  #query(params) {
    const query = { connect_session_token: this.#token };
    for (const [key, value] of Object.entries(params)) query[`params[${key}]`] = value;
    return query;
  }

  /** Hand in credentials; the result is `{connectionId, providerConfigKey}`. */
  submit(path, key, params, body) {
    return call(apiUrl(`${path}/${encodeURIComponent(key)}`, this.#query(params)), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }

  /** Where the popup begins; without a socket's id, the status tells how it ended. */
  authorizeUrl(key, params, credentials, socketId) {
    const query = this.#query(params);
    for (const [name, value] of Object.entries(credentials)) query[`credentials[${name}]`] = value;
    if (socketId) query.ws_client_id = socketId;
    return apiUrl(`oauth/connect/${encodeURIComponent(key)}`, query);
  }

  /** Note what the visitor did; it goes out with the next `tell`. */
  note(event, integration) {
    const note = { event, timestamp: new Date().toISOString() };
    if (integration) note.dimensions = { integration };
    this.#notes.push(note);
    if (this.#notes.length > MOST_NOTES) this.tell();
  }

  /** Tell the API what was noted, in one request; never waits, never fails. */
  tell() {
    const earlier = this.#notes.splice(0);
    const last = earlier.pop();
    if (!last) return;
    const body = { ...last, token: this.#token };
    if (earlier.length) body.earlier = earlier;
    try {
      const blob = new Blob([JSON.stringify(body)], { type: 'application/json' });
      navigator.sendBeacon(apiUrl('connect/telemetry'), blob);
    } catch { /* what is not counted is not missed */ }
  }
}
