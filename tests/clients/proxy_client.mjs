// Calls the proxy methods of the official Node client and prints what each one gave, as one JSON
// object; bytes are in base64.
//
// Reads from standard input: { host, apiKey, narrowKey, key, id, oauth, ids: { over, refused, dead } }.

import { readFileSync } from 'node:fs';
import { Nango } from '@nangohq/node';

const { host, apiKey, narrowKey, key, id, oauth, ids, elsewhere } = JSON.parse(
    readFileSync(0, 'utf8'),
);
const nango = new Nango({ host, apiKey });
const narrow = new Nango({ host, apiKey: narrowKey });
const at = { providerConfigKey: key, connectionId: id };
const bytes = Uint8Array.from({ length: 256 }, (_, number) => number);
const of = (connectionId) => ({ providerConfigKey: oauth, connectionId, endpoint: '/api/me' });

const steps = {
    get: () => nango.get({ ...at, endpoint: '/echo' }),
    'get without a slash': () => nango.get({ ...at, endpoint: 'echo' }),
    'get with params': () =>
        nango.get({ ...at, endpoint: '/echo?b=1', params: { a: 'x y&z', 'c[]': 'é' } }),
    'get with a query': () => nango.get({ ...at, endpoint: '/echo', params: 'a=1&a=2&b=%2F' }),
    'get with headers': () =>
        nango.get({ ...at, endpoint: '/echo', headers: { Accept: 'a/b', 'X-Trace': 't' } }),
    'an odd path': () => nango.get({ ...at, endpoint: '/echo/a%252Fb/é %20/x' }),
    post: () => nango.post({ ...at, endpoint: '/echo', data: { q: 1, text: 'é' } }),
    'post a form': () =>
        nango.post({
            ...at,
            endpoint: '/echo',
            data: 'a=1&b=%20',
            headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        }),
    'post bytes': () =>
        nango.post({
            ...at,
            endpoint: '/echo',
            data: Buffer.from(bytes),
            headers: { 'Content-Type': 'application/octet-stream' },
        }),
    'post multipart': () => {
        const form = new FormData();
        form.append('file', new Blob([bytes]), 'f.bin');
        return nango.post({ ...at, endpoint: '/echo', data: form });
    },
    put: () => nango.put({ ...at, endpoint: '/echo', data: { q: 1 } }),
    patch: () => nango.patch({ ...at, endpoint: '/echo', data: { q: 1 } }),
    delete: () => nango.delete({ ...at, endpoint: '/echo', data: { q: 1 } }),
    'delete without a body': () => nango.delete({ ...at, endpoint: '/echo' }),
    propfind: () => nango.proxy({ ...at, method: 'PROPFIND', endpoint: '/echo', data: '<a/>' }),
    report: () => nango.proxy({ ...at, method: 'REPORT', endpoint: '/echo' }),
    'bytes as answer': () =>
        nango.get({ ...at, endpoint: '/bytes', responseType: 'arraybuffer' }),
    'a packed answer': () => nango.get({ ...at, endpoint: '/packed' }),
    'a packed answer, unpacked': () =>
        nango.get({ ...at, endpoint: '/packed', decompress: true }),
    'a chunked answer': () => nango.get({ ...at, endpoint: '/chunked' }),
    'no content': () => nango.delete({ ...at, endpoint: '/nothing' }),
    retries: () => nango.get({ ...at, endpoint: '/flaky', retries: 3 }),
    'retries by status': () =>
        nango.get({ ...at, endpoint: '/conflict', retries: 1, retryOn: [409] }),
    'an error of theirs': () => nango.get({ ...at, endpoint: '/teapot' }),
    'another host': () =>
        nango.get({ ...at, endpoint: '/echo', baseUrlOverride: `${elsewhere}/v2` }),
    'another host, narrow key': () =>
        narrow.get({ ...at, endpoint: '/echo', baseUrlOverride: elsewhere }),
    'narrow key': () => narrow.get({ ...at, endpoint: '/echo' }),
    'narrow key reads': () => narrow.getConnection(key, id),
    'a redirect elsewhere': () =>
        nango.get({ ...at, endpoint: '/away', forwardHeadersOnRedirect: true }),
    'too large': () => nango.get({ ...at, endpoint: '/large' }),
    'cut off': () => nango.get({ ...at, endpoint: '/cut' }),

    'a token that was over': () => nango.get(of(ids.over)),
    'a token that was refused': () => nango.get(of(ids.refused)),
    'a dead grant': () => nango.get(of(ids.dead)),
    'a dead grant again': () => nango.get(of(ids.dead)),
    'no such connection': () => nango.get({ ...at, connectionId: 'nope', endpoint: '/echo' }),
    'no such integration': () =>
        nango.get({ ...at, providerConfigKey: 'nope', endpoint: '/echo' }),
    'wrong key': () =>
        new Nango({ host, apiKey: '11111111-1111-4111-8111-111111111111' }).get({
            ...at,
            endpoint: '/echo',
        }),
};

const shown = (data) => (Buffer.isBuffer(data) ? data.toString('base64') : data);
const results = {};
for (const [name, step] of Object.entries(steps)) {
    try {
        const { status, headers, data } = await step();
        results[name] = { status, headers, data: shown(data) };
    } catch (error) {
        const { response } = error;
        results[name] = {
            status: response?.status,
            headers: response?.headers,
            data: response?.data,
            text: error.message,
            failed: true,
        };
    }
}
console.log(JSON.stringify(results));
