// The small parts of all pages.

import type { ComponentChildren, InputHTMLAttributes } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { HttpError } from '../lib/http';
import type { Resource } from '../lib/resource';
import { words } from '../words';

/** What went wrong, in a sentence. */
export function sentence(error: unknown): string {
  const { problems } = words.value;
  if (!(error instanceof HttpError)) return problems.unknown;
  if (error.status === 0) return problems.unreachable;
  if (error.status === 429) return problems.tooMany(error.retryAfterS);
  if (error.status === 503) return problems.unavailable;
  return error.message === '' ? problems.unknown : `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`;
}

export function Failed({ error }: { error: unknown }) {
  return error === undefined ? null : (
    <p class="note bad" role="alert">
      {sentence(error)}
    </p>
  );
}

export function Note({ kind, children }: { kind: 'good' | 'warn' | 'plain'; children: ComponentChildren }) {
  return (
    <div class={`note ${kind}`} role="status">
      {children}
    </div>
  );
}

export function Loading() {
  return (
    <p class="quiet" role="status">
      {words.value.loading}
    </p>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** Loading, then the value; an error stands above what was known before. */
export function Loaded<T>({ of, children }: { of: Resource<T>; children: (value: T) => ComponentChildren }) {
  return (
    <>
      <Failed error={of.error} />
      {of.value !== undefined ? children(of.value) : of.error === undefined && <Loading />}
    </>
  );
}

type FieldProps = { label: string; hint?: string } & InputHTMLAttributes;

export function Field({ label, hint, ...input }: FieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input id={id} {...input} {...(hint === undefined ? {} : { 'aria-describedby': `${id}-hint` })} />
      {hint !== undefined && (
        <small id={`${id}-hint`} class="quiet">
          {hint}
        </small>
      )}
    </div>
  );
}

/** What was typed into a field, without blanks around it. */
export function typed(data: FormData, name: string): string {
  const value = data.get(name);
  return typeof value === 'string' ? value.trim() : '';
}

/** The same of a password: blanks are part of it. */
export function password(data: FormData): string {
  const value = data.get('password');
  return typeof value === 'string' ? value : '';
}

/** A form whose button is busy, and whose error is shown, while and after it is sent. */
export function Form(props: {
  submit: string;
  onSubmit: (data: FormData) => Promise<void>;
  onCancel?: () => void;
  danger?: boolean;
  children?: ComponentChildren;
}) {
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const send = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      await props.onSubmit(new FormData(event.currentTarget as HTMLFormElement));
    } catch (failed) {
      setError(failed);
    }
    setBusy(false);
  };
  return (
    <form onSubmit={send}>
      {props.children}
      <Failed error={error} />
      <div class="buttons">
        {props.onCancel && (
          <button type="button" onClick={props.onCancel}>
            {words.value.cancel}
          </button>
        )}
        <button type="submit" class={props.danger ? 'danger' : 'primary'} disabled={busy}>
          {props.submit}
        </button>
      </div>
    </form>
  );
}

/** Asks before what can't be undone, or for what is needed to do it. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={title} onClose={props.onClose}>
      <h2 id={title}>{props.title}</h2>
      {props.children}
    </dialog>
  );
}

/** A button that does something, is busy meanwhile, and says what went wrong beside it. */
export function Action(props: { label: string; name?: string; onClick: () => Promise<void>; class?: string }) {
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    setError(undefined);
    await props.onClick().catch(setError);
    setBusy(false);
  };
  return (
    <>
      <button type="button" class={props.class} disabled={busy} aria-label={props.name} onClick={run}>
        {props.label}
      </button>
      <Failed error={error} />
    </>
  );
}

/** A table that scrolls by itself on narrow screens. */
export function Table(props: {
  caption: string;
  head: string[];
  numeric?: number[];
  dense?: boolean;
  children: ComponentChildren;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard (WCAG 2.1.1)
    <section class="scroll" tabIndex={0} aria-label={props.caption}>
      <table class={props.dense ? 'dense' : ''}>
        <caption class="hidden">{props.caption}</caption>
        <thead>
          <tr>
            {props.head.map((text, index) => (
              <th key={text} scope="col" class={props.numeric?.includes(index) ? 'numeric' : ''}>
                {text}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{props.children}</tbody>
      </table>
    </section>
  );
}

export function Badge({ kind, children }: { kind: 'good' | 'warn' | 'bad' | 'plain'; children: ComponentChildren }) {
  return <span class={`badge ${kind}`}>{children}</span>;
}
