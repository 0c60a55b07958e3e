// The way through the screens: one entry of the browser's history for each, so that Back, Forward
// and a reload lead where people expect. In a frame the history is the host's; there the way is
// kept in memory.

import { embedded } from './host.js';

export class Journey {
  #way = [];
  #show;

  /** `show(entry)` draws the screen of an entry that was gone back or forward to. */
  onShow(show) {
    this.#show = show;
    if (!embedded) window.addEventListener('popstate', (event) => show(event.state));
  }

  /** The entry that is shown. */
  get here() {
    return embedded ? this.#way[this.#way.length - 1] ?? null : window.history.state;
  }

  /** Go on to another screen. */
  push(entry) {
    if (embedded) this.#way.push(entry);
    else window.history.pushState(entry, '');
  }

  /** Let this screen take the place of the one that is shown. */
  replace(entry) {
    if (embedded) this.#way.splice(-1, 1, entry);
    else window.history.replaceState(entry, '');
  }

  /** Go back to the screen before; it is drawn by `show`. */
  back() {
    if (embedded) {
      this.#way.pop();
      this.#show(this.here);
    } else {
      window.history.back();
    }
  }
}
