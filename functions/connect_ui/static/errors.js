// What a failure means to the person in front of the page: one sentence for each code.

import { declining, sentences } from './sentences.js';
import { isolated, say } from './texts.js';

const ENDED = new Set(['unknown_connect_session_token', 'invalid_connect_session_token_format',
  'missing_auth_header']);

/** Whether the session itself is over. */
export function hasEnded(error) {
  return error.status === 401 || ENDED.has(error.code);
}

/** Whether the person said no at the provider, which is a decision and no error. */
export function hasDeclined(error) {
  return error.code === 'callback_err' && declining.test(error.message);
}

/** Return `{title, text, detail}` of a failure; {name} in the sentences is the provider. */
export function explain(error, name) {
  const [title, text] = sentences[error.code] || [say('failedTitle'), say('failedHint')];
  const known = name ? isolated(name) : say('theProvider');
  const fill = (sentence) => sentence.replaceAll('{name}', known);
  return { title: fill(title), text: fill(text), detail: detailOf(error) };
}

/** Return the rows of "Show details": `[label, value]`. */
function detailOf(error) {
  const said = readable(error.message);
  return [
    [say('detailCode'), error.code],
    said && said !== error.code ? [say('detailSaid'), said] : null,
    error.reference ? [say('detailReference'), error.reference] : null,
  ].filter(Boolean);
}

/** A provider's error may come as JSON of its query; return the part a person can read. */
function readable(message) {
  try {
    const told = JSON.parse(message);
    if (typeof told !== 'object' || !told) return message;
    const said = told.error_description || told.error_message || told.error_reason;
    return [told.error, said].filter(Boolean).join(': ') || message;
  } catch {
    return message || '';
  }
}
