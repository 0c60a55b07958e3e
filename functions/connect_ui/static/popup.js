// The popup flow: open a window, wait for the WebSocket's first frame, send the window on its
// way, and wait for the result on the same socket.

import { ApiFailure, apiBase, socketUrl } from './api.js';
import { say } from './texts.js';

const ACK_WAIT = 20_000;
const LATE = 4_000;

function openWindow() {
  const width = 500;
  const height = 640;
  const left = Math.max(0, window.screenX + (window.outerWidth - width) / 2);
  const top = Math.max(0, window.screenY + (window.outerHeight - height) / 2);
  const features = `left=${left},top=${top},width=${width},height=${height},`
    + 'scrollbars=yes,resizable=yes,status=no,toolbar=no,location=no,menubar=no';
  const opened = window.open('', '_blank', features);
  if (!opened || opened.closed) return null;
  try {
    opened.document.title = say('windowTitle');
    opened.document.body.textContent = say('windowTitle');
  } catch { /* only a courtesy */ }
  return opened;
}

/** One attempt. `window.open` runs at once, inside the click. */
export class Attempt {
  /**
   * `authorizeUrl(socketId)` gives the window's first address. `done(result)` and
   * `failed(error)` are called at most once together; `closed()` when the window is gone
   * although no result came (it may still come: some sign-in pages hide the window from us).
   */
  constructor({ websocketsPath, authorizeUrl, done, failed, closed }) {
    this.callbacks = { done, failed, closed };
    this.over = false;
    this.onMessage = this.onMessage.bind(this);
    this.popup = openWindow();
    if (!this.popup) {
      this.fail(new ApiFailure('blocked_by_browser', say('blockedHint')));
      return;
    }
    window.addEventListener('message', this.onMessage);
    this.poll = setInterval(() => this.look(), 500);
    this.ackTimer = setTimeout(() => this.lost(), ACK_WAIT);
    try {
      this.socket = new WebSocket(socketUrl(websocketsPath));
    } catch {
      this.lost();
      return;
    }
    this.socket.onmessage = (event) => this.onFrame(event, authorizeUrl);
    // Once the window is on its way, a lost socket must not take it from under somebody's hands.
    this.socket.onclose = () => { if (!this.started) this.lost(); };
  }

  onFrame(event, authorizeUrl) {
    let frame;
    try {
      frame = JSON.parse(event.data);
    } catch {
      return;
    }
    if (frame.message_type === 'connection_ack' && !this.started) {
      this.started = true;
      clearTimeout(this.ackTimer);
      this.popup.location.replace(authorizeUrl(frame.ws_client_id).href);
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

  // What the callback page says: it lets us close the window, and stands in for a lost socket.
  onMessage(event) {
    if (event.origin !== apiBase.origin || event.source !== this.popup) return;
    const type = event.data && event.data.type;
    if (type === 'nango_oauth_callback_success') {
      this.acknowledge();
      this.reported = true;
      this.lateTimer = setTimeout(() => this.lost(), LATE);
    } else if (type === 'nango_oauth_callback_error') {
      const { message, errorType } = event.data.payload || {};
      this.acknowledge();
      this.reported = true;
      this.lateTimer = setTimeout(() => {
        this.fail(new ApiFailure(errorType || 'unknown_err', readable(message)));
      }, 300);
    }
  }

  acknowledge() {
    try {
      this.popup.postMessage({ type: 'nango_oauth_callback_ack' }, apiBase.origin);
    } catch { /* already gone */ }
  }

  look() {
    if (!this.over && !this.reported && this.popup.closed) {
      clearInterval(this.poll);
      this.callbacks.closed();
    }
  }

  lost() {
    this.fail(new ApiFailure('network_error', ''));
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
    clearInterval(this.poll);
    clearTimeout(this.ackTimer);
    clearTimeout(this.lateTimer);
    window.removeEventListener('message', this.onMessage);
    if (this.socket) this.socket.close();
    const { popup } = this;
    if (popup) setTimeout(() => { if (!popup.closed) popup.close(); }, wait);
  }
}

/** A provider's error may come as JSON of its query; return the part a person can read. */
export function readable(message) {
  try {
    const told = JSON.parse(message);
    return told.error_description || told.error_message || told.error_reason || told.error
      || message;
  } catch {
    return message || '';
  }
}
