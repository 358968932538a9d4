// What a phone opens that scanned a QR code: who asks, and the answer. Without a code: the camera, or a code to type in.

import { useEffect, useRef, useState } from 'preact/hooks';
import { about } from '../../lib/about';
import { ago, client } from '../../lib/format';
import { HttpError } from '../../lib/http';
import { call, login } from '../../lib/login';
import { go, place } from '../../lib/router';
import type { Asked, ChallengeStatus } from '../../lib/types';
import { Failed, Field, Form, Loading, Note, sentence, typed as text } from '../../ui';
import { words } from '../../words';
import { PasswordLogin } from '../login';
import { Countdown } from '../login/qr';
import { Scanner } from './scanner';

/** What a QR code holds. */
interface Code {
  challengeId: string;
  nonce: string;
}

export function PhonePage() {
  const { phone } = words.value;
  const [code, setCode] = useState<Code>();
  const { query } = place.value;
  useEffect(() => {
    const found = query.has('challengeId') ? codeOf(new URL(location.href)) : undefined;
    if (found === undefined) return;
    setCode(found);
    // It is of use once: neither the history nor somebody who looks on needs it.
    go('/qr', { replace: true });
    // Another address is another code.
  }, [query]);
  const isIn = login.value.is === 'in';
  return (
    <div class="narrow">
      <h1>{phone.title}</h1>
      {login.value.is === 'unknown' ? (
        <Loading />
      ) : !isIn ? (
        <section class="card">
          <p>{code === undefined ? phone.logInFirst : phone.logInToAnswer}</p>
          <PasswordLogin />
        </section>
      ) : code === undefined ? (
        <NoCode onCode={setCode} />
      ) : (
        <Scanned key={code.challengeId} ask={() => scan(code)} onEnd={() => setCode(undefined)} />
      )}
    </div>
  );
}

/** Of a URL such as `{public URL}/qr?challengeId=...#nonce=...`. */
function codeOf(url: URL): Code | undefined {
  const challengeId = url.searchParams.get('challengeId');
  const nonce = new URLSearchParams(url.hash.slice(1)).get('nonce');
  return challengeId !== null && nonce !== null ? { challengeId, nonce } : undefined;
}

/** Whether it points at this daemon: by the name that this page has, or by the one that it goes by. */
function isOurs({ origin, pathname }: URL): boolean {
  const publicOrigin = about.value === undefined ? undefined : new URL(about.value.publicUrl).origin;
  return pathname.endsWith('/qr') && (origin === location.origin || origin === publicOrigin);
}

function scan({ challengeId, nonce }: Code): Promise<Asked> {
  return call<Asked>('POST', `qr/challenges/${encodeURIComponent(challengeId)}/scan`, { nonce });
}

function NoCode({ onCode }: { onCode: (code: Code) => void }) {
  const { phone } = words.value;
  const [typed, setTyped] = useState<Asked>();
  const [wrong, setWrong] = useState(false);
  const seen = (text: string) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    // Codes of others lead nowhere from here.
    const code = url !== undefined && isOurs(url) ? codeOf(url) : undefined;
    setWrong(code === undefined);
    if (code !== undefined) onCode(code);
  };
  if (typed !== undefined) return <Scanned ask={() => Promise.resolve(typed)} onEnd={() => setTyped(undefined)} />;
  return (
    <>
      <section class="card" aria-labelledby="camera">
        <h2 id="camera">{phone.scan}</h2>
        <Scanner onText={seen} />
        {wrong && <Note kind="warn">{phone.otherCode}</Note>}
      </section>
      <section class="card" aria-labelledby="typed">
        <h2 id="typed">{phone.type}</h2>
        <Form
          submit={phone.next}
          onSubmit={async (data) =>
            setTyped(await call<Asked>('POST', 'qr/user-code', { userCode: text(data, 'code') }))
          }
        >
          <Field
            label={phone.code}
            name="code"
            hint={phone.codeHint}
            autocomplete="off"
            autocapitalize="characters"
            spellcheck={false}
            required
          />
        </Form>
      </section>
    </>
  );
}

type Answer = 'approve' | 'deny';

function Scanned({ ask, onEnd }: { ask: () => Promise<Asked>; onEnd: () => void }) {
  const { phone } = words.value;
  const [asked, setAsked] = useState<Asked>();
  const [ended, setEnded] = useState<ChallengeStatus>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const fail = (failed: unknown) => {
    if (failed instanceof HttpError && failed.challengeStatus !== undefined) setEnded(failed.challengeStatus);
    else if (failed instanceof HttpError && failed.status === 404) setEnded('EXPIRED');
    else setError(failed);
  };
  const scan = useRef(() => ask().then(setAsked, fail));
  // A code is scanned once.
  useEffect(() => void scan.current(), []);
  const answer = async (answer: Answer) => {
    setBusy(true);
    setError(undefined);
    try {
      const path = `qr/challenges/${encodeURIComponent(asked?.challengeId ?? '')}/${answer}`;
      setEnded((await call<{ status: ChallengeStatus }>('POST', path)).status);
    } catch (failed) {
      fail(failed);
    }
    setBusy(false);
  };
  if (ended !== undefined) return <Ended status={ended} onEnd={onEnd} />;
  if (asked === undefined) return error === undefined ? <Loading /> : <Again error={error} onEnd={onEnd} />;
  return (
    <section class="card" aria-labelledby="who">
      <h2 id="who">{phone.who}</h2>
      <Facts asked={asked} />
      <p>{phone.warning}</p>
      <Failed error={error} />
      <div class="answers">
        <button type="button" disabled={busy} onClick={() => answer('deny')}>
          {phone.deny}
        </button>
        <button type="button" disabled={busy} onClick={() => answer('approve')}>
          {phone.approve}
        </button>
      </div>
      <Countdown until={Date.parse(asked.expiresAt)} />
    </section>
  );
}

function Facts({ asked }: { asked: Asked }) {
  const { phone } = words.value;
  return (
    <dl class="facts tall">
      <div>
        <dt>{phone.program}</dt>
        <dd title={asked.userAgent}>{asked.clientId ?? client(asked.userAgent)}</dd>
      </div>
      <div>
        <dt>{phone.address}</dt>
        <dd class="number">{asked.address}</dd>
      </div>
      <div>
        <dt>{phone.asked}</dt>
        <dd>{ago(Date.now() - Date.parse(asked.createdAt))}</dd>
      </div>
      <div>
        <dt>{phone.as}</dt>
        <dd>{login.value.is === 'in' ? login.value.me.email : ''}</dd>
      </div>
    </dl>
  );
}

function Ended({ status, onEnd }: { status: ChallengeStatus; onEnd: () => void }) {
  const { phone } = words.value;
  const isGood = status === 'APPROVED' || status === 'EXCHANGED';
  return (
    <section class="card">
      <Note kind={isGood ? 'good' : 'warn'}>{phone.ended[status]}</Note>
      <div class="buttons">
        <a class="button" href="/">
          {words.value.nav.live}
        </a>
        <button type="button" onClick={onEnd}>
          {phone.another}
        </button>
      </div>
    </section>
  );
}

function Again({ error, onEnd }: { error: unknown; onEnd: () => void }) {
  return (
    <section class="card">
      <p class="note bad" role="alert">
        {sentence(error)}
      </p>
      <button type="button" onClick={onEnd}>
        {words.value.phone.another}
      </button>
    </section>
  );
}
