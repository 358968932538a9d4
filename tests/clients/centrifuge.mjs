// `centrifuge` (npm), driven by JSON lines: node centrifuge.mjs FOLDER URL [TOKEN]. FOLDER has node_modules.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [folder, url, token] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { Centrifuge } = require('centrifuge');

const say = (event, more) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
let give = null;

const options = { websocket: require('ws'), minReconnectDelay: 50, maxReconnectDelay: 500 };
if (token) {
  options.token = token;
  // The test answers.
  options.getToken = () => {
    say('token');
    return new Promise((resolve) => { give = resolve; });
  };
}
const client = new Centrifuge(url, options);
client.on('connecting', ({ code }) => say('connecting', { code }));
client.on('connected', ({ client: id }) => say('connected', { client: id }));
client.on('disconnected', ({ code, reason }) => say('disconnected', { code, reason }));

function subscribe({ channel, data }) {
  const subscription = client.newSubscription(channel, { data, minResubscribeDelay: 50, maxResubscribeDelay: 500 });
  subscription.on('subscribed', ({ recoverable, positioned, wasRecovering, recovered, data: told }) => {
    say('subscribed', { channel, recoverable, positioned, wasRecovering, recovered, data: told });
  });
  subscription.on('unsubscribed', ({ code }) => say('unsubscribed', { channel, code }));
  subscription.on('publication', ({ data: published, offset }) => {
    say('publication', { channel, data: published, offset: offset || 0 });
  });
  subscription.subscribe();
}

function unsubscribe(channel) {
  const subscription = client.getSubscription(channel);
  subscription.unsubscribe();
  client.removeSubscription(subscription);
}

const calls = {
  history: ({ channel, ...wanted }) => client.history(channel, wanted),
  presence: ({ channel }) => client.presence(channel),
  presence_stats: async ({ channel }) => {
    const { numClients, numUsers } = await client.presenceStats(channel);
    return { clients: numClients, users: numUsers };
  },
  publish: ({ channel }) => client.publish(channel, {}),
  rpc: () => client.rpc('method', {}),
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  const { do: action, ...wanted } = command;
  if (action === 'connect') client.connect();
  else if (action === 'disconnect') client.disconnect();
  else if (action === 'subscribe') subscribe(wanted);
  else if (action === 'unsubscribe') unsubscribe(wanted.channel);
  else if (action === 'token') give(wanted.token);
  else {
    calls[action](wanted).then(
      (result) => say('answer', { result }),
      ({ code }) => say('answer', { error: code }),
    );
  }
}).on('close', () => process.exit(0));
