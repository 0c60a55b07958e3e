// The page's life: get a session token, show what may be connected, connect it, say how it went.

import { ApiFailure, Session } from './api.js';
import { fieldsOf, modeOf, request } from './form.js';
import { Attempt, readable } from './popup.js';
import { say } from './texts.js';
import { announce, showForm, showList, showLoading, showOutcome, showWaiting } from './views.js';

const TOKEN = /^nango_connect_session_[a-f0-9]{64}$/;
const TOKEN_WAIT = 10_000;
const embedded = window.parent !== window;

const query = new URLSearchParams(window.location.search);
const linkToken = query.get('session_token');
if (linkToken !== null) {
  // The token leaves the address bar, the history and every later Referer at once.
  query.delete('session_token');
  const rest = query.toString();
  history.replaceState(null, '', window.location.pathname + (rest ? `?${rest}` : ''));
}
const lang = /^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$/.test(query.get('lang') || '')
  ? query.get('lang').replaceAll('_', '-') : '';
const wantsClosed = query.get('detectClosedAuthWindow') === 'true';

const state = {
  session: null, info: null, integrations: [], chosen: null, provider: null, kept: {},
  attempt: null, search: '', site: '', done: false, round: 0,
};

// ---- the page that embeds us -------------------------------------------------------------

function tell(type, payload) {
  if (embedded) window.parent.postMessage(payload ? { type, payload } : { type }, '*');
}

function tellError(error) {
  tell('error', { errorType: error.code, errorMessage: error.message || error.code });
}

function report(event) {
  if (state.session) state.session.report(event, state.chosen?.unique_key);
}

function close(event = 'click:close') {
  report(event);
  state.attempt?.stop();
  tell('close');
  if (!embedded) window.close();
}

const chrome = () => ({ onClose: embedded ? () => close() : null });
const chromeBack = () => ({
  ...chrome(), onBack: state.integrations.length > 1 ? () => toList() : null,
});

// ---- looks -------------------------------------------------------------------------------

const darkSystem = window.matchMedia('(prefers-color-scheme: dark)');

/** The scheme this document needs for the page around it to show through. */
function followEmbedder(wish) {
  try {
    const frame = window.frameElement;
    const around = frame && window.parent.getComputedStyle(frame).colorScheme;
    if (around) {
      if (around !== 'normal') return around;
      return frame.ownerDocument.querySelector('meta[name="color-scheme"]')?.content || around;
    }
  } catch {
    // A page of another origin does not tell.
  }
  // Browsers pass the scheme of another origin's page on as the preferred one. Pages that name
  // none look the same as dark ones on a dark system; a wish for light tells that it is not dark.
  return wish === 'light' ? 'normal' : 'light dark';
}

function paint() {
  const settings = state.info?.connectUISettings || {};
  const wish = ['light', 'dark', 'system'].includes(query.get('theme'))
    ? query.get('theme') : settings.defaultTheme;
  const dark = wish === 'dark' || (wish !== 'light' && darkSystem.matches);
  const root = document.documentElement;
  root.dataset.theme = dark ? 'dark' : 'light';
  root.dataset.embedded = String(embedded || query.get('embedded') === 'true');
  root.style.colorScheme = embedded ? followEmbedder(wish) : root.dataset.theme;
  const primary = settings.theme?.[dark ? 'dark' : 'light']?.primary;
  if (primary && CSS.supports('color', primary)) {
    root.style.setProperty('--primary', primary);
    root.style.setProperty('--on-primary', readableOn(primary));
  }
}

/** Black or white, whichever reads better on a colour (WCAG 2 relative luminance). */
function readableOn(colour) {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  canvas.canvas.width = 1;
  canvas.canvas.height = 1;
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return 1.05 / (light + 0.05) >= (light + 0.05) / 0.05 ? '#ffffff' : '#0b0d10';
}

// ---- roads -------------------------------------------------------------------------------

function asking() {
  const user = state.info?.endUser;
  const person = user?.display_name || user?.email || '';
  const team = user?.organization?.display_name || '';
  const who = team && person ? `${team} (${person})` : team || person;
  return { site: state.site, who };
}

async function begin(token) {
  state.round += 1;
  const { round } = state;
  state.attempt?.stop();
  Object.assign(state, { session: new Session(token), chosen: null, kept: {}, done: false });
  showLoading(chrome());
  try {
    const [info, integrations] = await Promise.all([
      state.session.describe(), state.session.integrations(),
    ]);
    if (round !== state.round) return;
    state.info = info;
    // What nobody can connect is no choice; an API that does not say so is believed.
    state.integrations = integrations.filter((one) => one.connectable !== false);
  } catch (error) {
    if (round === state.round) stuck(error, () => begin(token));
    return;
  }
  paint();
  report('open');
  if (state.integrations.length === 1 && state.info.allowed_integrations?.length === 1) {
    toForm(state.integrations[0]);
  } else {
    toList();
  }
}

function toList() {
  state.attempt?.stop();
  Object.assign(state, { chosen: null, provider: null, kept: {} });
  report('view:list');
  showList(chrome(), {
    integrations: state.integrations,
    asking: asking(),
    reconnecting: state.info.isReconnecting,
    query: state.search,
    choose: (integration, search) => {
      state.search = search;
      toForm(integration, true);
    },
  });
}

async function toForm(integration, clicked = false) {
  const { round } = state;
  state.chosen = integration;
  if (clicked) report('click:integration');
  showLoading(chromeBack());
  try {
    const provider = await state.session.provider(integration.provider, lang);
    if (round !== state.round || state.chosen !== integration) return;
    state.provider = provider;
  } catch (error) {
    if (round === state.round && state.chosen === integration) {
      stuck(error, () => toForm(integration));
    }
    return;
  }
  report('view:integration');
  const mode = modeOf(state.provider);
  const name = nameOf(integration);
  if (!mode) {
    tellError(new ApiFailure('unsupported_auth_mode',
      say('unsupportedHint', { mode: state.provider.auth_mode })));
    showOutcome(chromeBack(), {
      kind: 'bad',
      title: say('unsupportedTitle', { name }),
      text: say('unsupportedHint', { mode: state.provider.auth_mode }),
    });
    return;
  }
  const fields = fieldsOf(state.provider, integration, state.info);
  // Nothing to fill in, and the click that brought us here may still open a window.
  if (clicked && !fields.some((field) => field.shown) && navigator.userActivation?.isActive) {
    submit({}, true);
    return;
  }
  drawForm();
}

function nameOf(integration) {
  return integration.display_name || integration.unique_key;
}

function drawForm(problem = null) {
  const integration = state.chosen;
  const fields = fieldsOf(state.provider, integration, state.info);
  const name = nameOf(integration);
  const asked = fields.some((field) => field.shown);
  const popup = modeOf(state.provider).way === 'popup';
  const hint = popup ? 'oauthHint' : (asked ? 'formHint' : 'noneHint');
  showForm(chromeBack(), {
    integration,
    fields,
    kept: state.kept,
    guide: state.info.overrides?.[integration.unique_key]?.docs_connect
      || state.provider.docs_connect,
    hint: say(hint, { name }),
    asking: asking(),
    problem,
    reconnecting: state.info.isReconnecting,
    submit: (values) => submit(values),
    onGuide: report,
  });
}

function submit(values, automatic = false) {
  if (!automatic) report('click:connect');
  const integration = state.chosen;
  const mode = modeOf(state.provider);
  const sent = request(fieldsOf(state.provider, integration, state.info), values);
  if (mode.way === 'popup') authorize(integration, sent, automatic);
  else hand(integration, mode, sent);
}

async function hand(integration, mode, sent) {
  const { round } = state;
  busy(true);
  try {
    const body = mode.fields.length ? sent.credentials : undefined;
    const made = await state.session.submit(mode.path, integration.unique_key, sent.params, body);
    if (round === state.round) succeed(made);
  } catch (error) {
    if (round !== state.round) return;
    busy(false);
    failed(error);
  }
}

function busy(on) {
  const button = document.querySelector('form .main');
  if (!button) {
    if (on) showLoading(chrome());
    return;
  }
  if (on) {
    button.disabled = true;
    button.classList.add('busy');
    button.textContent = say('connecting');
    announce(say('connecting'));
  }
}

function authorize(integration, sent, automatic) {
  const { session, round } = state;
  const current = () => round === state.round && state.attempt === attempt;
  let attempt = null;
  let early = null;
  state.attempt?.stop();
  attempt = new Attempt({
    websocketsPath: state.info.websocketsPath,
    authorizeUrl: (socketId) => session.authorizeUrl(
      integration.unique_key, sent.params, sent.credentials, socketId),
    done: (result) => { if (current()) succeed(result); },
    failed: (error) => {
      if (!attempt) early = error;
      else if (current()) failed(error);
    },
    closed: () => { if (current()) gone(); },
  });
  state.attempt = attempt;
  if (early) {
    if (automatic && early.code === 'blocked_by_browser') drawForm();
    else failed(early);
    return;
  }
  showWaiting(chrome(), {
    name: nameOf(integration),
    onFocus: () => (attempt.popup.closed ? gone() : attempt.focus()),
    onCancel: () => {
      attempt.stop();
      drawForm();
    },
  });
}

// The window is gone, or hides from us. Whoever asked to be told is told; a late result counts.
function gone() {
  report('popup:closed_early');
  if (wantsClosed) tellError(new ApiFailure('window_closed', say('closedHint')));
  drawForm({ title: say('closedTitle'), text: say('closedHint') });
}

function succeed(made) {
  state.done = true;
  const name = nameOf(state.chosen);
  const pending = made.isPending === true;
  const payload = {
    providerConfigKey: made.providerConfigKey || state.chosen.unique_key,
    connectionId: made.connectionId,
  };
  if (made.isPending !== undefined) payload.isPending = made.isPending;
  tell('connect', payload);
  report('view:success');
  state.kept = {};
  showOutcome(chrome(), {
    kind: 'good',
    title: say(pending ? 'pendingTitle' : 'doneTitle'),
    text: say(pending ? 'pendingHint' : 'doneHint', { name }) + (embedded ? '' : ` ${say('tabHint')}`),
    action: embedded ? { label: say('finish'), run: () => close('click:finish') } : null,
  });
}

const ENDED = new Set(['unknown_connect_session_token', 'invalid_connect_session_token_format',
  'missing_auth_header']);

function failed(error) {
  tellError(error);
  const name = nameOf(state.chosen);
  if (error.status === 401 || ENDED.has(error.code)) {
    ended();
    return;
  }
  if (error.code === 'blocked_by_browser') {
    report('popup:blocked_by_browser');
    drawForm({ title: say('blockedTitle'), text: say('blockedHint') });
  } else if (['connection_test_failed', 'invalid_credentials'].includes(error.code)) {
    report('view:credentials_error');
    drawForm({ title: say('refusedTitle'), text: say('refusedHint', { name }) });
  } else if (error.code === 'network_error') {
    drawForm({ title: say('lineTitle'), text: say('lineHint') });
  } else {
    report('view:unknown_error');
    drawForm({ title: say('failedTitle'), text: readable(error.message) || say('failedHint') });
  }
}

function ended() {
  state.attempt?.stop();
  showOutcome(chrome(), { kind: 'bad', title: say('expiredTitle'), text: say('expiredHint') });
}

// Something that has to be fetched could not be.
function stuck(error, retry) {
  tellError(error);
  if (error.status === 401 || ENDED.has(error.code)) {
    ended();
    return;
  }
  const line = error.code === 'network_error';
  showOutcome(chrome(), {
    kind: 'bad',
    title: say(line ? 'lineTitle' : 'failedTitle'),
    text: line ? say('lineHint') : error.message || say('failedHint'),
    action: { label: say('retry'), run: retry },
  });
}

// ---- start -------------------------------------------------------------------------------

let waiting = null;

function receive(token) {
  clearTimeout(waiting);
  if (TOKEN.test(token)) {
    begin(token);
    return;
  }
  tellError(new ApiFailure('invalid_connect_session_token_format', say('expiredHint')));
  ended();
}

paint();
darkSystem.addEventListener('change', paint);

document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && embedded && !event.defaultPrevented) close();
});
document.getElementById('backdrop').addEventListener('mousedown', (event) => {
  if (embedded && event.target === event.currentTarget) close('click:outside');
});
document.getElementById('card').addEventListener('keydown', (event) => {
  // Tab stays inside the dialog while it covers somebody else's page.
  if (event.key !== 'Tab' || !embedded) return;
  const stops = [...event.currentTarget.querySelectorAll('button, a[href], input, select')]
    .filter((node) => !node.disabled && node.getClientRects().length);
  if (!stops.length) return;
  const [first, last] = [stops[0], stops[stops.length - 1]];
  if (event.shiftKey && (document.activeElement === first
    || document.activeElement.tagName === 'H1')) {
    event.preventDefault();
    last.focus();
  } else if (!event.shiftKey && document.activeElement === last) {
    event.preventDefault();
    first.focus();
  }
});

if (embedded) {
  window.addEventListener('message', (event) => {
    if (event.source !== window.parent || event.data?.type !== 'session_token') return;
    if (typeof event.data.sessionToken !== 'string') return;
    state.site = event.origin.startsWith('http') ? new URL(event.origin).host : '';
    receive(event.data.sessionToken);
  });
}

if (linkToken) {
  receive(linkToken);
} else if (embedded) {
  showLoading(chrome());
  waiting = setTimeout(() => {
    tellError(new ApiFailure('missing_session_token', say('lateHint')));
    showOutcome(chrome(), { kind: 'bad', title: say('lateTitle'), text: say('lateHint') });
  }, TOKEN_WAIT);
} else {
  showOutcome(chrome(), { kind: 'bad', title: say('noTokenTitle'), text: say('noTokenHint') });
}
tell('ready');
