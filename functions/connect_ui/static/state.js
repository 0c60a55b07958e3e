// What the page knows, and the way that led to the screen that is shown.

import { embedded, tell } from './host.js';
import { Journey } from './journey.js';
import { say } from './texts.js';
import { ask, isAsking } from './views.js';

export const state = {
  token: '', from: null, session: null, info: null, integrations: [], providers: new Map(),
  chosen: null, provider: null, typed: new Map(), problem: null, attempt: null, sent: null,
  known: null, search: '', round: 0, keepAttempt: false,
};

export const journey = new Journey();

/** The history entry of a screen: all that a reload needs. Nothing that was typed is in it. */
export function entry(screen, more = {}) {
  return { token: state.token, from: state.from, screen, ...more };
}

/** Choose the integration of a unique key; null when the session has none of it. */
export function choose(key) {
  state.chosen = state.integrations.find((one) => one.unique_key === key) || null;
  return state.chosen;
}

/** The name people know the chosen integration by. */
export function nameOf(integration = state.chosen) {
  return integration?.display_name || integration?.unique_key || '';
}

// What somebody may want to see in the log at once, and what nothing may come after. All else goes
// out together, so that no request stands between a visitor and the provider's page.
const AT_ONCE = /^(view:(success|unknown_error|credentials_error)|popup:.*|click:(close|finish|outside))$/;

/** Note what the visitor did, for the API. */
export function report(event) {
  if (!event || !state.session) return;
  state.session.note(event, state.chosen?.unique_key);
  if (AT_ONCE.test(event)) state.session.tell();
}

/**
 * Return, in time, the session's outcome before the attempt that comes next: what is known from
 * the opening of the page, or is asked for because an attempt was made meanwhile.
 */
export function outcomeKnown() {
  state.known ||= state.session.status().catch(() => undefined);
  return state.known;
}

/** The id of the session's operation in the activity log, for whoever opens the details. */
export async function logId() {
  try {
    return (await state.session.status()).log_id || '';
  } catch {
    return '';
  }
}

/** Give up the attempt that is under way; its window closes. */
export function dropAttempt() {
  state.attempt?.stop();
  state.attempt = null;
}

/** What was typed for the chosen integration, by field id; it lives in memory only. */
export function typed() {
  const key = state.chosen.unique_key;
  if (!state.typed.has(key)) state.typed.set(key, {});
  return state.typed.get(key);
}

/** Whether somebody would lose what they typed. */
export function hasTyped() {
  return [...state.typed.values()].some((kept) => Object.values(kept).some((text) => text.trim()));
}

/** Close the page. */
export function closePage(event = 'click:close') {
  report(event);
  dropAttempt();
  tell('close');
  if (!embedded) window.close();
}

/** Close, but not over the head of somebody who has typed something. */
export async function leave(event) {
  if (isAsking()) return;
  if (hasTyped()) {
    const sure = await ask({
      title: say('leaveTitle'), text: say('leaveHint'), yes: say('leaveYes'), no: say('leaveNo'),
    });
    if (!sure) return;
  }
  closePage(event);
}
