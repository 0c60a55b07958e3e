// The popup flow: open a window, wait for the WebSocket's first frame, send the window on its way,
// and wait for the result on the same socket. Where the socket is blocked or lost, the session's
// status tells the result instead.

import { ApiFailure, apiBase, socketUrl } from './api.js';
import { say } from './texts.js';
import { interim } from './views.js';

// For the socket's first frame.
const PATIENCE = 3_000;
// Between two questions for the status.
const EVERY = 2_000;
// For a frame, once the window has said how it ended.
const LATE = 1_500;

function openWindow(name) {
  const width = 500;
  const height = 640;
  const left = Math.max(0, window.screenX + (window.outerWidth - width) / 2);
  const top = Math.max(0, window.screenY + (window.outerHeight - height) / 2);
  const features = `left=${left},top=${top},width=${width},height=${height},`
    + 'scrollbars=yes,resizable=yes,status=no,toolbar=no,location=no,menubar=no';
  const opened = window.open('', '_blank', features);
  if (!opened || opened.closed) return null;
  try {
    interim(opened.document, name);
  } catch { /* only a courtesy */ }
  return opened;
}

/** Asks for the session's status until it tells of an outcome that was not known before. */
export class Watch {
  #timer = null;
  #over = false;

  /** `told(status)` is called once; `before` is the moment of an outcome known already. */
  constructor(session, before, told) {
    Object.assign(this, { session, before, told });
  }

  /** Ask now, and then every two seconds. */
  start() {
    if (!this.#timer && !this.#over) this.#timer = setInterval(() => this.ask(), EVERY);
    return this.ask();
  }

  /** Ask once; return whether there is an outcome, or null when nobody answered. */
  async ask() {
    let status;
    try {
      status = await this.session.status();
    } catch (error) {
      if (error.status === 401 && !this.#over) {
        this.stop();
        this.told({ status: 'failed', code: error.code, message: error.message });
      }
      return null;
    }
    if (this.#over) return true;
    const known = !status.changed_at || status.changed_at === this.before;
    if (known || status.status === 'pending') return false;
    this.stop();
    this.told(status);
    return true;
  }

  stop() {
    this.#over = true;
    clearInterval(this.#timer);
  }
}

/** One attempt. `window.open` runs at once, inside the click. */
export class Attempt {
  /**
   * `known` is, in time, the session's outcome before this attempt, or undefined.
   * `authorizeUrl(socketId)` gives the window's first address. `done(result)` and
   * `failed(error)` are called at most once together; `closed()` when the window is gone
   * although no result came (it may still come: some sign-in pages hide the window from us).
   */
  constructor({ session, known, websocketsPath, authorizeUrl, name, done, failed, closed }) {
    this.callbacks = { done, failed, closed };
    this.authorizeUrl = authorizeUrl;
    this.over = false;
    this.onMessage = this.onMessage.bind(this);
    this.popup = openWindow(name);
    if (!this.popup) {
      this.fail(new ApiFailure('blocked_by_browser', say('blockedHint')));
      return;
    }
    this.watch = new Watch(session, null, (status) => this.outcome(status));
    this.before = known.then((status) => { this.watch.before = status?.changed_at; });
    window.addEventListener('message', this.onMessage);
    this.poll = setInterval(() => this.look(), 500);
    this.patience = setTimeout(() => this.goAlone(), PATIENCE);
    try {
      this.socket = new WebSocket(socketUrl(websocketsPath));
    } catch {
      this.goAlone();
      return;
    }
    this.socket.onmessage = (event) => this.onFrame(event);
    this.socket.onclose = () => {
      // Once the window is on its way, a lost socket must not take it from under somebody's hands.
      if (this.started) this.watch.start();
      else this.goAlone();
    };
  }

  onFrame(event) {
    let frame;
    try {
      frame = JSON.parse(event.data);
    } catch {
      return;
    }
    if (frame.message_type === 'connection_ack') {
      this.send(frame.ws_client_id);
    } else if (frame.message_type === 'success') {
      this.finish(() => this.callbacks.done({
        providerConfigKey: frame.provider_config_key,
        connectionId: frame.connection_id,
        isPending: Boolean(frame.is_pending),
      }));
    } else if (frame.message_type === 'error') {
      this.fail(new ApiFailure(frame.error_type || 'unknown_err', frame.error_desc || ''));
    }
  }

  /** Send the window to the provider; false when it is on its way already. */
  send(socketId) {
    if (this.started || this.over) return false;
    this.started = true;
    clearTimeout(this.patience);
    this.popup.location.replace(this.authorizeUrl(socketId).href);
    return true;
  }

  /** Go on without the socket, which is blocked or silent. */
  async goAlone() {
    if (this.started || this.over || this.alone) return;
    this.alone = true;
    clearTimeout(this.patience);
    // What is known now is no outcome of this attempt; but nobody waits for that for long.
    await Promise.race([this.before, new Promise((go) => { setTimeout(go, PATIENCE); })]);
    if (!this.send('')) return;
    this.socket?.close();
    this.watch.start();
  }

  /** Take the status for an outcome. */
  outcome(status) {
    if (status.status === 'connected') {
      this.finish(() => this.callbacks.done({
        providerConfigKey: status.provider_config_key,
        connectionId: status.connection_id,
        isPending: Boolean(status.is_pending),
      }));
    } else {
      this.fail(new ApiFailure(status.code || 'unknown_err', status.message || ''));
    }
  }

  // What the callback page says: it lets us close the window, and stands in for a lost socket.
  onMessage(event) {
    if (event.origin !== apiBase.origin || event.source !== this.popup) return;
    const type = event.data && event.data.type;
    if (type === 'nango_oauth_callback_success') {
      this.acknowledge();
      this.reported = true;
      this.late = setTimeout(() => this.watch.start(), this.alone ? 0 : LATE);
    } else if (type === 'nango_oauth_callback_error') {
      const { message, errorType } = event.data.payload || {};
      this.acknowledge();
      this.reported = true;
      this.late = setTimeout(() => {
        this.fail(new ApiFailure(errorType || 'unknown_err', String(message || '')));
      }, 300);
    }
  }

  acknowledge() {
    try {
      this.popup.postMessage({ type: 'nango_oauth_callback_ack' }, apiBase.origin);
    } catch { /* already gone */ }
  }

  async look() {
    if (this.over || this.reported || !this.popup.closed) return;
    clearInterval(this.poll);
    // It may have ended well, and only nobody could say so.
    if (this.started && await this.watch.ask()) return;
    if (!this.over) this.callbacks.closed();
  }

  focus() {
    try { this.popup.focus(); } catch { /* gone */ }
  }

  fail(error) {
    this.finish(() => this.callbacks.failed(error));
  }

  finish(tell) {
    if (this.over) return;
    this.stop(500);
    tell();
  }

  /** Give up: nothing is called back after this. */
  stop(wait = 0) {
    this.over = true;
    this.watch?.stop();
    clearInterval(this.poll);
    clearTimeout(this.patience);
    clearTimeout(this.late);
    window.removeEventListener('message', this.onMessage);
    if (this.socket) this.socket.close();
    const { popup } = this;
    if (popup) setTimeout(() => { if (!popup.closed) popup.close(); }, wait);
  }
}
