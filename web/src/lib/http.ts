// Requests to the daemon, and what went wrong with them.

import type { ChallengeStatus } from './types';

/** A request takes no longer, ms: the daemon itself gives up on what is behind it after some seconds. */
const TIMEOUT_MS = 15_000;

/** An error of the daemon (RFC 9457), or none at all: then `status` is 0. */
export class HttpError extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** Seconds after which to try again; 0 where nothing was said. */
    readonly retryAfterS: number,
    /** Of a challenge that can't do any more what was asked. */
    readonly challengeStatus?: ChallengeStatus,
  ) {
    super(message);
  }
}

/** One request below `/api/v1/`. An answer without a body gives `undefined`. */
export async function request<T>(method: string, path: string, body?: unknown, token?: string): Promise<T> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (token !== undefined) headers.Authorization = `Bearer ${token}`;
  let response: Response;
  let text: string;
  try {
    response = await fetch(`/api/v1/${path}`, {
      method,
      headers,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    text = await response.text();
  } catch {
    throw new HttpError(0, '', 0);
  }
  const answer = parsed(text);
  if (!response.ok) {
    const problem = (answer ?? {}) as { detail?: string; challengeStatus?: ChallengeStatus };
    const retryAfterS = Number(response.headers.get('Retry-After') ?? 0) || 0;
    throw new HttpError(response.status, problem.detail ?? response.statusText, retryAfterS, problem.challengeStatus);
  }
  return answer as T;
}

function parsed(text: string): unknown {
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch {
    // Of something between us and the daemon: its status says enough.
    return undefined;
  }
}
