// Who is connected: sockets and streams of this daemon.

import { ago } from '../../lib/format';
import type { Connection } from '../../lib/types';
import { Badge, Table } from '../../ui';
import { words } from '../../words';
import { Listed, useList } from './list';

const EVERY_MS = 3000;
/** Of a stream's challenge as much as tells two apart. */
const CLIENT_LENGTH_MAX = 16;

export function ConnectionsPage() {
  const { admin, connections } = words.value;
  const list = useList<Connection>('connections', 'connections', EVERY_MS);
  return (
    <>
      <h1>{admin.connections}</h1>
      <section class="card">
        <Listed list={list} empty={connections.none}>
          {(items) => (
            <Table
              caption={admin.connections}
              head={[connections.session, connections.kind, connections.client, connections.address, connections.since]}
            >
              {items.map((connection) => (
                <tr key={connection.sessionId}>
                  <th scope="row" class="number">
                    {connection.sessionId}
                  </th>
                  <td>
                    <Badge kind="plain">{connections.kinds[connection.kind]}</Badge>
                  </td>
                  <td class="number">{connection.clientId?.slice(0, CLIENT_LENGTH_MAX) ?? connections.anonymous}</td>
                  <td class="number">{connection.clientIP}</td>
                  <td>{ago(Date.now() - Date.parse(connection.connectedAt))}</td>
                </tr>
              ))}
            </Table>
          )}
        </Listed>
      </section>
    </>
  );
}
