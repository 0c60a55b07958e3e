// The screens, as DOM. Text is only ever set as text: nothing from outside becomes markup.

import { clean, complaint, isVisible, remark } from './form.js';
import { colourOf, initialsOf, ownLogo } from './pictures.js';
import { say } from './texts.js';

const SVG = 'http://www.w3.org/2000/svg';
const SHAPES = {
  close: 'M6 6l12 12M18 6L6 18',
  back: 'M15 5l-7 7 7 7',
  go: 'M9 5l7 7-7 7',
  good: 'M5 12.5l4.5 4.5L19 7.5',
  bad: 'M12 7v6M12 16.5v.5',
  calm: 'M7 12h10',
  wait: 'M14 4h6v6M20 4l-9 9M18 14v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1h5',
};
const SEARCH_FROM = 7;
const SLOW = 3_000;
const INTERIM_SLOW = 8_000;

/** Make an element: `el('p', {class: 'soft'}, 'text', child)`. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ''));
  return node;
}

function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', 'icon');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', SHAPES[name]);
  svg.append(path);
  return svg;
}

/** The picture of an integration's provider; the name beside it says the same. */
function picture(integration) {
  const name = integration.display_name || integration.unique_key;
  const box = el('span', { class: 'logo', 'aria-hidden': 'true' }, initialsOf(name));
  box.style.background = colourOf(integration.provider);
  const address = ownLogo(integration);
  if (address) {
    const image = el('img', { src: address, alt: '' });
    image.addEventListener('load', () => box.replaceChildren(image));
  }
  return box;
}

/** Say something to people who listen to the page. */
export function announce(text) {
  document.getElementById('live').textContent = text;
}

function draw(parts, focus) {
  const card = document.getElementById('card');
  card.replaceChildren(...parts.filter(Boolean));
  card.scrollTop = 0;
  // What was said of the screen before is over.
  announce('');
  const target = focus || card.querySelector('[data-focus]') || card.querySelector('h1');
  if (target) target.focus({ preventScroll: true });
  const heading = card.querySelector('h1');
  if (heading) document.title = heading.textContent;
}

function bar({ onBack, onClose }) {
  return el('div', { class: 'bar' },
    onBack
      ? el('button', { type: 'button', class: 'round', 'aria-label': say('back'), onclick: onBack },
        icon('back'))
      : el('span'),
    onClose
      ? el('button', { type: 'button', class: 'round', 'aria-label': say('close'),
        onclick: onClose }, icon('close'))
      : el('span'));
}

function heading(text) {
  return el('h1', { id: 'heading', tabindex: '-1' }, text);
}

/** Who asks, and for whom: the site is what the browser told us, so it cannot be invented. */
function asker({ way, site, outer, who }) {
  let asked = 'linkHidden';
  if (way === 'frame') asked = site ? (outer ? 'askedInside' : 'askedBy') : 'askedHidden';
  else if (site) asked = 'linkFrom';
  return el('p', { class: way === 'frame' && !site ? 'asker doubt' : 'asker' },
    say(asked, { site, outer }) + (who ? ` ${say(way === 'frame' ? 'forWhom' : 'youAre', { who })}` : ''));
}

/** Wait for the API; when it is slow, say so and offer to ask again. */
export function showLoading(chrome, retry = null) {
  const slow = el('div', { class: 'slow', hidden: true }, el('p', { class: 'soft' }, say('slow')),
    retry ? el('button', { type: 'button', class: 'quiet', onclick: retry }, say('retry')) : null);
  draw([bar(chrome), el('div', { class: 'center tall' },
    heading(say('loading')), el('div', { class: 'spinner', 'aria-hidden': 'true' }), slow)]);
  setTimeout(() => {
    if (!slow.isConnected) return;
    slow.hidden = false;
    announce(say('slow'));
  }, SLOW);
}

/** What a new window shows until the provider's page is there; it takes our own style sheet. */
export function interim(page, name) {
  const root = page.documentElement;
  const own = document.documentElement;
  root.lang = own.lang;
  root.dataset.theme = own.dataset.theme;
  root.dataset.embedded = 'false';
  root.style.colorScheme = own.dataset.theme;
  page.title = say('windowTitle');
  const sheet = page.createElement('style');
  // Allowed there by its hash.
  sheet.textContent = document.querySelector('style').textContent;
  page.head.append(sheet);
  const slow = el('p', { class: 'soft', hidden: true }, say('slow'));
  page.body.replaceChildren(el('div', { class: 'backdrop' },
    el('main', { class: 'card' }, el('div', { class: 'center tall', role: 'status' },
      el('h1', {}, say('windowTitle')),
      el('p', { class: 'soft' }, say('windowHint', { name })),
      el('div', { class: 'spinner', 'aria-hidden': 'true' }), slow))));
  setTimeout(() => { slow.hidden = false; }, INTERIM_SLOW);
}

/** "Show details": what a person can hand on to somebody who can look into it. */
function details(rows, log) {
  if (!rows?.length) return null;
  const list = el('dl', {});
  const row = (label, value) => list.append(el('dt', {}, label),
    el('dd', { dir: 'auto' }, value));
  rows.forEach(([label, value]) => row(label, value));
  const box = el('details', {}, el('summary', {}, say('details')), list);
  box.addEventListener('toggle', async () => {
    const id = await log?.();
    if (id) row(say('detailLog'), id);
  }, { once: true });
  return box;
}

/** The list of integrations. `choose(integration)` is called with the one that was picked. */
export function showList(chrome, { integrations, asking, choose, reconnecting, query = '' }) {
  if (!integrations.length) {
    showOutcome(chrome, { kind: 'bad', title: say('empty'), text: say('emptyHint') });
    return;
  }
  const empty = el('p', { class: 'soft center', hidden: true });
  const rows = integrations.map((one) => {
    const row = el('li', {}, el('button', { type: 'button', class: 'row',
      onclick: () => choose(one, search ? search.value : '') },
    picture(one),
    el('span', { class: 'name', dir: 'auto' }, one.display_name || one.unique_key,
      doubled(integrations, one) ? el('small', {}, one.unique_key) : null),
    icon('go')));
    row.dataset.words = `${one.display_name} ${one.unique_key} ${one.provider}`.toLowerCase();
    return row;
  });
  const filter = () => {
    const words = search.value.trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      row.hidden = !row.dataset.words.includes(words);
      if (!row.hidden) count += 1;
    }
    empty.hidden = count > 0;
    empty.textContent = say('noMatch', { query: search.value.trim() });
    announce(words ? say('matches', { count }) : '');
  };
  const search = integrations.length >= SEARCH_FROM
    ? el('input', { type: 'search', class: 'search', 'aria-label': say('search'),
      placeholder: say('search'), oninput: filter, autocomplete: 'off', spellcheck: 'false' })
    : null;
  draw([bar(chrome),
    heading(say(reconnecting ? 'chooseReconnect' : 'choose')),
    el('p', { class: 'soft' }, say('chooseHint')), asker(asking),
    search, el('ul', { class: 'list' }, ...rows), empty]);
  if (search && query) {
    search.value = query;
    filter();
  }
}

function doubled(all, one) {
  return all.some((other) => other !== one && other.display_name === one.display_name);
}

function guideLink(url, section, text, onOpen) {
  let address;
  try {
    address = new URL(url + (section || ''));
  } catch {
    return null;
  }
  if (!['https:', 'http:'].includes(address.protocol)) return null;
  return el('a', { href: address.href, target: '_blank', rel: 'noopener noreferrer',
    class: 'guide', onclick: onOpen }, text);
}

/**
 * The form of one integration. `submit(values)` gets cleaned values by field id; what the
 * person typed stays in `kept` so that it survives an error.
 */
export function showForm(chrome, {
  integration, fields, kept, guide, hint, asking, problem, reconnecting, submit, onGuide,
}) {
  const name = integration.display_name || integration.unique_key;
  const controls = new Map();
  const values = () => Object.fromEntries([...controls]
    .map(([field, control]) => [field.id, clean(field, control.value)]));

  const judge = (field, control) => {
    const wrong = isVisible(field, values()) ? complaint(field, clean(field, control.value)) : '';
    const line = document.getElementById(`${field.id}-error`);
    line.textContent = wrong;
    if (wrong) control.setAttribute('aria-invalid', 'true');
    else control.removeAttribute('aria-invalid');
    return wrong;
  };
  // A remark stops nobody; whoever has not seen it yet sees it once before it goes out.
  const note = (field, control) => {
    const text = remark(field, control.value);
    const line = document.getElementById(`${field.id}-note`);
    const isNew = text !== '' && line.textContent !== text;
    line.textContent = text;
    return isNew;
  };
  const refreshVisible = () => {
    const held = values();
    for (const [field, control] of controls) {
      control.closest('.field').hidden = !isVisible(field, held);
    }
  };
  const blocks = fields.filter((field) => field.shown)
    .map((field) => block(field, {
      controls, judge, note, refreshVisible, kept, guide, onGuide,
    }));

  const form = el('form', { novalidate: true, autocomplete: 'off', onsubmit: (event) => {
    event.preventDefault();
    const wrong = [...controls].filter(([field, control]) => judge(field, control));
    if (wrong.length) {
      announce(say('fixFields'));
      wrong[0][1].focus();
      return;
    }
    const noted = [...controls].filter(([field, control]) => note(field, control));
    if (noted.length) {
      noted[0][1].focus();
      return;
    }
    submit(values());
  } },
  problem ? el('div', { class: 'problem', role: 'alert' },
    el('strong', {}, problem.title), el('span', {}, problem.text),
    details(problem.detail, problem.log)) : null,
  ...blocks,
  el('button', { type: 'submit', class: 'main', 'data-focus': !blocks.length || null },
    say(reconnecting ? 'reconnect' : 'connect')));

  draw([bar(chrome),
    el('div', { class: 'center' }, picture(integration),
      heading(say(reconnecting ? 'reconnectTitle' : 'connectTitle', { name })),
      el('p', { class: 'soft' }, hint), asker(asking)),
    form,
    guide ? guideLink(guide, '', say('guideAll', { name }), () => onGuide('click:doc')) : null],
  problem ? null : blocks[0]?.querySelector('input, select'));
  refreshVisible();
  if (problem) form.querySelector('input, select, button').focus();
}

function block(field, { controls, judge, note, refreshVisible, kept, guide, onGuide }) {
  const told = `${field.id}-hint ${field.id}-note ${field.id}-error`;
  const common = { id: field.id, 'aria-describedby': told, 'aria-required': String(!field.optional) };
  let control;
  if (field.choices) {
    control = el('select', common, el('option', { value: '' }, say('pick')),
      ...field.choices.map((choice) => el('option', { value: choice }, choice)));
  } else {
    control = el('input', { ...common,
      type: field.secret ? 'password' : 'text',
      inputmode: { email: 'email', uri: 'url', hostname: 'url' }[field.format],
      placeholder: field.example,
      // Other people's credentials are no business of a password manager for this site.
      autocomplete: field.secret ? 'new-password' : 'off',
      autocapitalize: 'none', autocorrect: 'off', spellcheck: 'false', 'data-1p-ignore': true,
    });
  }
  control.value = kept[field.id] ?? field.initial;
  controls.set(field, control);
  control.addEventListener('input', () => {
    kept[field.id] = control.value;
    if (control.hasAttribute('aria-invalid')) judge(field, control);
    // Not while somebody is still typing.
    if (!remark(field, control.value)) note(field, control);
    refreshVisible();
  });
  control.addEventListener('blur', () => {
    if (!control.value) return;
    const tidy = clean(field, control.value);
    if (tidy !== control.value) control.value = tidy;
    judge(field, control);
    note(field, control);
  });

  const box = el('div', { class: 'box' },
    field.prefix ? el('span', { class: 'fix' }, field.prefix) : null,
    control,
    field.suffix ? el('span', { class: 'fix' }, field.suffix) : null);
  if (field.secret && !field.choices) {
    const eye = el('button', { type: 'button', class: 'eye', 'aria-pressed': 'false',
      'aria-controls': field.id, 'aria-label': `${say('show')}: ${field.title}`,
      onclick: () => {
        const shown = control.type === 'text';
        control.type = shown ? 'password' : 'text';
        eye.textContent = say(shown ? 'show' : 'hide');
        eye.setAttribute('aria-pressed', String(!shown));
      } }, say('show'));
    box.append(eye);
  }
  return el('div', { class: 'field' },
    el('label', { for: field.id }, field.title,
      field.optional ? el('small', {}, ` (${say('optional')})`) : null),
    box,
    el('p', { id: `${field.id}-hint`, class: 'hint' },
      field.description,
      field.section && guide
        ? guideLink(guide, field.section, say('guide'), () => onGuide('click:doc_section'))
        : null),
    el('p', { id: `${field.id}-note`, class: 'note', 'aria-live': 'polite' },
      remark(field, control.value)),
    el('p', { id: `${field.id}-error`, class: 'wrong', 'aria-live': 'polite' }));
}

export function showWaiting(chrome, { name, onFocus, onCancel }) {
  draw([bar(chrome), el('div', { class: 'center tall' },
    el('span', { class: 'mark' }, icon('wait')),
    heading(say('waitTitle')),
    el('p', { class: 'soft' }, say('waitHint', { name })),
    el('div', { class: 'buttons' },
      onFocus
        ? el('button', { type: 'button', class: 'main', onclick: onFocus }, say('showWindow'))
        : null,
      el('button', { type: 'button', class: 'quiet', onclick: onCancel }, say('cancel'))))]);
}

/** The end of a road: `kind` good, bad or calm; `actions` are `{label, run, quiet?}`. */
export function showOutcome(chrome, { kind, title, text, detail, log, actions = [] }) {
  const buttons = actions.map(({ label, run, quiet }, at) => el('button', { type: 'button',
    class: quiet ? 'quiet' : 'main', 'data-focus': at === 0, onclick: () => run() }, label));
  draw([bar(chrome), el('div', { class: 'center tall', role: kind === 'bad' ? 'alert' : null },
    el('span', { class: `mark ${kind}` }, icon(kind)),
    heading(title), el('p', { class: 'soft' }, text),
    buttons.length ? el('div', { class: 'buttons' }, ...buttons) : null,
    details(detail, log))]);
  // An alert speaks for itself.
  if (kind !== 'bad') announce(`${title}. ${text}`);
}

/** Show that something typed in is on its way; the form stays where it is. */
export function showBusy(chrome) {
  const button = document.querySelector('form .main');
  if (!button) {
    showLoading(chrome);
    return;
  }
  button.disabled = true;
  button.classList.add('busy');
  button.textContent = say('connecting');
  announce(say('connecting'));
  setTimeout(() => { if (button.isConnected) button.textContent = say('connectingSlow'); }, SLOW);
}

/** Whether a question is open. */
export function isAsking() {
  return Boolean(document.querySelector('dialog[open]'));
}

/** Ask yes or no, over everything else; Escape is no. */
export function ask({ title, text, yes, no }) {
  return new Promise((answer) => {
    const dialog = el('dialog', { role: 'alertdialog', 'aria-labelledby': 'question',
      'aria-describedby': 'question-text' },
    el('h2', { id: 'question' }, title), el('p', { id: 'question-text', class: 'soft' }, text),
    el('div', { class: 'buttons' },
      el('button', { type: 'button', class: 'main',
        onclick: () => dialog.close('') }, no),
      el('button', { type: 'button', class: 'quiet', onclick: () => dialog.close('yes') }, yes)));
    dialog.addEventListener('keydown', (event) => event.stopPropagation());
    dialog.addEventListener('close', () => {
      dialog.remove();
      answer(dialog.returnValue === 'yes');
    });
    document.getElementById('card').append(dialog);
    dialog.showModal();
  });
}

/** Tab stays inside the card while it covers somebody else's page. */
export function keepFocusInside() {
  const card = document.getElementById('card');
  card.addEventListener('keydown', (event) => {
    if (event.key !== 'Tab') return;
    const stops = [...card.querySelectorAll('button, a[href], input, select, summary')]
      .filter((node) => !node.disabled && node.getClientRects().length);
    if (!stops.length) return;
    const [first, last] = [stops[0], stops[stops.length - 1]];
    const here = document.activeElement;
    if (event.shiftKey && (here === first || here.tagName === 'H1')) {
      event.preventDefault();
      last.focus();
    } else if (!event.shiftKey && here === last) {
      event.preventDefault();
      first.focus();
    }
  });
}
