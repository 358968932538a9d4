// Accounts: who there is, who may log in, who administers, which device is whose.

import { useState } from 'preact/hooks';
import { dateTime } from '../../lib/format';
import { call, login } from '../../lib/login';
import type { Account, Role } from '../../lib/types';
import { Action, Badge, Dialog, Field, Form, password, Table, typed } from '../../ui';
import { words } from '../../words';
import { Listed, useList } from './list';

interface Change {
  enabled?: boolean;
  roles?: Role[];
  orinId?: string | null;
}

export function UsersPage() {
  const { admin, users } = words.value;
  const list = useList<Account>('users', 'users');
  const [dialog, setDialog] = useState<'new' | Account>();
  const close = () => setDialog(undefined);
  const change = async (user: Account, change: Change) => {
    await call('PATCH', `admin/users/${user.id}`, change);
    await list.reload();
  };
  return (
    <>
      <div class="title">
        <h1>{admin.users}</h1>
        <button type="button" class="primary" onClick={() => setDialog('new')}>
          {users.create}
        </button>
      </div>
      <section class="card">
        <Listed list={list} empty={users.none}>
          {(items) => (
            <Table
              caption={admin.users}
              head={[users.email, users.roles, users.device, users.since, users.state, users.actions]}
            >
              {items.map((user) => (
                <Row
                  key={user.id}
                  user={user}
                  onChange={(wanted) => change(user, wanted)}
                  onBind={() => setDialog(user)}
                />
              ))}
            </Table>
          )}
        </Listed>
      </section>
      {dialog === 'new' && <Create onClose={close} onDone={list.reload} />}
      {dialog !== undefined && dialog !== 'new' && (
        <Dialog title={users.bindOf(dialog.email)} onClose={close}>
          <Form
            submit={users.save}
            onCancel={close}
            onSubmit={async (data) => {
              await change(dialog, { orinId: typed(data, 'orinId') || null });
              close();
            }}
          >
            <Field
              label={users.device}
              name="orinId"
              value={dialog.orinId ?? ''}
              hint={users.bindHint}
              autocomplete="off"
            />
          </Form>
        </Dialog>
      )}
    </>
  );
}

function Row(props: { user: Account; onChange: (change: Change) => Promise<void>; onBind: () => void }) {
  const { users } = words.value;
  const { user, onChange } = props;
  const isAdmin = user.roles.includes('ADMIN');
  const isSelf = login.value.is === 'in' && login.value.me.id === user.id;
  const roles: Role[] = isAdmin ? ['USER'] : ['USER', 'ADMIN'];
  return (
    <tr>
      <th scope="row">{user.email}</th>
      <td>{isAdmin ? <Badge kind="plain">{users.admin}</Badge> : users.user}</td>
      <td>{user.orinId ?? '–'}</td>
      <td>{dateTime(user.createdAt)}</td>
      <td>{user.enabled ? <Badge kind="good">{users.enabled}</Badge> : <Badge kind="bad">{users.disabled}</Badge>}</td>
      <td class="actions">
        <button type="button" aria-label={users.bindOf(user.email)} onClick={props.onBind}>
          {users.bind}
        </button>
        {!isSelf && (
          <>
            <Action
              label={isAdmin ? users.unmakeAdmin : users.makeAdmin}
              name={`${isAdmin ? users.unmakeAdmin : users.makeAdmin}: ${user.email}`}
              onClick={() => onChange({ roles })}
            />
            <Action
              label={user.enabled ? users.disable : users.enable}
              name={`${user.enabled ? users.disable : users.enable}: ${user.email}`}
              onClick={() => onChange({ enabled: !user.enabled })}
            />
          </>
        )}
      </td>
    </tr>
  );
}

function Create({ onClose, onDone }: { onClose: () => void; onDone: () => Promise<void> }) {
  const { users, login: text } = words.value;
  const send = async (data: FormData) => {
    const orinId = typed(data, 'orinId');
    const roles: Role[] = data.get('admin') === null ? ['USER'] : ['USER', 'ADMIN'];
    const [email, secret] = [typed(data, 'email'), password(data)];
    await call('POST', 'admin/users', { email, password: secret, roles, ...(orinId && { orinId }) });
    await onDone();
    onClose();
  };
  return (
    <Dialog title={users.create} onClose={onClose}>
      <Form submit={users.create} onSubmit={send} onCancel={onClose}>
        <Field label={users.email} name="email" type="email" autocomplete="off" required />
        <Field
          label={text.password}
          name="password"
          type="password"
          autocomplete="new-password"
          minLength={8}
          hint={text.passwordHint}
          required
        />
        <Field label={users.device} name="orinId" hint={text.deviceHint} autocomplete="off" />
        <label class="check">
          <input type="checkbox" name="admin" /> {users.admin}
        </label>
      </Form>
    </Dialog>
  );
}
