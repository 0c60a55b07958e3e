// Calls the methods of the official Node client and prints what each one gave, as one JSON object.
//
// Reads from standard input: { host, apiKey, wrongKey, webhookSigningKey, oauth, key, oauth1,
// ids: { oauth, key, oauth1 }, delivery: { headers, raw } }.

import { readFileSync } from 'node:fs';
import { Nango } from '@nangohq/node';

const given = JSON.parse(readFileSync(0, 'utf8'));
const { host, webhookSigningKey, oauth, key, oauth1, ids } = given;
const nango = new Nango({ host, apiKey: given.apiKey, webhookSigningKey });
const stranger = new Nango({ host, apiKey: given.wrongKey });
const raw = given.delivery.raw;
const headers = given.delivery.headers;
const user = { id: 'node-user', email: 'ada@node.example', display_name: 'Ada' };

const steps = {
    listProviders: () => nango.listProviders({}),
    'listProviders search': () => nango.listProviders({ search: 'airtable' }),
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
    'getToken oauth1': () => nango.getToken(oauth1, ids.oauth1),

    'getMetadata before': () => nango.getMetadata(key, ids.key),
    setMetadata: async () => (await nango.setMetadata(key, ids.key, { a: 1, b: 1 })).data,
    updateMetadata: async () => (await nango.updateMetadata(key, [ids.key], { b: 2 })).data,
    'updateMetadata unknown': () => nango.updateMetadata(key, ['nope'], { b: 2 }),
    getMetadata: () => nango.getMetadata(key, ids.key),
    patchConnection: () =>
        nango.patchConnection(
            { connectionId: ids.key, provider_config_key: key },
            { tags: { x: 'y' } },
        ),
    'getConnection patched': () => nango.getConnection(key, ids.key),

    createConnectSession: () => nango.createConnectSession({ end_user: user }),
    'createConnectSession error': () => nango.createConnectSession({}),
    createReconnectSession: () =>
        nango.createReconnectSession({ connection_id: ids.key, integration_id: key }),
    'createReconnectSession unknown': () =>
        nango.createReconnectSession({ connection_id: 'nope', integration_id: key }),
    waitForConnection: () => nango.waitForConnection(key, 'node-user'),
    getEnvironmentVariables: () => nango.getEnvironmentVariables(),

    getScriptsConfig: () => nango.getScriptsConfig(),

    verifyWebhookSignature: async () =>
        nango.verifyWebhookSignature(headers['x-nango-signature'], JSON.parse(raw)),
    verifyIncomingWebhookRequest: async () => nango.verifyIncomingWebhookRequest(raw, headers),
    'verifyIncomingWebhookRequest changed': async () =>
        nango.verifyIncomingWebhookRequest(raw.replace('true', 'false'), headers),

    deleteConnection: async () => (await nango.deleteConnection(key, ids.key)).data,
    'getConnection deleted': () => nango.getConnection(key, ids.key),
    'deleteConnection again': () => nango.deleteConnection(key, ids.key),
    deleteIntegration: async () => (await nango.deleteIntegration('node gh:1@x')).data,
    'deleteIntegration again': () => nango.deleteIntegration('node gh:1@x'),

    'wrong key': () => stranger.listConnections(),
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
