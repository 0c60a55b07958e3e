// From "Connect" to its outcome: hand in what was typed, or go through the popup.

import { ApiFailure } from './api.js';
import { explain, hasDeclined, hasEnded } from './errors.js';
import { fieldsOf, connectOf, request } from './form.js';
import { query, tell, tellError } from './host.js';
import { Attempt, Watch } from './popup.js';
import { above, drawDeclined, drawDone, drawForm, ended, toForm } from './screens.js';
import { dropAttempt, entry, journey, nameOf, outcomeKnown, report, state } from './state.js';
import { say } from './texts.js';
import { showBusy, showWaiting } from './views.js';

const wantsClosed = query.get('detectClosedAuthWindow') === 'true';

/** Connect the chosen integration with the values of its form, by field id. */
export function submit(values, automatic = false) {
  if (automatic !== true) report('click:connect');
  const mode = connectOf(state.provider);
  const sent = request(fieldsOf(state.provider, state.chosen, state.info), values);
  state.sent = { key: state.chosen.unique_key, ...sent };
  if (mode.way === 'popup') authorize(automatic === true);
  else hand(mode, sent);
}

async function hand(mode, sent) {
  const { round, session, chosen } = state;
  const current = () => round === state.round && state.chosen === chosen;
  showBusy(above());
  // Asked for when the form was drawn: beside the submission it would be too late to tell old
  // outcomes from new ones. Whoever types faster than the API answers goes without.
  const before = await Promise.race([state.known, undefined]);
  state.known = null;
  try {
    const body = mode.fields.length ? sent.credentials : undefined;
    const made = await session.submit(mode.path, chosen.unique_key, sent.params, body);
    if (current()) succeed(made);
  } catch (error) {
    // An answer that was lost on its way is no failure yet: the session knows what became of it.
    const lost = error.code === 'network_error' || error.status >= 500;
    const made = lost && before ? await outcomeSince(session, before.changed_at) : null;
    if (!current()) return;
    if (made) succeed(made);
    else failed(error);
  }
}

/** Return what was connected since a moment, or null. */
async function outcomeSince(session, before) {
  try {
    const status = await session.status();
    return status.status === 'connected' && status.changed_at !== before ? madeOf(status) : null;
  } catch {
    return null;
  }
}

function madeOf(status) {
  return {
    connectionId: status.connection_id,
    providerConfigKey: status.provider_config_key,
    isPending: status.is_pending === true,
  };
}

function authorize(automatic) {
  const { session, round, chosen, sent } = state;
  const current = () => round === state.round && state.attempt === attempt;
  let attempt = null;
  let early = null;
  dropAttempt();
  const known = outcomeKnown();
  state.known = null;
  attempt = new Attempt({
    session,
    known,
    name: nameOf(),
    websocketsPath: state.info.websocketsPath,
    authorizeUrl: (socketId) => session.authorizeUrl(
      chosen.unique_key, sent.params, sent.credentials, socketId),
    done: (result) => { if (current()) succeed(result); },
    failed: (error) => {
      if (!attempt) early = error;
      else if (current()) failed(error);
    },
    closed: () => { if (current()) gone(); },
  });
  state.attempt = attempt;
  if (early && automatic && early.code === 'blocked_by_browser') {
    // Nobody clicked here yet.
    drawForm();
  } else if (early) {
    failed(early);
  } else {
    wait();
  }
}

function wait() {
  const { attempt } = state;
  const retried = journey.here?.screen === 'declined';
  const after = retried ? journey.here.after : 'form';
  const at = entry('waiting', { key: state.chosen.unique_key, after });
  if (retried) journey.replace(at);
  else journey.push(at);
  // A reload must not take an outcome that was known before for that of this attempt.
  attempt.before.then(() => {
    if (state.attempt === attempt && journey.here?.screen === 'waiting') {
      journey.replace({ ...journey.here, before: attempt.watch.before });
    }
  });
  showWaiting(above(), {
    name: nameOf(),
    onFocus: () => (attempt.popup.closed ? gone() : attempt.focus()),
    onCancel: () => backToForm(null),
  });
}

/** The page was reloaded while a window was open: the window is out of reach, its outcome is not. */
export function resume(at) {
  const { round } = state;
  const watch = new Watch(state.session, at.before ?? null, (status) => {
    if (round !== state.round || state.attempt !== watch) return;
    if (status.status === 'connected') succeed(madeOf(status));
    else failed(new ApiFailure(status.code, status.message || ''));
  });
  state.attempt = watch;
  showWaiting(above(), { name: nameOf(), onCancel: () => backToForm(null) });
  watch.start();
}

/** Open the window once more, inside the click; a reloaded page asks for what it has forgotten. */
export function again() {
  if (state.provider && state.sent?.key === state.chosen.unique_key) {
    authorize(false);
  } else {
    journey.replace(entry('form', { key: state.chosen.unique_key }));
    toForm();
  }
}

/** Show the form, with what went wrong; by going back where it is the screen before. */
function backToForm(problem) {
  state.problem = problem;
  const { screen, after } = journey.here || {};
  if (['waiting', 'declined'].includes(screen) && after === 'form') journey.back();
  else toForm();
}

// The window is gone, or hides from us. Whoever asked to be told is told; a late result counts.
function gone() {
  report('popup:closed_early');
  const error = new ApiFailure('window_closed', say('closedHint'));
  if (wantsClosed) tellError(error);
  state.keepAttempt = true;
  backToForm(explain(error, nameOf()));
}

function succeed(made) {
  const pending = made.isPending === true;
  const payload = {
    providerConfigKey: made.providerConfigKey || state.chosen.unique_key,
    connectionId: made.connectionId,
  };
  if (made.isPending !== undefined) payload.isPending = made.isPending;
  tell('connect', payload);
  report('view:success');
  state.typed.clear();
  const done = entry('done', { key: state.chosen.unique_key, name: nameOf(), pending });
  if (journey.here?.screen === 'waiting') journey.replace(done);
  else journey.push(done);
  drawDone(done);
}

const REPORTS = {
  blocked_by_browser: 'popup:blocked_by_browser',
  connection_test_failed: 'view:credentials_error',
  invalid_credentials: 'view:credentials_error',
  network_error: '',
};

function failed(error) {
  tellError(error);
  if (hasEnded(error)) {
    ended(error);
  } else if (hasDeclined(error)) {
    const at = entry('declined', {
      key: state.chosen.unique_key, after: journey.here?.after, said: error.message,
    });
    journey.replace(at);
    drawDeclined(at);
  } else {
    report(REPORTS[error.code] ?? 'view:unknown_error');
    backToForm(explain(error, nameOf()));
  }
}
