// Calls the methods of the official Node client and prints what each one gave, as one JSON object.
//
// Reads from standard input: { host, apiKey, wrongKey, webhookSigningKey, oauth, key, oauth1,
// basic, machine, reader, ids: { oauth, key, oauth1, basic, machine, broken },
// delivery: { headers, raw } }.

import { readFileSync } from 'node:fs';
import { Nango } from '@nangohq/node';

const given = JSON.parse(readFileSync(0, 'utf8'));
const { host, webhookSigningKey, oauth, key, oauth1, basic, machine, ids } = given;
const nango = new Nango({ host, apiKey: given.apiKey, webhookSigningKey });
const stranger = new Nango({ host, apiKey: given.wrongKey });
const reader = new Nango({ host, apiKey: given.reader });
const raw = given.delivery.raw;
const headers = given.delivery.headers;
const user = { id: 'node-user', email: 'ada@node.example', display_name: 'Ada' };

const steps = {
    listProviders: () => nango.listProviders({}),
    'listProviders search': () => nango.listProviders({ search: 'airtable' }),
    'listProviders by name': () => nango.listProviders({ search: 'personal access' }),
    getProvider: () => nango.getProvider({ provider: 'github' }),
    'getProvider unknown': () => nango.getProvider({ provider: 'nope' }),
    getProviderTemplates: () => nango.getProviderTemplates({ provider: 'github' }),

    createIntegration: () =>
        nango.createIntegration({
            provider: 'github',
            unique_key: 'node gh:1@x',
            credentials: { type: 'OAUTH2', client_id: 'a', client_secret: 'b' },
        }),
    'createIntegration again': () =>
        nango.createIntegration({
            provider: 'github',
            unique_key: 'node gh:1@x',
            credentials: { type: 'OAUTH2', client_id: 'a', client_secret: 'b' },
        }),
    'createIntegration of no provider': () =>
        nango.createIntegration({ provider: 'nope', unique_key: 'node-nope' }),
    createQuickstartIntegration: () =>
        nango.createQuickstartIntegration({ provider: 'github', unique_key: 'node-q' }),
    listIntegrations: () => nango.listIntegrations(),
    getIntegration: () => nango.getIntegration({ uniqueKey: 'node gh:1@x' }),
    'getIntegration webhook': () =>
        nango.getIntegration({ uniqueKey: 'node gh:1@x' }, { include: ['webhook'] }),
    'getIntegration credentials': () =>
        nango.getIntegration({ uniqueKey: 'node gh:1@x' }, { include: ['credentials'] }),
    'getIntegration unknown': () => nango.getIntegration({ uniqueKey: 'zzz' }),
    updateIntegration: () =>
        nango.updateIntegration({ uniqueKey: 'node gh:1@x' }, { display_name: 'SDK' }),
    'updateIntegration wrong': () =>
        nango.updateIntegration({ uniqueKey: 'node gh:1@x' }, { display_name: '' }),
    'updateIntegration unknown': () =>
        nango.updateIntegration({ uniqueKey: 'zzz' }, { display_name: 'SDK' }),

    'listConnections()': () => nango.listConnections(),
    'listConnections(id)': () => nango.listConnections(ids.key),
    'listConnections(id, search, user)': () =>
        nango.listConnections(ids.key, undefined, { endUserId: 'node-user' }),
    'listConnections(search)': () => nango.listConnections(undefined, 'ada@node'),
    'listConnections({})': () =>
        nango.listConnections({ integrationId: key, tags: { team: 'blue' }, limit: 10 }),
    'listConnections({other tag})': () =>
        nango.listConnections({ integrationId: key, tags: { team: 'red' }, limit: 10 }),
    'listConnections([])': () =>
        nango.listConnections({ integrationId: [key, oauth1], limit: 10 }),
    'listConnections({userId})': () => nango.listConnections({ userId: 'node-user' }),
    'listConnections(wrong)': () => nango.listConnections({ limit: 5000 }),
    'listConnections(page)': () => nango.listConnections({ integrationId: key, limit: 1, page: 1 }),

    getConnection: () => nango.getConnection(key, ids.key),
    'getConnection oauth2': () => nango.getConnection(oauth, ids.oauth),
    'getConnection with refresh token': () => nango.getConnection(oauth, ids.oauth, false, true),
    'getConnection force': () => nango.getConnection(oauth, ids.oauth, true, true),
    'getConnection unknown': () => nango.getConnection(key, 'nope'),
    'getConnection unknown integration': () => nango.getConnection('nope', 'nope'),
    'getToken oauth2': () => nango.getToken(oauth, ids.oauth),
    getRawTokenResponse: () => nango.getRawTokenResponse(oauth, ids.oauth),
    'getToken apikey': () => nango.getToken(key, ids.key),
    'getToken basic': () => nango.getToken(basic, ids.basic),
    'getToken client credentials': () => nango.getToken(machine, ids.machine),
    'getToken unknown': () => nango.getToken(key, 'nope'),
    'getRawTokenResponse unknown': () => nango.getRawTokenResponse(oauth, 'nope'),
    'getConnection broken': () => nango.getConnection(oauth, ids.broken),
    'getConnection broken again': () => nango.getConnection(oauth, ids.broken),
    'getToken broken': () => nango.getToken(oauth, ids.broken),
    'getConnection of a reader': () => reader.getConnection(key, ids.key),
    'getConnection force of a reader': () => reader.getConnection(key, ids.key, true),
    'getToken oauth1': () => nango.getToken(oauth1, ids.oauth1),

    'getMetadata before': () => nango.getMetadata(key, ids.key),
    setMetadata: async () => (await nango.setMetadata(key, ids.key, { a: 1, b: 1 })).data,
    updateMetadata: async () => (await nango.updateMetadata(key, [ids.key], { b: 2 })).data,
    'setMetadata unknown': () => nango.setMetadata(key, 'nope', { b: 2 }),
    'getMetadata unknown': () => nango.getMetadata(key, 'nope'),
    'updateMetadata unknown': () => nango.updateMetadata(key, ['nope'], { b: 2 }),
    getMetadata: () => nango.getMetadata(key, ids.key),
    patchConnection: () =>
        nango.patchConnection(
            { connectionId: ids.key, provider_config_key: key },
            { tags: { x: 'y' } },
        ),
    'patchConnection unknown': () =>
        nango.patchConnection({ connectionId: 'nope', provider_config_key: key }, { tags: {} }),
    'patchConnection unknown integration': () =>
        nango.patchConnection({ connectionId: 'nope', provider_config_key: 'zzz' }, { tags: {} }),
    'patchConnection wrong': () =>
        nango.patchConnection(
            { connectionId: ids.key, provider_config_key: key },
            { tags: { 'no key': 'y' } },
        ),
    'getConnection patched': () => nango.getConnection(key, ids.key),

    createConnectSession: () => nango.createConnectSession({ end_user: user }),
    'createConnectSession error': () => nango.createConnectSession({}),
    'createConnectSession with all': () =>
        nango.createConnectSession({
            end_user: user,
            organization: { id: 'org', display_name: 'Org' },
            tags: { plan: 'team' },
            allowed_integrations: [key],
            integrations_config_defaults: { [oauth]: { authorization_params: { a: 'b' } } },
            overrides: { [key]: { docs_connect: 'https://docs.example/connect' } },
        }),
    'createConnectSession unknown': () =>
        nango.createConnectSession({ end_user: user, allowed_integrations: ['zzz'] }),
    createReconnectSession: () =>
        nango.createReconnectSession({ connection_id: ids.key, integration_id: key }),
    'createReconnectSession unknown': () =>
        nango.createReconnectSession({ connection_id: 'nope', integration_id: key }),
    waitForConnection: () => nango.waitForConnection(key, 'node-user'),
    'waitForConnection in vain': () =>
        nango.waitForConnection(key, 'nobody', { signal: AbortSignal.timeout(1500) }),
    getEnvironmentVariables: () => nango.getEnvironmentVariables(),
    'getEnvironmentVariables of a reader': () => reader.getEnvironmentVariables(),

    getScriptsConfig: () => nango.getScriptsConfig(),
    listFunctions: () => nango.listFunctions({ uniqueKey: key }),
    listRecords: () => nango.listRecords({ providerConfigKey: key, connectionId: 'c', model: 'M' }),
    triggerAction: () => nango.triggerAction(key, 'c', 'action'),
    syncStatus: () => nango.syncStatus(key, '*'),

    verifyWebhookSignature: async () =>
        nango.verifyWebhookSignature(headers['x-nango-signature'], JSON.parse(raw)),
    'verifyWebhookSignature changed': async () =>
        nango.verifyWebhookSignature(headers['x-nango-signature'], { ...JSON.parse(raw), a: 1 }),
    verifyIncomingWebhookRequest: async () => nango.verifyIncomingWebhookRequest(raw, headers),
    'verifyIncomingWebhookRequest changed': async () =>
        nango.verifyIncomingWebhookRequest(raw.replace('true', 'false'), headers),

    deleteConnection: async () => (await nango.deleteConnection(key, ids.key)).data,
    'getConnection deleted': () => nango.getConnection(key, ids.key),
    'deleteConnection again': () => nango.deleteConnection(key, ids.key),
    deleteIntegration: async () => (await nango.deleteIntegration('node gh:1@x')).data,
    'deleteIntegration again': () => nango.deleteIntegration('node gh:1@x'),

    'wrong key: listConnections': () => stranger.listConnections(),
    'wrong key: getConnection': () => stranger.getConnection(key, ids.key),
    'wrong key: getToken': () => stranger.getToken(key, ids.key),
    'wrong key: getRawTokenResponse': () => stranger.getRawTokenResponse(oauth, ids.oauth),
    'wrong key: getMetadata': () => stranger.getMetadata(key, ids.key),
    'wrong key: setMetadata': () => stranger.setMetadata(key, ids.key, {}),
    'wrong key: updateMetadata': () => stranger.updateMetadata(key, ids.key, {}),
    'wrong key: patchConnection': () =>
        stranger.patchConnection({ connectionId: ids.key, provider_config_key: key }, {}),
    'wrong key: deleteConnection': () => stranger.deleteConnection(key, ids.key),
    'wrong key: listProviders': () => stranger.listProviders({}),
    'wrong key: getProvider': () => stranger.getProvider({ provider: 'github' }),
    'wrong key: getProviderTemplates': () => stranger.getProviderTemplates({ provider: 'github' }),
    'wrong key: listIntegrations': () => stranger.listIntegrations(),
    'wrong key: getIntegration': () => stranger.getIntegration({ uniqueKey: key }),
    'wrong key: createIntegration': () =>
        stranger.createIntegration({ provider: 'github', unique_key: 'x' }),
    'wrong key: createQuickstartIntegration': () =>
        stranger.createQuickstartIntegration({ provider: 'github', unique_key: 'x' }),
    'wrong key: updateIntegration': () => stranger.updateIntegration({ uniqueKey: key }, {}),
    'wrong key: deleteIntegration': () => stranger.deleteIntegration(key),
    'wrong key: createConnectSession': () => stranger.createConnectSession({ end_user: user }),
    'wrong key: createReconnectSession': () =>
        stranger.createReconnectSession({ connection_id: ids.key, integration_id: key }),
    'wrong key: waitForConnection': () => stranger.waitForConnection(key, 'node-user'),
    'wrong key: getEnvironmentVariables': () => stranger.getEnvironmentVariables(),
};

const results = {};
for (const [name, step] of Object.entries(steps)) {
    try {
        results[name] = { value: await step() };
    } catch (error) {
        const { response } = error;
        results[name] = { status: response?.status, error: response?.data?.error, text: error.message };
    }
}
console.log(JSON.stringify(results));
