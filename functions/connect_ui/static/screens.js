// The screens, filled with what the page knows.

import { ApiFailure } from './api.js';
import { again, submit } from './connecting.js';
import { explain, hasEnded } from './errors.js';
import { fieldsOf, connectOf } from './form.js';
import { embedded, lang, tellError } from './host.js';
import {
  choose, closePage, dropAttempt, entry, journey, leave, logId, nameOf, outcomeKnown,
  report, state, typed,
} from './state.js';
import { say } from './texts.js';
import { showForm, showList, showLoading, showOutcome } from './views.js';

/** What stands above every screen. */
export const above = () => ({ onClose: embedded ? () => leave('click:close') : null });
const aboveWithBack = () => ({
  ...above(), onBack: state.integrations.length > 1 ? toList : null,
});

function asking() {
  const user = state.info?.endUser;
  const person = user?.display_name || user?.email || '';
  const team = user?.organization?.display_name || '';
  const who = team && person ? `${team} (${person})` : team || person;
  return { ...state.from, who };
}

function toList() {
  // Where the list is the screen before, going there is going back.
  if (journey.here?.after === 'list') {
    journey.back();
    return;
  }
  journey.push(entry('list'));
  drawList();
}

/** What may be connected. */
export function drawList() {
  dropAttempt();
  Object.assign(state, { chosen: null, provider: null });
  report('view:list');
  showList(above(), {
    integrations: state.integrations,
    asking: asking(),
    reconnecting: state.info.isReconnecting,
    query: state.search,
    choose: (integration, search) => {
      state.search = search;
      choose(integration.unique_key);
      report('click:integration');
      journey.push(entry('form', { key: integration.unique_key, after: 'list' }));
      toForm(true);
    },
  });
}

/** The form of the chosen integration, once all that it needs is here. */
export async function toForm(clicked = false) {
  if (!await prepare(() => toForm())) return;
  const fields = fieldsOf(state.provider, state.chosen, state.info);
  // Nothing to fill in, and the click that brought us here may still open a window.
  if (clicked && !fields.some((field) => field.shown) && navigator.userActivation?.isActive) {
    submit({}, true);
  } else {
    drawForm();
  }
}

/** Get the provider's definition; false when something else is shown instead. */
async function prepare(retry) {
  const { round, chosen: integration } = state;
  const current = () => round === state.round && state.chosen === integration;
  if (!state.providers.has(integration.provider)) {
    showLoading(aboveWithBack(), retry);
    try {
      const found = await state.session.provider(integration.provider, lang);
      state.providers.set(integration.provider, found);
    } catch (error) {
      if (current()) stuck(error, retry);
      return false;
    }
    if (!current()) return false;
  }
  if (state.provider !== state.providers.get(integration.provider)) report('view:integration');
  state.provider = state.providers.get(integration.provider);
  if (connectOf(state.provider)) return true;
  const error = new ApiFailure('unsupported_auth_mode', state.provider.auth_mode);
  tellError(error);
  showOutcome(aboveWithBack(), { kind: 'bad', ...explain(error, nameOf()) });
  return false;
}

/** The form itself, with what went wrong the last time. */
export function drawForm() {
  const { chosen: integration, problem } = state;
  state.problem = null;
  const fields = fieldsOf(state.provider, integration, state.info);
  const asked = fields.some((field) => field.shown);
  const popup = connectOf(state.provider).way === 'popup';
  const hint = popup ? 'oauthHint' : (asked ? 'formHint' : 'noneHint');
  if (!popup) outcomeKnown();
  showForm(aboveWithBack(), {
    integration,
    fields,
    kept: typed(),
    guide: state.info.overrides?.[integration.unique_key]?.docs_connect
      || state.provider.docs_connect,
    hint: say(hint, { name: nameOf() }),
    asking: asking(),
    problem: problem && { ...problem, log: logId },
    reconnecting: state.info.isReconnecting,
    submit,
    onGuide: report,
  });
}

/** It is connected. */
export function drawDone({ name, pending }) {
  const hint = say(pending ? 'pendingHint' : 'doneHint', { name });
  showOutcome(above(), {
    kind: 'good',
    title: say(pending ? 'pendingTitle' : 'doneTitle'),
    text: hint + (embedded ? '' : ` ${say('tabHint')}`),
    actions: embedded ? [{ label: say('finish'), run: () => closePage('click:finish') }] : [],
  });
}

/** The person said no at the provider, which is no error. */
export function drawDeclined({ key, said }) {
  choose(key);
  showOutcome(above(), {
    kind: 'calm',
    title: say('declinedTitle'),
    text: say('declinedHint'),
    detail: explain({ code: 'callback_err', message: said }, nameOf()).detail,
    log: logId,
    actions: [
      { label: say('retry'), run: again },
      { label: say('goBack'), quiet: true, run: fromDeclined },
    ],
  });
}

function fromDeclined() {
  if (journey.here?.after === 'form') {
    journey.back();
  } else {
    journey.replace(entry('form', { key: state.chosen.unique_key }));
    toForm();
  }
}

/** The session is over. */
export function ended(error) {
  dropAttempt();
  state.typed.clear();
  showOutcome(above(), {
    kind: 'bad', title: say('expiredTitle'), text: say('expiredHint'),
    detail: error && explain(error, '').detail,
  });
}

/** Something that has to be fetched could not be. */
export function stuck(error, retry) {
  tellError(error);
  if (hasEnded(error)) {
    ended(error);
    return;
  }
  showOutcome(state.info ? aboveWithBack() : above(), {
    kind: 'bad',
    ...explain(error, nameOf()),
    log: state.info ? logId : null,
    actions: [{ label: say('retry'), run: retry }],
  });
}
