// The screens, as DOM. Text is only ever set as text: nothing from outside becomes markup.

import { apiBase } from './api.js';
import { clean, complaint, isVisible } from './form.js';
import { say } from './texts.js';

const SVG = 'http://www.w3.org/2000/svg';
const SHAPES = {
  close: 'M6 6l12 12M18 6L6 18',
  back: 'M15 5l-7 7 7 7',
  go: 'M9 5l7 7-7 7',
  good: 'M5 12.5l4.5 4.5L19 7.5',
  bad: 'M12 7v6M12 16.5v.5',
  wait: 'M14 4h6v6M20 4l-9 9M18 14v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1h5',
};
const SEARCH_FROM = 7;

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

/** A provider's logo when our own API serves one, else its initials. */
function logo(name, source) {
  const initials = name.split(/[\s-]+/).filter(Boolean).slice(0, 2)
    .map((word) => [...word][0]).join('').toUpperCase();
  const box = el('span', { class: 'logo', 'aria-hidden': 'true' }, initials);
  let address = null;
  try {
    address = source && new URL(source, apiBase);
  } catch { /* initials will do */ }
  if (address && address.origin === apiBase.origin) {
    const image = el('img', { src: address.href, alt: '' });
    image.addEventListener('load', () => box.replaceChildren(image));
  }
  return box;
}

/** Say something to people who listen to the page. */
export function announce(text) {
  document.getElementById('live').textContent = text;
}

function show(parts, focus) {
  const card = document.getElementById('card');
  card.replaceChildren(...parts.filter(Boolean));
  card.scrollTop = 0;
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
function asker({ site, who }) {
  if (!site && !who) return null;
  const parts = [];
  if (site) parts.push(say('askedBy', { site }));
  if (who) parts.push(say('forWhom', { who }));
  const line = parts.join(' ');
  return el('p', { class: 'asker' }, line[0].toUpperCase() + line.slice(1));
}

export function showLoading(chrome) {
  show([bar(chrome), el('div', { class: 'center tall' },
    heading(say('loading')), el('div', { class: 'spinner', 'aria-hidden': 'true' }))]);
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
    logo(one.display_name || one.unique_key, one.logo),
    el('span', { class: 'name' }, one.display_name || one.unique_key,
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
  show([bar(chrome),
    heading(say(reconnecting ? 'chooseReconnect' : 'choose')),
    asker(asking) || el('p', { class: 'soft' }, say('chooseHint')),
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
  const refreshVisible = () => {
    const held = values();
    for (const [field, control] of controls) {
      control.closest('.field').hidden = !isVisible(field, held);
    }
  };
  const blocks = fields.filter((field) => field.shown)
    .map((field) => block(field, { controls, judge, refreshVisible, kept, guide, onGuide }));

  const form = el('form', { novalidate: true, autocomplete: 'off', onsubmit: (event) => {
    event.preventDefault();
    const wrong = [...controls].filter(([field, control]) => judge(field, control));
    if (wrong.length) {
      announce(say('fixFields'));
      wrong[0][1].focus();
      return;
    }
    submit(values());
  } },
  problem ? el('div', { class: 'problem', role: 'alert' },
    el('strong', {}, problem.title), el('span', {}, problem.text)) : null,
  ...blocks,
  el('button', { type: 'submit', class: 'main', 'data-focus': !blocks.length || null },
    say(reconnecting ? 'reconnect' : 'connect')));

  show([bar(chrome),
    el('div', { class: 'center' }, logo(name, integration.logo),
      heading(say(reconnecting ? 'reconnectTitle' : 'connectTitle', { name })),
      el('p', { class: 'soft' }, hint), asker(asking)),
    form,
    guide ? guideLink(guide, '', say('guideAll', { name }), () => onGuide('click:doc')) : null],
  problem ? null : blocks[0]?.querySelector('input, select'));
  refreshVisible();
  if (problem) form.querySelector('input, select, button').focus();
}

function block(field, { controls, judge, refreshVisible, kept, guide, onGuide }) {
  const told = `${field.id}-hint ${field.id}-error`;
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
    refreshVisible();
  });
  control.addEventListener('blur', () => {
    if (!control.value) return;
    const tidy = clean(field, control.value);
    if (tidy !== control.value) control.value = tidy;
    judge(field, control);
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
    el('p', { id: `${field.id}-error`, class: 'wrong', 'aria-live': 'polite' }));
}

export function showWaiting(chrome, { name, onFocus, onCancel }) {
  show([bar(chrome), el('div', { class: 'center tall' },
    el('span', { class: 'mark' }, icon('wait')),
    heading(say('waitTitle')),
    el('p', { class: 'soft' }, say('waitHint', { name })),
    el('div', { class: 'buttons' },
      el('button', { type: 'button', class: 'main', onclick: onFocus }, say('showWindow')),
      el('button', { type: 'button', class: 'quiet', onclick: onCancel }, say('cancel'))))]);
}

/** The end of a road, good or bad; `action` is `{label, run}`. */
export function showOutcome(chrome, { kind, title, text, detail, action }) {
  show([bar(chrome), el('div', { class: 'center tall', role: kind === 'bad' ? 'alert' : null },
    el('span', { class: `mark ${kind}` }, icon(kind)),
    heading(title), el('p', { class: 'soft' }, text),
    detail ? el('p', { class: 'detail' }, detail) : null,
    action
      ? el('button', { type: 'button', class: 'main', 'data-focus': true, onclick: action.run },
        action.label)
      : null)]);
  if (kind !== 'bad') announce(`${title}. ${text}`); // an alert speaks for itself
}
