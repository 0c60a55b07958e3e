// The page's life: get a session token, find out what it allows, show the screen that is due.

import { ApiFailure, Session } from './api.js';
import { resume } from './connecting.js';
import { explain } from './errors.js';
import { embedded, lang, query, tell, tellError, whoAsks } from './host.js';
import { paint } from './looks.js';
import { above, drawDeclined, drawDone, drawList, ended, stuck, toForm } from './screens.js';
import {
  choose, dropAttempt, entry, hasTyped, journey, leave, report, state,
} from './state.js';
import { say } from './texts.js';
import { isAsking, keepFocusInside, showLoading, showOutcome } from './views.js';

const TOKEN = /^nango_connect_session_[a-f0-9]{64}$/;
const TOKEN_WAIT = 10_000;

/** Draw the screen of a history entry: somebody went back or forward, or reloaded the page. */
function show(at) {
  // A window that only looks closed may still end well, so its attempt outlives its screen.
  if (!state.keepAttempt) dropAttempt();
  state.keepAttempt = false;
  if (!TOKEN.test(at?.token)) {
    showOutcome(above(), { kind: 'bad', title: say('noTokenTitle'), text: say('noTokenHint') });
  } else if (at.token !== state.token || !state.info) {
    begin(at.token, at);
  } else if (at.screen === 'done') {
    drawDone(at);
  } else if (at.screen === 'declined' && choose(at.key)) {
    drawDeclined(at);
  } else if (['form', 'waiting'].includes(at.screen) && choose(at.key)) {
    if (at.screen === 'waiting') journey.replace({ ...at, screen: 'form', after: '' });
    toForm();
  } else {
    drawList();
  }
}

async function begin(token, at = null) {
  state.round += 1;
  const { round } = state;
  dropAttempt();
  state.session?.tell();
  Object.assign(state, {
    token, session: new Session(token), info: null, chosen: null, typed: new Map(), problem: null,
  });
  state.from = at?.from || state.from || whoAsks();
  journey.replace({ ...at, token, from: state.from });
  // The session may be over by now; what was made is not.
  const done = at?.screen === 'done';
  if (done) drawDone(at);
  else showLoading(above(), () => begin(token, at));
  try {
    const info = await state.session.open(lang);
    if (round !== state.round) return;
    state.info = info;
    state.integrations = info.integrations.filter((one) => one.connectable !== false);
    state.providers = new Map(Object.entries(info.providers));
    state.known = Promise.resolve(info.status);
  } catch (error) {
    if (round === state.round && !done) stuck(error, () => begin(token, at));
    return;
  }
  paint(state.info.connectUISettings);
  if (done) return;
  report('open');
  if (at?.screen === 'waiting' && choose(at.key)) resume(at);
  else if (at?.screen) show(at);
  else first();
}

function first() {
  if (state.integrations.length === 1 && state.info.allowed_integrations?.length === 1) {
    const key = state.integrations[0].unique_key;
    journey.replace(entry('form', { key }));
    choose(key);
    toForm();
  } else {
    journey.replace(entry('list'));
    drawList();
  }
}

let waiting = null;

function receive(token, at) {
  clearTimeout(waiting);
  if (TOKEN.test(token)) {
    begin(token, at);
    return;
  }
  const error = new ApiFailure('invalid_connect_session_token_format', say('expiredHint'));
  tellError(error);
  ended(error);
}

function start() {
  const linkToken = query.get('session_token');
  const held = window.history.state;
  if (linkToken !== null) {
    // The token leaves the address bar and every later Referer at once. What stays is in the
    // history entry, which only pages of our own origin in this tab can read.
    query.delete('session_token');
    const rest = query.toString();
    window.history.replaceState(null, '', window.location.pathname + (rest ? `?${rest}` : ''));
    journey.note();
    receive(linkToken, null);
  } else if (!embedded || TOKEN.test(held?.token)) {
    journey.note();
    show(held);
  } else {
    showLoading(above());
    waiting = setTimeout(() => {
      const error = new ApiFailure('missing_session_token', say('lateHint'));
      tellError(error);
      showOutcome(above(), { kind: 'bad', ...explain(error, '') });
    }, TOKEN_WAIT);
  }
}

paint();
journey.onShow(show);
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || !embedded || event.defaultPrevented || isAsking()) return;
  // The same key would close the question that it opens.
  event.preventDefault();
  leave('click:close');
});
document.getElementById('backdrop').addEventListener('mousedown', (event) => {
  if (embedded && event.target === event.currentTarget) leave('click:outside');
});
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'hidden') state.session?.tell();
});
window.addEventListener('pagehide', () => state.session?.tell());
window.addEventListener('beforeunload', (event) => {
  if (!embedded && hasTyped() && navigator.userActivation?.hasBeenActive) event.preventDefault();
});
if (embedded) {
  keepFocusInside();
  window.addEventListener('message', (event) => {
    if (event.source !== window.parent || event.data?.type !== 'session_token') return;
    if (typeof event.data.sessionToken !== 'string') return;
    state.from = whoAsks(event.origin);
    journey.reset();
    receive(event.data.sessionToken, null);
  });
}
start();
tell('ready');
