// What a test tells `centrifuge` (npm) to do, and what it tells the test: the same in Node and in a browser.

/**
 * Makes a client, which does not connect yet. `websocket`: what it has in place of the browser's own. `say(event, more)`: told what
 * happens. Gives a function that does one command of the test's.
 */
export function drive({ Centrifuge, websocket = null, url, token, say }) {
  let give = null;
  const options = { websocket, minReconnectDelay: 50, maxReconnectDelay: 500 };
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

  function subscribe({ channel, data, joinLeave }) {
    const delays = { minResubscribeDelay: 50, maxResubscribeDelay: 500 };
    const subscription = client.newSubscription(channel, { data, joinLeave, ...delays });
    subscription.on('subscribed', ({ recoverable, positioned, wasRecovering, recovered, data: told }) => {
      say('subscribed', { channel, recoverable, positioned, wasRecovering, recovered, data: told });
    });
    subscription.on('unsubscribed', ({ code }) => say('unsubscribed', { channel, code }));
    subscription.on('publication', ({ data: published, offset }) => {
      say('publication', { channel, data: published, offset: offset || 0 });
    });
    for (const event of ['join', 'leave']) {
      subscription.on(event, ({ info }) => say(event, { channel, client: info.client, user: info.user }));
    }
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

  return ({ do: action, ...wanted }) => {
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
  };
}
