// Logging in: by a phone that scans, or by password.

import { useEffect, useState } from 'preact/hooks';
import { about } from '../../lib/about';
import { request } from '../../lib/http';
import { logIn, login } from '../../lib/login';
import { go } from '../../lib/router';
import { Field, Form, Note, password, typed } from '../../ui';
import { words } from '../../words';
import { QrLogin } from './qr';

const PASSWORD_LENGTH_MIN = 8;

export function LoginPage() {
  const { login: text } = words.value;
  const { is } = login.value;
  useEffect(() => {
    if (is === 'in') go('/', { replace: true });
  }, [is]);
  if (is === 'in') return null;
  return (
    <div class="narrow wide">
      <h1>{text.title}</h1>
      {login.value.is === 'out' && login.value.ended && <Note kind="warn">{text.ended}</Note>}
      <div class="halves">
        <section class="card" aria-labelledby="by-phone">
          <h2 id="by-phone">{text.byPhone}</h2>
          <QrLogin />
        </section>
        <section class="card" aria-labelledby="by-password">
          <h2 id="by-password">{text.byPassword}</h2>
          <PasswordLogin />
        </section>
      </div>
    </div>
  );
}

/** Logs in, or makes an account where anyone may. */
export function PasswordLogin() {
  const { login: text } = words.value;
  const [isNew, setNew] = useState(false);
  const send = async (data: FormData) => {
    const email = typed(data, 'email');
    if (isNew) {
      const optional: Record<string, string> = {};
      for (const name of ['orinId', 'deviceSecret']) if (typed(data, name) !== '') optional[name] = typed(data, name);
      await request('POST', 'auth/signup', { email, password: password(data), ...optional });
    }
    await logIn(email, password(data));
  };
  return (
    <>
      <Form submit={isNew ? text.signUp : words.value.logIn} onSubmit={send}>
        <Field label={text.email} name="email" type="email" autocomplete="username" required />
        <Field
          label={text.password}
          name="password"
          type="password"
          autocomplete={isNew ? 'new-password' : 'current-password'}
          required
          {...(isNew ? { minLength: PASSWORD_LENGTH_MIN, hint: text.passwordHint } : {})}
        />
        {isNew && (
          <>
            <Field label={text.device} name="orinId" hint={text.deviceHint} autocomplete="off" />
            <Field label={text.secret} name="deviceSecret" hint={text.secretHint} autocomplete="off" />
          </>
        )}
      </Form>
      {about.value?.signup === 'open' && (
        <button type="button" class="link" onClick={() => setNew(!isNew)}>
          {isNew ? text.haveAccount : text.noAccount}
        </button>
      )}
    </>
  );
}
