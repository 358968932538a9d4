// Who is logged in. The access token is in memory alone; the refresh token is in localStorage, so that a login outlives a reload and is that of
// all tabs. It is used once (docs/login.md): tabs take turns, and each tells the others what it got.

import { signal } from '@preact/signals';
import { HttpError, request } from './http';
import type { Me, Role, Tokens } from './types';

export type Login = { is: 'unknown' } | { is: 'out'; ended: boolean } | { is: 'in'; me: Me } | { is: 'unreachable' };

/** Of this tab. `ended`: there was a login, and it is over without having been asked to. */
export const login = signal<Login>({ is: 'unknown' });

interface Access {
  token: string;
  /** ms since 1970. */
  renewAt: number;
}

type News = { is: 'renewed'; access: Access } | { is: 'in' } | { is: 'out' };

const STORED = 'orinoco.refreshToken';
const LOCK = 'orinoco.refresh';
/** A token is renewed so long before its end, as a part of its life. */
const RENEW_BEFORE = 0.2;

let access: Access | undefined;
let renewing: Promise<string> | undefined;
const tabs = new BroadcastChannel('orinoco.login');

tabs.onmessage = ({ data }: MessageEvent<News>) => {
  if (data.is === 'renewed') access = data.access;
  else if (data.is === 'out') setOut(false);
  else void start();
};

/** Takes up the login that this browser has. */
export async function start(): Promise<void> {
  if (localStorage.getItem(STORED) === null) return setOut(false);
  try {
    await reload();
  } catch (error) {
    if (login.value.is === 'unknown' && error instanceof HttpError) login.value = { is: 'unreachable' };
  }
}

/** Asks again who is logged in: roles, device and notices change. */
export async function reload(): Promise<void> {
  const me = await call<Me>('GET', 'me');
  login.value = { is: 'in', me };
}

/** Begins a login by what a password or a QR challenge was exchanged for. */
export async function begin(tokens: Tokens): Promise<void> {
  keep(tokens);
  await reload();
  tell({ is: 'in' });
}

export async function logIn(email: string, password: string): Promise<void> {
  await begin(await request<Tokens>('POST', 'auth/login', { email, password }));
}

/** Ends this login, or all of the account. This browser forgets it whatever the daemon says; an error is for the person to know. */
export async function logOut(everywhere = false): Promise<void> {
  try {
    await call('POST', everywhere ? 'auth/logout-all' : 'auth/logout');
  } finally {
    setOut(false);
    tell({ is: 'out' });
  }
}

export function has(role: Role): boolean {
  return login.value.is === 'in' && login.value.me.roles.includes(role);
}

/** A request as who is logged in. A token that is refused is renewed once. */
export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const token = await accessToken();
  try {
    return await request<T>(method, path, body, token);
  } catch (error) {
    if (!(error instanceof HttpError) || error.status !== 401) throw error;
    return await request<T>(method, path, body, await accessToken(token));
  }
}

/** An access token that is good for a while; `refused` is one that is of no use any more. */
export async function accessToken(refused?: string): Promise<string> {
  const isGood = access !== undefined && access.token !== refused && Date.now() < access.renewAt;
  return isGood && access !== undefined ? access.token : renewed(refused);
}

function renewed(refused: string | undefined): Promise<string> {
  renewing ??= inTurn(() => renew(refused)).finally(() => {
    renewing = undefined;
  });
  return renewing;
}

async function renew(refused: string | undefined): Promise<string> {
  // Another tab was first, while this one waited for its turn.
  if (access !== undefined && access.token !== refused && Date.now() < access.renewAt) return access.token;
  const refreshToken = localStorage.getItem(STORED);
  if (refreshToken === null) {
    setOut(login.value.is === 'in');
    throw new HttpError(401, '', 0);
  }
  try {
    return keep(await request<Tokens>('POST', 'auth/refresh', { refreshToken }));
  } catch (error) {
    // Whatever else it is, the token may still be good.
    if (error instanceof HttpError && error.status === 401) {
      setOut(true);
      tell({ is: 'out' });
    }
    throw error;
  }
}

/** One tab at a time. Where the browser has no locks (no https, not on loopback), the daemon's grace for two tabs has to do. */
function inTurn(work: () => Promise<string>): Promise<string> {
  return 'locks' in navigator ? Promise.resolve(navigator.locks.request(LOCK, work)) : work();
}

function keep(tokens: Tokens): string {
  localStorage.setItem(STORED, tokens.refreshToken);
  access = { token: tokens.accessToken, renewAt: Date.now() + tokens.expiresIn * 1000 * (1 - RENEW_BEFORE) };
  tell({ is: 'renewed', access });
  return tokens.accessToken;
}

function setOut(ended: boolean) {
  access = undefined;
  localStorage.removeItem(STORED);
  login.value = { is: 'out', ended };
}

function tell(news: News) {
  tabs.postMessage(news);
}
