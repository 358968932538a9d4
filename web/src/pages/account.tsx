// The own account: its logins, its device, and what its owner should know.

import { useState } from 'preact/hooks';
import { age, ago, client, coordinate, dateTime } from '../lib/format';
import { HttpError } from '../lib/http';
import { call, login, logOut } from '../lib/login';
import { type Resource, useResource } from '../lib/resource';
import type { CoordinateData, Me, Notice, Page, Session } from '../lib/types';
import { Action, Badge, Dialog, Empty, Form, Loaded, Loading, Table } from '../ui';
import { words } from '../words';

const SESSIONS_EVERY_MS = 15_000;
const DEVICE_EVERY_MS = 2000;

type Sessions = Page<'sessions', Session> & { notices: Notice[] };

export function AccountPage() {
  const { account, logInFirst } = words.value;
  const sessions = useResource(() => call<Sessions>('GET', 'sessions?limit=1000'), SESSIONS_EVERY_MS);
  if (login.value.is === 'unknown') return <Loading />;
  if (login.value.is !== 'in') {
    return (
      <Empty>
        {logInFirst} <a href="/login">{words.value.logIn}</a>
      </Empty>
    );
  }
  const { me } = login.value;
  return (
    <>
      <h1>{account.title}</h1>
      <p class="quiet">
        {me.email} {me.roles.includes('ADMIN') && <Badge kind="plain">{account.administrator}</Badge>}
      </p>
      <Notices notices={sessions.value?.notices ?? me.notices} />
      <OwnDevice me={me} />
      <Logins sessions={sessions} />
    </>
  );
}

function Notices({ notices }: { notices: Notice[] }) {
  const { account } = words.value;
  if (notices.length === 0) return null;
  return (
    <section class="note bad" role="alert" aria-labelledby="notices">
      <h2 id="notices">{account.notices}</h2>
      <ul>
        {notices.map((notice) => (
          <li key={notice.at}>{account.reuse(dateTime(notice.at))}</li>
        ))}
      </ul>
      <p>{account.reuseHint}</p>
    </section>
  );
}

function OwnDevice({ me }: { me: Me }) {
  const { account } = words.value;
  return (
    <section class="card" aria-labelledby="device">
      <h2 id="device">{account.device}</h2>
      {me.orinId === null ? <Empty>{account.noDevice}</Empty> : <Latest device={me.orinId} />}
    </section>
  );
}

function Latest({ device }: { device: string }) {
  const { account, live } = words.value;
  const path = `devices/${encodeURIComponent(device)}/coordinates/latest`;
  const latest = useResource(async () => {
    try {
      return await call<CoordinateData>('GET', path);
    } catch (error) {
      if (error instanceof HttpError && error.status === 404) return null;
      throw error;
    }
  }, DEVICE_EVERY_MS);
  return (
    <Loaded of={latest}>
      {(data) => (
        <>
          <dl class="facts">
            <div>
              <dt>{live.device}</dt>
              <dd>{device}</dd>
            </div>
            {data !== null && (
              <>
                <div>
                  <dt>X</dt>
                  <dd class="number">{coordinate(data.coordX)}</dd>
                </div>
                <div>
                  <dt>Y</dt>
                  <dd class="number">{coordinate(data.coordY)}</dd>
                </div>
                <div>
                  <dt>{live.age}</dt>
                  <dd class="number">{age(Date.now() - Date.parse(data.timestamp))}</dd>
                </div>
              </>
            )}
          </dl>
          {data === null ? <p class="quiet">{live.noPoint}</p> : null}
          <a class="button" href={`/?device=${encodeURIComponent(device)}`}>
            {account.watch}
          </a>
        </>
      )}
    </Loaded>
  );
}

function Logins({ sessions }: { sessions: Resource<Sessions> }) {
  const { account } = words.value;
  const [asking, setAsking] = useState(false);
  const end = async (id: string) => {
    await call('DELETE', `sessions/${encodeURIComponent(id)}`);
    await sessions.reload();
  };
  return (
    <section class="card" aria-labelledby="logins">
      <h2 id="logins">{account.logins}</h2>
      <Loaded of={sessions}>
        {(page) => (
          <Table
            caption={account.logins}
            head={[account.where, account.address, account.since, account.used, account.actions]}
          >
            {page.sessions.map((session) => (
              <tr key={session.id}>
                <th scope="row" title={session.device}>
                  {client(session.device)} {session.clientId !== null && <Badge kind="plain">{session.clientId}</Badge>}{' '}
                  {session.current && <Badge kind="good">{account.thisOne}</Badge>}
                </th>
                <td class="number">{session.address}</td>
                <td>{dateTime(session.createdAt)}</td>
                <td>{ago(Date.now() - Date.parse(session.lastUsedAt))}</td>
                <td>
                  {session.current ? (
                    <Action label={words.value.logOut} onClick={() => logOut()} />
                  ) : (
                    <Action
                      label={account.end}
                      name={account.endOf(client(session.device))}
                      onClick={() => end(session.id)}
                    />
                  )}
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Loaded>
      <div class="buttons">
        <button type="button" class="danger" onClick={() => setAsking(true)}>
          {account.endAll}
        </button>
      </div>
      {asking && (
        <Dialog title={account.endAll} onClose={() => setAsking(false)}>
          <p>{account.endAllHint}</p>
          <Form danger submit={account.endAll} onSubmit={() => logOut(true)} onCancel={() => setAsking(false)} />
        </Dialog>
      )}
    </section>
  );
}
