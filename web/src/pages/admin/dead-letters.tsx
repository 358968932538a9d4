// Dead letters: messages that could not be understood, and why.

import { dateTime, number } from '../../lib/format';
import type { DeadLetter } from '../../lib/types';
import { Table } from '../../ui';
import { words } from '../../words';
import { Listed, useList } from './list';

const EVERY_MS = 5000;

export function DeadLettersPage() {
  const { admin, letters } = words.value;
  const list = useList<DeadLetter>('dead-letters', 'letters', EVERY_MS);
  return (
    <>
      <h1>{admin['dead-letters']}</h1>
      <section class="card">
        <Listed list={list} empty={letters.none}>
          {(items) => (
            <>
              <p class="quiet">{letters.hint}</p>
              <Table
                caption={admin['dead-letters']}
                head={[letters.at, letters.topic, letters.reason, letters.bytes, letters.payload]}
                numeric={[3]}
              >
                {items.map((letter) => (
                  <tr key={letter.cursor}>
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
    </>
  );
}

/** Text as it is; what is no text shows as the replacement character. */
function shown({ payload, payloadBytes }: DeadLetter): string {
  const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
  const text = new TextDecoder().decode(bytes);
  return payloadBytes > bytes.length ? `${text}…` : text;
}
