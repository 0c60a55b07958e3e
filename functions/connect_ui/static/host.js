// The page around this one: who embeds or opened it, what it is told, which scheme it has, and what
// our own address asks for.

/** What the address asks for. */
export const query = new URLSearchParams(window.location.search);

/** The language it asks for, as HTTP names it, or ''. */
export const lang = /^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$/.test(query.get('lang') || '')
  ? query.get('lang').replaceAll('_', '-') : '';

/** Whether this page stands in a frame of another. */
export const embedded = window.parent !== window;

/** Tell the page that embeds us. */
export function tell(type, payload) {
  if (embedded) window.parent.postMessage(payload ? { type, payload } : { type }, '*');
}

/** Tell the page that embeds us of an error. */
export function tellError(error) {
  tell('error', { errorType: error.code, errorMessage: error.message || error.code });
}

function hostOf(address) {
  try {
    const url = new URL(address);
    return ['https:', 'http:'].includes(url.protocol) ? url.host : '';
  } catch {
    return '';
  }
}

/**
 * Return who asks, as the browser tells it and nobody else can: `{way, site, outer}`.
 *
 * `way` is `frame` or `link`; `site` the host of the page that embeds this one or led here, empty
 * when it hides; `outer` the host of the tab when that is a third one. `speaker` is the origin of
 * the message that brought the session token, where there was one.
 */
export function whoAsks(speaker = '') {
  if (!embedded) return { way: 'link', site: hostOf(document.referrer), outer: '' };
  const chain = [...(window.location.ancestorOrigins || [])];
  const site = hostOf(speaker || chain[0] || document.referrer);
  const top = hostOf(chain[chain.length - 1] || '');
  return { way: 'frame', site, outer: top && top !== site ? top : '' };
}

/**
 * Return the scheme that this document needs for the page around it to show through.
 *
 * A frame whose scheme its host has not is painted on an opaque sheet. The host's scheme can be
 * read on our own origin only. A page of another origin that names none looks the same to us as a
 * dark one, on a dark system; `light` is what every page has that names no scheme.
 */
export function schemeAround() {
  try {
    const frame = window.frameElement;
    const around = frame && window.parent.getComputedStyle(frame).colorScheme;
    if (around && around !== 'normal') return around;
    const named = frame?.ownerDocument.querySelector('meta[name="color-scheme"]')?.content;
    if (named) return named;
  } catch {
    // A page of another origin does not tell.
  }
  return 'light';
}
