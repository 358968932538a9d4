// Devices' credentials: a secret is shown once, when it is made.

import { useState } from 'preact/hooks';
import { dateTime } from '../../lib/format';
import { call } from '../../lib/login';
import type { DeviceCredential } from '../../lib/types';
import { Action, Badge, Dialog, Field, Form, Note, Table, typed } from '../../ui';
import { words } from '../../words';
import { Listed, useList } from './list';

interface Given {
  orinId: string;
  secret: string;
}

export function DevicesPage() {
  const { admin, devices } = words.value;
  const list = useList<DeviceCredential>('devices', 'devices');
  const [isAdding, setAdding] = useState(false);
  const [given, setGiven] = useState<Given>();
  const path = (device: string) => `admin/devices/${encodeURIComponent(device)}/secret`;
  const give = async (device: string) => {
    setGiven(await call<Given>('POST', path(device)));
    await list.reload();
  };
  const revoke = async (device: string) => {
    await call('DELETE', path(device));
    await list.reload();
  };
  return (
    <>
      <div class="title">
        <h1>{admin.devices}</h1>
        <button type="button" class="primary" onClick={() => setAdding(true)}>
          {devices.add}
        </button>
      </div>
      {given !== undefined && <Secret given={given} onDone={() => setGiven(undefined)} />}
      <section class="card">
        <Listed list={list} empty={devices.none}>
          {(items) => (
            <Table
              caption={admin.devices}
              head={[devices.device, devices.state, devices.since, devices.changed, devices.actions]}
            >
              {items.map(({ orinId, revoked, createdAt, updatedAt }) => (
                <tr key={orinId}>
                  <th scope="row">
                    <a href={`/?device=${encodeURIComponent(orinId)}`}>{orinId}</a>
                  </th>
                  <td>
                    {revoked ? <Badge kind="bad">{devices.revoked}</Badge> : <Badge kind="good">{devices.valid}</Badge>}
                  </td>
                  <td>{dateTime(createdAt)}</td>
                  <td>{dateTime(updatedAt)}</td>
                  <td class="actions">
                    <Action label={devices.renew} name={`${devices.renew}: ${orinId}`} onClick={() => give(orinId)} />
                    {!revoked && (
                      <Action
                        label={devices.revoke}
                        name={`${devices.revoke}: ${orinId}`}
                        onClick={() => revoke(orinId)}
                      />
                    )}
                  </td>
                </tr>
              ))}
            </Table>
          )}
        </Listed>
      </section>
      {isAdding && (
        <Dialog title={devices.add} onClose={() => setAdding(false)}>
          <Form
            submit={devices.add}
            onCancel={() => setAdding(false)}
            onSubmit={async (data) => {
              await give(typed(data, 'device'));
              setAdding(false);
            }}
          >
            <Field label={devices.device} name="device" hint={devices.nameHint} autocomplete="off" required />
          </Form>
        </Dialog>
      )}
    </>
  );
}

function Secret({ given, onDone }: { given: Given; onDone: () => void }) {
  const { devices } = words.value;
  return (
    <Note kind="good">
      <p>{devices.secretOf(given.orinId)}</p>
      <p>
        <code class="secret">{given.secret}</code>
      </p>
      <button type="button" onClick={onDone}>
        {devices.seen}
      </button>
    </Note>
  );
}
