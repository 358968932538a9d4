// A device that logs in by OAuth's device grant, with oauth4webapi as its client: node oauth_webapi.mjs FOLDER ISSUER. FOLDER has
// node_modules.
//
// Writes a JSON object a line: first what a person has to type in, then it reads a line when that was approved; at last what each step gave.
// Any surprise ends it with a trace.

import { webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [folder, issuer] = process.argv.slice(2);
// Node 18 keeps it apart.
globalThis.crypto ??= webcrypto;
const oauth = await import(pathToFileURL(`${folder}/node_modules/oauth4webapi/build/index.js`));

const CLIENT = { client_id: 'orinoco-cli' };
const POLLS_MAX = 10;
// That http is meant.
const INSECURE = { [oauth.allowInsecureRequests]: true };

const say = (event) => console.log(JSON.stringify(event));

async function discover() {
  const answer = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...INSECURE });
  return oauth.processDiscoveryResponse(new URL(issuer), answer);
}

async function logIn(server) {
  const answer = await oauth.deviceAuthorizationRequest(server, CLIENT, oauth.None(), new URLSearchParams(), INSECURE);
  const asked = await oauth.processDeviceAuthorizationResponse(server, CLIENT, answer);
  const polls = [];
  let interval = asked.interval;
  while (polls.length < POLLS_MAX) {
    try {
      const polled = await oauth.deviceCodeGrantRequest(server, CLIENT, oauth.None(), asked.device_code, INSECURE);
      return [await oauth.processDeviceCodeResponse(server, CLIENT, polled), polls];
    } catch (error) {
      if (!(error instanceof oauth.ResponseBodyError)) throw error;
      if (!['authorization_pending', 'slow_down'].includes(error.error)) throw error;
      polls.push(error.error);
    }
    if (polls.at(-1) === 'slow_down') {
      interval += 5;
      await setTimeout(interval * 1000);
    } else if (polls.includes('slow_down')) {
      // Only now may it be approved, so that all that came before is known. What waits no more needs no pause.
      say({ user_code: asked.user_code });
      await once(process.stdin, 'data');
    }
    // Else it is too early, until that is said.
  }
  throw new Error('nobody approved');
}

async function main() {
  const server = await discover();
  const me = (token) => oauth.protectedResourceRequest(token, 'GET', new URL(`${issuer}/api/v1/me`), undefined, null, INSECURE);
  const refresh = async (token) => {
    const answer = await oauth.refreshTokenGrantRequest(server, CLIENT, oauth.None(), token, INSECURE);
    return oauth.processRefreshTokenResponse(server, CLIENT, answer);
  };
  const [first, polls] = await logIn(server);
  const account = await (await me(first.access_token)).json();
  const second = await refresh(first.refresh_token);
  if (second.refresh_token === first.refresh_token) throw new Error('the refresh token did not rotate');
  // As a resource server takes it: signature, type, issuer, audience and times.
  const presented = new Request(`${issuer}/`, { headers: { authorization: `Bearer ${second.access_token}` } });
  await oauth.validateJwtAccessToken(server, presented, 'orinoco', INSECURE);

  const bearer = (_server, _client, _body, headers) => headers.set('authorization', `Bearer ${second.access_token}`);
  const introspect = async (token) => {
    const answer = await oauth.introspectionRequest(server, CLIENT, bearer, token, INSECURE);
    return oauth.processIntrospectionResponse(server, CLIENT, answer);
  };
  const introspected = [await introspect(second.access_token), await introspect(second.refresh_token)];
  const revoked = await oauth.revocationRequest(server, CLIENT, oauth.None(), second.refresh_token, INSECURE);
  await oauth.processRevocationResponse(revoked);
  const after = await me(second.access_token).then(
    (answer) => answer.status,
    (error) => error.status,
  );
  const refused = await refresh(second.refresh_token).then(
    () => null,
    (error) => error.error,
  );
  say({ polls, me: account, introspected, revoked: revoked.status, after, refused });
}

await main();
process.exit();
