// The way through the screens: one entry of the browser's history for each, so that Back, Forward
// and a reload lead where people expect. In a frame the history is the host's, and the way is kept
// in memory; a frame that was given a link still notes where it is, for when it is restored.

import { embedded } from './host.js';

export class Journey {
  #way = [];
  #show;
  #noted = false;

  /** `show(entry)` draws the screen of an entry that was gone back or forward to. */
  onShow(show) {
    this.#show = show;
    if (!embedded) window.addEventListener('popstate', (event) => show(event.state));
  }

  /** Let a frame note its entry, because it has its token from a link and from nobody else. */
  note() {
    this.#noted = true;
  }

  /** Forget the way of a session that another one takes the place of. */
  reset() {
    this.#way = [];
  }

  /** The entry that is shown. */
  get here() {
    return embedded ? this.#way[this.#way.length - 1] ?? null : window.history.state;
  }

  /** Go on to another screen. */
  push(entry) {
    if (!embedded) {
      window.history.pushState(entry, '');
      return;
    }
    this.#way.push(entry);
    this.#keep();
  }

  /** Let this screen take the place of the one that is shown. */
  replace(entry) {
    if (!embedded) {
      window.history.replaceState(entry, '');
      return;
    }
    this.#way.splice(-1, 1, entry);
    this.#keep();
  }

  /** Go back to the screen before; it is drawn by `show`. */
  back() {
    if (!embedded) {
      window.history.back();
      return;
    }
    this.#way.pop();
    this.#keep();
    this.#show(this.here);
  }

  #keep() {
    if (this.#noted && this.here) window.history.replaceState({ ...this.here, after: '' }, '');
  }
}
