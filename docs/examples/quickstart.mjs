// Makes a link for a person to connect an account, then reads what that person has connected.
import { readFileSync } from 'node:fs';
import { Nango } from '@nangohq/node';

const file = process.env.KEYSTOW_STACK ?? '.local/stack.json';
const stack = JSON.parse(readFileSync(file, 'utf8'));
const nango = new Nango({ host: stack.api_url, secretKey: stack.secret_key });

const session = await nango.createConnectSession({
  end_user: { id: 'user-1', email: 'ada@example.com' },
  allowed_integrations: ['demo', 'demo-api-key'],
});
console.log('Open this and connect an account:', session.data.connect_link);

const { connections } = await nango.listConnections({ userId: 'user-1' });
for (const { provider_config_key: key, connection_id: id } of connections) {
  const { credentials } = await nango.getConnection(key, id);
  console.log(key, id, credentials.type, 'expires:', credentials.expires_at ?? 'never');
}
