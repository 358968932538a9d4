// The audit log, newest first.

import { dateTime } from '../../lib/format';
import type { AuditEntry } from '../../lib/types';
import { Badge, Table } from '../../ui';
import { words } from '../../words';
import { Listed, useList } from './list';

const EVERY_MS = 5000;
/** Names of OWASP's logging vocabulary that tell of something refused. */
const BAD = /fail|reuse|exceeded|lock/;

export function AuditPage() {
  const { admin, audit } = words.value;
  const list = useList<AuditEntry>('audit', 'entries', EVERY_MS);
  return (
    <>
      <h1>{admin.audit}</h1>
      <section class="card">
        <Listed list={list} empty={audit.none}>
          {(items) => (
            <Table caption={admin.audit} head={[audit.at, audit.event, audit.user, audit.address, audit.detail]}>
              {items.map((entry) => (
                <tr key={entry.id}>
                  <td class="number">{dateTime(entry.at)}</td>
                  <td>
                    <Badge kind={BAD.test(entry.event) ? 'bad' : 'plain'}>{entry.event}</Badge>
                  </td>
                  <td class="number">{entry.userId ?? '–'}</td>
                  <td class="number">{entry.address ?? '–'}</td>
                  <td class="wrap">{entry.detail}</td>
                </tr>
              ))}
            </Table>
          )}
        </Listed>
      </section>
    </>
  );
}
