// From a provider's definition to the fields a person fills in, and from those to a request.

import { say } from './texts.js';

const HOST = /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(:\d{1,5})?$/i;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const EMAIL = /^[^\s@]+@[^\s@.]+(\.[^\s@.]+)+$/;
const LONGEST = 4096;

const OVERRIDES = ['oauth_client_id_override', 'oauth_client_secret_override',
  'oauth_refresh_token_override'];

/** Return how a provider is connected (`{way, path?, fields?}`), or null when it cannot be. */
export function connectOf(provider) {
  return provider.connect || null;
}

function builtIn(name) {
  return {
    apiKey: { title: say('apiKey'), secret: true },
    username: { title: say('username') },
    password: { title: say('password'), secret: true },
    client_id: { title: say('clientId') },
    client_secret: { title: say('clientSecret'), secret: true },
    token_id: { title: say('tokenId'), secret: true },
    token_secret: { title: say('tokenSecret'), secret: true },
    role_arn: { title: say('roleArn') },
    region: { title: say('region'), optional: true },
    organization_id: { title: say('organizationId') },
    dev_key: { title: say('devKey'), secret: true },
  }[name];
}

/**
 * Return the fields of a provider, in the order they are shown.
 * Fields that nobody is asked for (automated, set by the session, or fixed by the integration)
 * are left out; hidden ones
 * stay, with `shown: false`, because their default is sent.
 */
export function fieldsOf(provider, integration, session) {
  const connect = connectOf(provider);
  if (!connect) return [];
  const settled = session.integrations_config_defaults?.[integration.unique_key]
    ?.connection_config || {};
  const ready = new Set(integration.preconfigured_credentials || []);
  const fixed = new Set(integration.preconfigured_connection_config || []);
  const labels = integration.credentials_label || {};
  const fields = [];

  const add = (group, name, spec, rank) => {
    if (spec.automated || (group === 'credentials' && ready.has(name))) return;
    if (group === 'params' && (name in settled || fixed.has(name))) return;
    fields.push({
      group,
      name,
      id: `${group}-${name.replace(/[^A-Za-z0-9_-]/g, '-')}`,
      title: (group === 'credentials' && labels[name]) || spec.title || name,
      description: spec.description || '',
      example: spec.example || '',
      pattern: spec.pattern || '',
      format: spec.format || '',
      choices: spec.enum || null,
      optional: spec.optional === true || spec.default_value === '',
      secret: spec.secret === true,
      shown: spec.hidden !== true,
      initial: spec.default_value ?? '',
      prefix: spec.prefix || '',
      suffix: spec.suffix || '',
      origin: spec.origin === true,
      section: spec.doc_section || '',
      when: spec.visible_when || null,
      // Numbered fields come first, in their order; then the others as they are declared.
      rank: [Number.isFinite(spec.order) ? spec.order : Infinity, rank],
    });
  };

  const declared = { ...provider.integration_config, ...provider.credentials };
  if (connect.way === 'popup') {
    OVERRIDES.filter((name) => declared[name])
      .forEach((name, at) => add('credentials', name, declared[name], at));
  } else {
    connect.fields.forEach((name, at) => {
      add('credentials', name, { ...builtIn(name), ...declared[name] }, at);
    });
  }
  Object.entries(provider.assertion_option || {})
    .forEach(([name, spec], at) => add('option', name, spec, 60 + at));
  Object.entries(provider.connection_config || {})
    .forEach(([name, spec], at) => add('params', name, spec, 100 + at));
  return fields.sort((a, b) => (a.rank[0] === b.rank[0]
    ? a.rank[1] - b.rank[1] : a.rank[0] - b.rank[0]));
}

/** Whether a field is shown, given what the others hold. */
export function isVisible(field, values) {
  if (!field.shown) return false;
  if (!field.when) return true;
  const held = Object.entries(values).find(([id]) => id.endsWith(`-${field.when.field}`));
  return Boolean(held) && held[1] === field.when.equals;
}

const NO_WIDTH = '\u00ad\u180e\u200b-\u200f\u2060\ufeff';
const OUTER = `[\\s\\x1c-\\x1f\\x85${NO_WIDTH}]+`;
const HOST_SUFFIX = /^(\.[a-z0-9-]+){2,}$/i;
const DEFAULT_PORTS = { http: ':80', https: ':443', '': ':443' };

/**
 * Return what a field wants of what was pasted: the subdomain or host in an address. The server
 * does the same (keystow/catalog/inputs.py), and what it makes of a value counts.
 */
export function clean(field, value) {
  if (isPassword(field)) return value;
  const text = trimmed(value);
  if (field.secret) return text;
  if (field.choices) return ofList(field.choices, text);
  const fitting = candidates(field, text)
    .find((each) => each && (!field.pattern || matches(field.pattern, each)));
  return fitting ?? text;
}

/** Whether a field is a password, which is kept as typed: its white space may belong to it. */
function isPassword(field) {
  return field.group === 'credentials' && /password/i.test(field.name);
}

/** As keystow.text.trimmed, which every other value goes through on the server. */
function trimmed(value) {
  return value.replace(new RegExp(`^${OUTER}`), '').replace(new RegExp(`${OUTER}$`), '');
}

/** Return what a person should know about a value that is taken as it is, or ''. */
export function remark(field, value) {
  if (!isPassword(field) || trimmed(value) === value) return '';
  return say('spaceAround', { title: field.title });
}

function ofList(choices, text) {
  if (choices.includes(text)) return text;
  const alike = choices.filter((each) => each.toLowerCase() === text.toLowerCase());
  return alike.length === 1 ? alike[0] : text;
}

function candidates(field, text) {
  const { prefix = '', suffix = '' } = field;
  const after = suffix.split('/')[0];
  const plain = /^https?:\/\/$/i.test(prefix);
  const found = address(text);
  if (HOST_SUFFIX.test(after)) {
    if (!found) return [];
    const name = without(found.host, prefix.replace(/^https?:\/\//i, ''), after) + found.port;
    return [name.toLowerCase(), name];
  }
  if (suffix || (prefix && !plain)) return [without(text, prefix, suffix)];
  if (!prefix && !['uri', 'hostname'].includes(field.format)) return [text];
  if (!found) return [];
  const hosts = [found.host.toLowerCase() + found.port, found.host + found.port];
  if (field.format === 'uri') {
    const origin = `${found.scheme || 'https'}://${hosts[0]}`;
    const whole = /^\/*$/.test(found.rest) ? origin : origin + found.rest;
    return field.origin && !field.pattern ? [origin] : [whole, origin];
  }
  if (field.format === 'hostname') return hosts;
  const withPath = hosts.map((each) => each + found.rest.replace(/\/+$/, ''));
  return field.pattern ? [...hosts, ...withPath] : withPath;
}

function without(text, prefix, suffix) {
  let left = text;
  if (prefix && left.toLowerCase().startsWith(prefix.toLowerCase())) {
    left = left.slice(prefix.length);
  }
  if (suffix && left.toLowerCase().endsWith(suffix.toLowerCase())) {
    left = left.slice(0, -suffix.length);
  }
  return left;
}

/** Return `{scheme, host, port, rest}` of an address, or null for what is no plain one. */
function address(pasted) {
  const around = '[<>"\'\u0060\u201c\u201d\u2018\u2019]*';
  const text = pasted.replace(new RegExp(`[${NO_WIDTH}]`, 'g'), '')
    .replace(new RegExp(`^${around}`), '').replace(new RegExp(`${around}$`), '')
    .replace(/[,;]+$/, '').replace(new RegExp(`${around}$`), '');
  const [, , scheme = '', authority, rest] = (
    /^((https?):\/*|\/\/)?([^/?#\\]*)(.*)$/is.exec(text));
  if (authority.includes('@')) return null;
  const port = /:[0-9]{1,5}$/.exec(authority)?.[0] || '';
  const host = authority.slice(0, authority.length - port.length).replace(/\.+$/, '');
  if (!host) return null;
  const implied = DEFAULT_PORTS[scheme.toLowerCase()] === port;
  return { scheme: scheme.toLowerCase(), host, port: implied ? '' : port, rest };
}

/** Return what is wrong with a cleaned value, in words, or '' when nothing is. */
export function complaint(field, value) {
  const { title, example } = field;
  if (value === '') return field.optional ? '' : say('required', { title });
  if (value.length > LONGEST) return say('tooLong', { title });
  if (field.choices) return field.choices.includes(value) ? '' : say('mustBeOneOf');
  if (field.format === 'hostname' && !HOST.test(value)) return say('mustBeHost', { title });
  if (field.format === 'uuid' && !UUID.test(value)) return say('mustBeUuid', { title });
  if (field.format === 'email' && !EMAIL.test(value)) return say('mustBeEmail', { title });
  if (field.format === 'uri' && !isUri(value)) return say('mustBeUri', { title });
  if (field.pattern && !matches(field.pattern, value)) {
    return example ? say('likeExample', { title, example }) : say('mustMatch', { title });
  }
  return '';
}

function isUri(value) {
  try {
    return ['https:', 'http:'].includes(new URL(value).protocol);
  } catch {
    return false;
  }
}

function matches(pattern, value) {
  try {
    return new RegExp(pattern).test(value);
  } catch {
    // A pattern this browser does not know must not lock anybody out.
    return true;
  }
}

/**
 * Return what is sent: `{params, credentials}`; what is used once to sign an assertion stands in
 * `assertionOption` of the credentials. Empty optional params are left out; a BASIC
 * login keeps its empty parts, because the server asks for both.
 */
export function request(fields, values) {
  const sent = { params: {}, credentials: {} };
  for (const field of fields) {
    if (field.when && !isVisible(field, values)) continue;
    const value = field.shown ? (values[field.id] ?? '') : field.initial;
    const login = field.group === 'credentials' && ['username', 'password'].includes(field.name);
    if (value === '' && !login) continue;
    if (field.group === 'option') {
      sent.credentials.assertionOption = {
        ...sent.credentials.assertionOption, [field.name]: value,
      };
    } else {
      sent[field.group][field.name] = value;
    }
  }
  return sent;
}
