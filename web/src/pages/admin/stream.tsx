// The way from devices to browsers: the journal, and who holds which partition and is how far behind.

import { bytes, number } from '../../lib/format';
import { call } from '../../lib/login';
import { useResource } from '../../lib/resource';
import type { Lease, StreamState } from '../../lib/types';
import { Badge, Loaded, Table } from '../../ui';
import { words } from '../../words';

const EVERY_MS = 2000;
/** As the daemon's own measure of having caught up. */
const LAG_WARN = 1000;

export function StreamPage() {
  const { admin, stream } = words.value;
  const state = useResource(() => call<StreamState>('GET', 'admin/stream'), EVERY_MS);
  return (
    <>
      <h1>{admin.stream}</h1>
      <Loaded of={state}>
        {(value) => (
          <>
            {value.leaseError !== undefined && (
              <p class="note warn" role="status">
                {stream.ownersUnknown} <small>{value.leaseError}</small>
              </p>
            )}
            <Journal state={value} />
            <section class="card">
              <h2>{stream.partitions}</h2>
              <Table
                caption={stream.partitions}
                head={[stream.lease, stream.owner, stream.epoch, stream.lag]}
                numeric={[2, 3]}
              >
                <tr>
                  <th scope="row">{stream.ingest}</th>
                  <Holder lease={value.ingest} daemon={value.daemon} />
                  <td class="numeric">–</td>
                </tr>
                {value.partitions.map((partition) => (
                  <tr key={partition.partition} data-partition={partition.partition}>
                    <th scope="row">{stream.partition(partition.partition)}</th>
                    <Holder lease={partition} daemon={value.daemon} />
                    <td class={`numeric ${(partition.lagRecords ?? 0) > LAG_WARN ? 'warn' : ''}`}>
                      {partition.lagRecords === null ? '–' : number(partition.lagRecords)}
                    </td>
                  </tr>
                ))}
              </Table>
              <p class="quiet">{stream.lagHint}</p>
            </section>
          </>
        )}
      </Loaded>
    </>
  );
}

function Journal({ state }: { state: StreamState }) {
  const { stream } = words.value;
  const { journal } = state;
  return (
    <section class="card" data-journal={journal.records}>
      <h2>
        {stream.journal} {journal.full && <Badge kind="bad">{stream.full}</Badge>}
      </h2>
      <p class="number">
        {stream.waiting(number(journal.records))} · {stream.used(bytes(journal.bytes), bytes(journal.bytesMax))}
      </p>
      <progress value={journal.bytes} max={journal.bytesMax} aria-label={stream.journal} />
      <p class="quiet">{stream.journalHint}</p>
    </section>
  );
}

function Holder({ lease, daemon }: { lease: Lease; daemon: string }) {
  const { stream } = words.value;
  const { owner, epoch } = lease;
  return (
    <>
      <td class="number">
        {owner === null ? (
          <Badge kind="bad">{stream.nobody}</Badge>
        ) : owner === daemon ? (
          <Badge kind="good">{stream.here}</Badge>
        ) : (
          owner
        )}
      </td>
      <td class="numeric">{epoch === null ? '–' : number(epoch)}</td>
    </>
  );
}
