// A QR code to be scanned by a phone that is logged in. It is bound to this browser by a cookie that no script can read, and renews itself
// while somebody looks.

import { useEffect, useRef, useState } from 'preact/hooks';
import { about } from '../../lib/about';
import { HttpError, request } from '../../lib/http';
import { begin } from '../../lib/login';
import type { Challenge, ChallengeStatus, Tokens } from '../../lib/types';
import { Failed, Loading } from '../../ui';
import { words } from '../../words';

/** Codes that are made without anybody touching the page: a page that was forgotten does not go on for ever. */
const RENEWALS_MAX = 30;
/** A stream that was refused is tried again after, ms. */
const RETRY_AFTER_MS = 3000;

type State =
  | { is: 'loading' }
  | { is: 'failed'; error: unknown }
  /** It waits for somebody who looks. */
  | { is: 'paused' }
  | { is: 'shown'; id: string; status: ChallengeStatus; expiresAt: number; link: string };

export function QrLogin() {
  const { qr } = words.value;
  const [state, setState] = useState<State>({ is: 'loading' });
  const renewals = useRef(0);
  const [round, setRound] = useState(0);
  useEffect(() => follow(setState, () => again(renewals, setState, setRound)), [round]);
  const restart = () => {
    renewals.current = 0;
    setState({ is: 'loading' });
    setRound((round) => round + 1);
  };
  if (state.is === 'loading') return <Loading />;
  if (state.is === 'paused' || state.is === 'failed') {
    return (
      <>
        {state.is === 'failed' ? <Failed error={state.error} /> : <p>{qr.paused}</p>}
        <button type="button" class="primary" onClick={restart}>
          {qr.newCode}
        </button>
      </>
    );
  }
  const isOver = state.status === 'DENIED' || state.status === 'CANCELLED';
  return (
    <div class="qr" data-status={state.status}>
      <div class={state.status === 'PENDING' ? 'picture' : 'picture done'}>
        <img src={`/api/v1/qr/challenges/${state.id}/qr.svg`} alt={qr.alt} width="260" height="260" />
        {state.status !== 'PENDING' && <span class={`mark ${isOver ? 'bad' : 'good'}`}>{isOver ? '✕' : '✓'}</span>}
      </div>
      <p role="status" class="state">
        {qr.states[state.status]}
      </p>
      {state.status === 'PENDING' && isLoopback(state.link) && (
        <p class="quiet">
          {qr.loopback} <a href={state.link}>{qr.link}</a>
        </p>
      )}
      {isOver ? (
        <button type="button" class="primary" onClick={restart}>
          {qr.newCode}
        </button>
      ) : (
        <Countdown until={state.expiresAt} />
      )}
    </div>
  );
}

/** No phone reaches it: another window of this machine does. */
function isLoopback(link: string): boolean {
  return (
    about.value?.publicUrl === new URL(link).origin && /^(localhost|127\..*|\[::1\])$/.test(new URL(link).hostname)
  );
}

/** Seconds that are left, as text and as a bar. */
export function Countdown({ until }: { until: number }) {
  const { qr } = words.value;
  const [now, setNow] = useState(Date.now());
  const total = useRef(Math.max(until - now, 1));
  useEffect(() => {
    total.current = Math.max(until - Date.now(), 1);
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [until]);
  const left = Math.max(0, until - now);
  return (
    <div class="countdown">
      <progress max={total.current} value={left} aria-label={qr.timeLeft} />
      <small class="quiet number">{qr.left(Math.ceil(left / 1000))}</small>
    </div>
  );
}

/** After one that expired: another, if somebody looks at the page. */
function again(
  renewals: { current: number },
  setState: (state: State) => void,
  setRound: (next: (round: number) => number) => void,
) {
  renewals.current += 1;
  if (renewals.current > RENEWALS_MAX) return setState({ is: 'paused' });
  const next = () => setRound((round) => round + 1);
  if (!document.hidden) return next();
  document.addEventListener('visibilitychange', next, { once: true });
}

/** Makes a challenge and follows it to its end; what it returns gives it up. */
function follow(show: (state: State) => void, onExpired: () => void): () => void {
  let isOver = false;
  let events: EventSource | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let path: string | undefined;
  let link = '';
  const end = () => {
    isOver = true;
    events?.close();
    clearTimeout(retry);
  };
  const see = (challenge: Challenge) => {
    if (isOver) return;
    const { challengeId: id, status, expiresIn, otc } = challenge;
    if (status === 'EXPIRED' || status === 'EXCHANGED') {
      end();
      return onExpired();
    }
    show({ is: 'shown', id, status, expiresAt: Date.now() + expiresIn * 1000, link });
    if (status === 'APPROVED' && otc !== undefined) {
      end();
      path = undefined;
      exchange(id, otc).catch((error: unknown) => show({ is: 'failed', error }));
    } else if (status === 'DENIED' || status === 'CANCELLED') {
      end();
    }
  };
  const listen = () => {
    events = new EventSource(`/api/v1/${path}/events`);
    events.addEventListener('status', (event: MessageEvent<string>) => see(JSON.parse(event.data) as Challenge));
    events.onerror = () => {
      // It goes on by itself, unless the answer was no stream.
      if (events?.readyState !== EventSource.CLOSED || isOver) return;
      retry = setTimeout(listen, RETRY_AFTER_MS);
    };
  };
  request<Challenge & { qrPayload: string }>('POST', 'qr/challenges', {})
    .then((challenge) => {
      link = challenge.qrPayload;
      path = `qr/challenges/${challenge.challengeId}`;
      if (isOver) return cancel(path);
      see(challenge);
      listen();
    })
    .catch((error: unknown) => isOver || show({ is: 'failed', error }));
  return () => {
    if (!isOver && path !== undefined) cancel(path);
    end();
  };
}

async function exchange(id: string, otc: string) {
  await begin(await request<Tokens>('POST', `qr/challenges/${id}/exchange`, { otc }));
}

/** Nobody shall approve what nobody waits for. If it fails, it expires. */
function cancel(path: string) {
  request('DELETE', path).catch((error: unknown) => {
    if (!(error instanceof HttpError)) throw error;
  });
}
