// Dead letters: messages that could not be understood, and why; chosen ones are sent again.

import { useState } from 'preact/hooks';
import { dateTime, number } from '../../lib/format';
import { HttpError } from '../../lib/http';
import { call } from '../../lib/login';
import type { DeadLetter, Replayed } from '../../lib/types';
import { Dialog, Field, Form, Note, sentence, Table, typed } from '../../ui';
import { words } from '../../words';
import { Listed, useList } from './list';

const EVERY_MS = 5000;
/** Of one request. */
const REPLAYED_MAX = 100;
/** A record that another producer wrote: its letter does not say of which device it was. */
const FROM_KAFKA = 'kafka:';

export function DeadLettersPage() {
  const { admin, letters } = words.value;
  const list = useList<DeadLetter>('dead-letters', 'letters', EVERY_MS);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [isAsking, setAsking] = useState(false);
  const [result, setResult] = useState<Result>();
  const items = list.value ?? [];
  const selected = items.filter(({ cursor }) => chosen.has(cursor));
  const choose = (cursors: string[], isChosen: boolean) => {
    const next = new Set(chosen);
    for (const cursor of cursors) {
      if (isChosen) next.add(cursor);
      else next.delete(cursor);
    }
    setChosen(next);
  };
  return (
    <>
      <div class="title">
        <h1>{admin['dead-letters']}</h1>
        <button type="button" class="primary" disabled={selected.length === 0} onClick={() => setAsking(true)}>
          {letters.replay(selected.length)}
        </button>
      </div>
      {result !== undefined && <Outcome result={result} />}
      <section class="card">
        <Listed list={list} empty={letters.none}>
          {(items) => (
            <>
              <p class="quiet">{letters.hint}</p>
              <label class="check">
                <input
                  type="checkbox"
                  checked={selected.length === items.length}
                  onChange={(event) =>
                    choose(
                      items.map(({ cursor }) => cursor),
                      event.currentTarget.checked,
                    )
                  }
                />{' '}
                {letters.chooseAll}
              </label>
              <Table
                caption={admin['dead-letters']}
                head={[letters.choose, letters.at, letters.topic, letters.reason, letters.bytes, letters.payload]}
                numeric={[4]}
              >
                {items.map((letter) => (
                  <tr key={letter.cursor} data-cursor={letter.cursor}>
                    <td>
                      <span class="check">
                        <input
                          type="checkbox"
                          aria-label={letters.chooseOne(letter.topic, dateTime(letter.at))}
                          checked={chosen.has(letter.cursor)}
                          onChange={(event) => choose([letter.cursor], event.currentTarget.checked)}
                        />
                      </span>
                    </td>
                    <td class="number">{dateTime(letter.at)}</td>
                    <th scope="row">{letter.topic}</th>
                    <td class="wrap">{letter.reason}</td>
                    <td class="numeric">{number(letter.payloadBytes)}</td>
                    <td class="wrap">
                      <code>{shown(letter)}</code>
                    </td>
                  </tr>
                ))}
              </Table>
            </>
          )}
        </Listed>
      </section>
      {isAsking && (
        <Dialog title={letters.replay(selected.length)} onClose={() => setAsking(false)}>
          <p>{letters.replayHint}</p>
          <Form
            submit={letters.replay(selected.length)}
            onCancel={() => setAsking(false)}
            onSubmit={async (data) => {
              setResult(await replay(items, selected, typed(data, 'device')));
              setChosen(new Set());
              setAsking(false);
              await list.reload();
            }}
          >
            {selected.some(({ topic }) => topic.startsWith(FROM_KAFKA)) && (
              <Field label={letters.device} hint={letters.deviceHint} name="device" autocomplete="off" />
            )}
          </Form>
        </Dialog>
      )}
    </>
  );
}

interface Result {
  replayed: number;
  skipped: Replayed[];
  /** Where it was broken off. */
  error?: string;
}

/** In the order of the list, as many at a time as the daemon takes. */
async function replay(items: DeadLetter[], selected: DeadLetter[], device: string): Promise<Result> {
  const result: Result = { replayed: 0, skipped: [] };
  for (let first = 0; first < selected.length; first += REPLAYED_MAX) {
    const part = selected.slice(first, first + REPLAYED_MAX);
    const before = items[items.findIndex(({ cursor }) => cursor === part[0]?.cursor) - 1]?.cursor;
    try {
      const { letters } = await call<{ letters: Replayed[] }>('POST', 'admin/dead-letters/replay', {
        cursors: part.map(({ cursor }) => cursor),
        ...(before === undefined ? {} : { after: before }),
        ...(device === '' ? {} : { device }),
      });
      const skipped = letters.filter(({ outcome }) => outcome === 'skipped');
      result.skipped.push(...skipped);
      result.replayed += letters.length - skipped.length;
    } catch (error) {
      // The daemon says how many were sent, and at which it ended.
      result.error = error instanceof HttpError && error.message !== '' ? error.message : sentence(error);
      break;
    }
  }
  return result;
}

function Outcome({ result }: { result: Result }) {
  const { letters } = words.value;
  const { replayed, skipped, error } = result;
  return (
    <Note kind={skipped.length > 0 || error !== undefined ? 'warn' : 'good'}>
      <p>{letters.replayed(replayed, skipped.length)}</p>
      {error !== undefined && <p>{error}</p>}
      {skipped.length > 0 && (
        <ul>
          {skipped.map(({ cursor, topic, reason }) => (
            <li key={cursor}>
              <code>{topic}</code> {reason}
            </li>
          ))}
        </ul>
      )}
    </Note>
  );
}

/** Text as it is; what is no text shows as the replacement character. */
function shown({ payload, payloadBytes }: DeadLetter): string {
  const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
  const text = new TextDecoder().decode(bytes);
  return payloadBytes > bytes.length ? `${text}…` : text;
}
