// The demo page: three ways to connect, and what becomes of each connection.

import { connectWithPopup, openConnectUI } from './connect.js';

const $ = (id) => document.getElementById(id);
let connections = [];
const answers = new Map();

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

async function ask(path, method = 'GET', body = undefined) {
  const response = await fetch(path, {
    method,
    headers: body ? { 'content-type': 'application/json' } : {},
    body: body && JSON.stringify(body),
  });
  const told = await response.json();
  if (!response.ok) throw new Error(told.error?.message || told.error?.code || response.status);
  return told;
}

const session = (integration) => ask('session', 'POST', { integration });

function tell(text, bad = false) {
  $('told').textContent = text;
  $('told').classList.toggle('bad', bad);
}

async function run(button, work) {
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    tell(error.message, true);
  } finally {
    button.disabled = false;
  }
}

$('popup').addEventListener('click', (event) => run(event.currentTarget, async () => {
  tell('Approve access in the window that opened.');
  const made = await connectWithPopup('demo', session('demo'));
  tell(`Connected: ${made.connectionId}`);
}));

function withInterface(integration) {
  return async () => {
    tell('');
    const made = await session(integration);
    openConnectUI({
      url: made.connect_ui_url,
      apiUrl: made.api_url,
      token: made.token,
      onEvent: (event) => {
        if (event.type === 'connect') tell(`Connected: ${event.payload.connectionId}`);
        if (event.type === 'error') tell(event.payload.errorMessage, true);
      },
    });
  };
}

$('interface').addEventListener('click', (event) => run(event.currentTarget, withInterface()));
$('key').addEventListener('click',
  (event) => run(event.currentTarget, withInterface('demo-api-key')));

// ---- connections -------------------------------------------------------------------------

const names = { demo: 'Demo account (OAuth 2.0)', 'demo-api-key': 'Demo API key' };

function details(one) {
  const answer = answers.get(one.id);
  return [
    el('div', { class: 'top' },
      el('strong', {}, names[one.integration] || one.integration),
      one.trouble ? el('span', { class: 'badge bad' }, 'needs attention')
        : el('span', { class: 'badge' }, 'working')),
    el('code', { class: 'id', title: 'connection id' }, one.id),
    one.trouble ? el('p', { class: 'bad' }, one.trouble) : null,
    el('dl', {},
      el('dt', {}, one.expires_at ? 'Access token' : 'Key'),
      el('dd', {}, el('code', { class: 'token' }, one.masked || '—')),
      ...(one.expires_at ? [
        el('dt', {}, 'Life left'),
        el('dd', {}, el('span', { class: 'left' }, ''),
          el('progress', { max: String(one.life_s || 120), value: '0', 'aria-label': 'life left' })),
        el('dt', {}, 'Refreshed'),
        el('dd', { class: 'count' }, `${one.refreshes} ${one.refreshes === 1 ? 'time' : 'times'}`),
      ] : [])),
    answer ? el('p', { class: 'answer' }, answer) : null,
  ].filter((part) => part !== null);
}

function buttons({ id, integration }) {
  const path = `connections/${encodeURIComponent(id)}`;
  const act = (label, work, kind = '') => el('button', { type: 'button', class: kind,
    onclick: (event) => run(event.currentTarget, work) }, label);
  return el('div', { class: 'buttons small' },
    act('Use it', async () => {
      const got = await ask(`${path}/use`, 'POST');
      answers.set(id, `The provider answered ${got.status}: `
        + (got.answer.name ? `${got.answer.name}, ${got.answer.team}` : got.answer.error));
      draw();
      tell(`Used ${short(id)}: the provider answered ${got.status}`, got.status >= 400);
    }),
    integration === 'demo' ? act('Refresh now', async () => {
      tell(`Refreshing ${short(id)}`);
      const { renewed } = await ask(`${path}/refresh`, 'POST');
      tell(renewed ? `Refreshed: ${id}`
        : 'Refreshed less than 10 s ago: Keystow asks a provider at most once in 10 s');
    }) : null,
    act('Delete', async () => {
      await ask(path, 'DELETE');
      answers.delete(id);
      tell(`Deleted: ${id}`);
    }, 'danger'));
}

// A card and its buttons stay as long as its connection: a click that is under way, or the focus,
// must not be lost because a token was refreshed in that moment.
const cards = new Map();

function card(one) {
  if (!cards.has(one.id)) {
    const shown = el('div', { class: 'details' });
    const node = el('li', { class: 'card', 'data-id': one.id, 'data-integration': one.integration },
      shown, buttons(one));
    cards.set(one.id, { node, shown });
  }
  const { node, shown } = cards.get(one.id);
  shown.replaceChildren(...details(one));
  return node;
}

function draw() {
  const list = $('connections');
  const wanted = connections.map(card);
  for (const [id, { node }] of cards) {
    if (wanted.includes(node)) continue;
    node.remove();
    cards.delete(id);
  }
  wanted.forEach((node, place) => {
    if (list.children[place] !== node) list.insertBefore(node, list.children[place] || null);
  });
  $('none').hidden = connections.length > 0;
  tick();
}

function tick() {
  for (const one of connections) {
    const node = document.querySelector(`[data-id="${CSS.escape(one.id)}"]`);
    if (!node || !one.expires_at) continue;
    const left = Math.max(0, one.expires_at - Date.now() / 1000);
    node.querySelector('.left').textContent = `${Math.ceil(left)} s`;
    node.querySelector('progress').value = left;
  }
}
setInterval(tick, 250);

// ---- events ------------------------------------------------------------------------------

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();
const short = (id) => (id ? `${id.slice(0, 8)}…` : '');

function add(kind, title, text, when = Date.now() / 1000) {
  $('quiet').hidden = true;
  // By time and not by arrival: what a reload brings back comes in several lists.
  const older = [...$('events').children].find((item) => Number(item.dataset.when) <= when);
  $('events').insertBefore(el('li', { class: kind, 'data-when': String(when) },
    el('time', {}, clock(when)),
    el('div', {}, el('strong', {}, title), el('span', {}, text))), older || null);
  while ($('events').children.length > 100) $('events').lastChild.remove();
}

function addWebhook({ time, body }) {
  const bad = body.success === false;
  add(bad ? 'webhook bad' : 'webhook', `Webhook: ${body.type} ${body.operation || ''}`,
    `${body.providerConfigKey || ''} ${short(body.connectionId)}, signature verified`
      + (bad ? `: ${body.error?.description || body.error?.type || 'failed'}` : ''), time);
}

const shown = new Set();

function addRefresh({ entry, id, ok, why, time }) {
  if (shown.has(entry)) return;
  shown.add(entry);
  if (ok) {
    add('refresh', 'Token refreshed', `${short(id)}: a new pair took the place of the old`, time);
  } else add('refresh bad', 'Refresh failed', `${short(id)}: the provider said ${why}`, time);
}

const stream = new EventSource('events');
stream.onopen = () => { $('line').textContent = 'Live'; $('line').className = 'line live'; };
stream.onerror = () => {
  $('line').textContent = 'The backend is away; trying again…';
  $('line').className = 'line';
};
let filled = false;
stream.addEventListener('webhooks', (event) => {
  if (!filled) JSON.parse(event.data).forEach(addWebhook);
  filled = true;
});
stream.addEventListener('webhook', (event) => addWebhook(JSON.parse(event.data)));
stream.addEventListener('connections', (event) => {
  connections = JSON.parse(event.data);
  draw();
});
stream.addEventListener('refreshes', (event) => JSON.parse(event.data).forEach(addRefresh));
stream.addEventListener('refresh', (event) => addRefresh(JSON.parse(event.data)));
stream.addEventListener('trouble', (event) => add('bad', 'Trouble', JSON.parse(event.data)));
