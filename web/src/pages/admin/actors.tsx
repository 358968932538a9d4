// The live actor tree: who runs, what waits in front of whom, how long it takes, and who failed.

import { useState } from 'preact/hooks';
import { ago, duration, number } from '../../lib/format';
import { call } from '../../lib/login';
import { useResource } from '../../lib/resource';
import type { ActorNode, ActorStatus, ActorTree, Mailbox, PoolChild } from '../../lib/types';
import { Badge, Dialog, Form, Loaded, Table } from '../../ui';
import { words } from '../../words';

const EVERY_MS = 1000;
/** Indentation is by class: the page's policy allows no styles in attributes. */
const DEPTH_MAX = 6;
/** Of a pool child's key; its path, with all of it, is where the pointer rests. */
const KEY_LENGTH_MAX = 12;

/** Further children of a pool with each press of the button, and at most: a table of thousands helps nobody. */
const CHILDREN_MORE = 80;
const CHILDREN_MAX = 500;

/** The tree, and of some pools more children than it has. */
async function load(wanted: ReadonlyMap<string, number>): Promise<ActorTree> {
  const tree = await call<ActorTree>('GET', 'admin/actors');
  const pools = [...wanted].map(async ([path, limit]) => {
    const query = `path=${encodeURIComponent(path)}&limit=${Math.min(limit, CHILDREN_MAX)}`;
    const { children } = await call<{ children: PoolChild[] }>('GET', `admin/actors/children?${query}`);
    const pool = find(tree.actors.root, path)?.pool;
    if (pool !== undefined) pool.children = children;
  });
  await Promise.all(pools);
  return tree;
}

function find(node: ActorNode, path: string): ActorNode | undefined {
  if (node.path === path) return node;
  for (const child of node.children ?? []) {
    const found = find(child, path);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A line of the table: a node, one of a pool's children, or that there are more of them. */
interface Line {
  path: string;
  name: string;
  depth: number;
  node?: ActorNode;
  child?: PoolChild;
  /** Children of the pool that are shown, where there are more. */
  more?: number;
  live?: number;
}

export function ActorsPage() {
  const { admin, actors } = words.value;
  const [wanted, setWanted] = useState<ReadonlyMap<string, number>>(new Map());
  const tree = useResource(() => load(wanted), EVERY_MS);
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const [victim, setVictim] = useState<string>();
  const toggle = (path: string) => {
    const next = new Set(folded);
    if (!next.delete(path)) next.add(path);
    setFolded(next);
  };
  return (
    <>
      <h1>{admin.actors}</h1>
      <Loaded of={tree}>
        {(value) => (
          <section class="card" data-actors={value.actors.actors}>
            <p class="quiet number">
              {actors.running(number(value.actors.actors))} {value.killAllowed ? actors.chaos : ''}
            </p>
            <Table dense caption={admin.actors} head={head(value.killAllowed)} numeric={[2, 4, 5, 6, 7]}>
              {lines(value.actors.root, folded).map((line) => (
                <Row
                  key={line.more === undefined ? line.path : `${line.path}/…`}
                  line={line}
                  isFolded={folded.has(line.path)}
                  onFold={() => toggle(line.path)}
                  onMore={() => setWanted(new Map(wanted).set(line.path, (line.more ?? 0) + CHILDREN_MORE))}
                  onKill={value.killAllowed ? () => setVictim(line.path) : undefined}
                />
              ))}
            </Table>
          </section>
        )}
      </Loaded>
      {victim !== undefined && (
        <Dialog title={actors.killOf(victim)} onClose={() => setVictim(undefined)}>
          <p>{actors.killHint}</p>
          <Form
            danger
            submit={actors.kill}
            onCancel={() => setVictim(undefined)}
            onSubmit={async () => {
              await call('POST', 'admin/actors/kill', { path: victim });
              setVictim(undefined);
              await tree.reload();
            }}
          />
        </Dialog>
      )}
    </>
  );
}

function head(killAllowed: boolean): string[] {
  const { actors } = words.value;
  const { actor, status, mailbox, current, handled, waiting, handling, restarts, failure } = actors;
  const all = [actor, status, mailbox, current, handled, waiting, handling, restarts, failure];
  return killAllowed ? [...all, actors.kill] : all;
}

function lines(node: ActorNode, folded: ReadonlySet<string>, depth = 0): Line[] {
  const line: Line = { path: node.path, name: node.id, depth, node };
  if (folded.has(node.path)) return [line];
  const children = (node.children ?? []).filter(isOfInterest).flatMap((child) => lines(child, folded, depth + 1));
  const ofPool = (node.pool?.children ?? []).map((child) => ({
    path: child.path,
    name: child.key.length > KEY_LENGTH_MAX ? `${child.key.slice(0, KEY_LENGTH_MAX)}…` : child.key,
    depth: depth + 1,
    child,
  }));
  const { pool } = node;
  const isMore = pool !== undefined && pool.children.length > 0 && pool.live > pool.children.length;
  const more = isMore
    ? [{ path: node.path, name: '', depth: depth + 1, more: pool.children.length, live: pool.live }]
    : [];
  return [line, ...children, ...ofPool, ...more];
}

/** A pool's shares are its own affair, unless something is wrong with one. */
function isOfInterest({ kind, status, restarts }: ActorNode): boolean {
  return kind !== 'partition' || status !== 'running' || restarts > 0;
}

const KINDS: Record<ActorStatus, 'good' | 'warn' | 'bad' | 'plain'> = {
  running: 'good',
  starting: 'warn',
  restarting: 'bad',
  stopping: 'warn',
  stopped: 'plain',
};

function Row(props: {
  line: Line;
  isFolded: boolean;
  onFold: () => void;
  onMore: () => void;
  onKill: (() => void) | undefined;
}) {
  const { actors } = words.value;
  const { line, isFolded } = props;
  const { node, child } = line;
  const status = node?.status ?? child?.status ?? 'stopped';
  const mailbox = node?.mailbox ?? child?.mailbox;
  if (line.more !== undefined) {
    return (
      <tr data-more={line.more}>
        <th scope="row" class={`depth-${Math.min(line.depth, DEPTH_MAX)}`} colSpan={props.onKill ? 10 : 9}>
          <span class="leaf quiet number">{actors.shown(line.more, number(line.live ?? 0))}</span>{' '}
          {line.more < CHILDREN_MAX && (
            <button type="button" class="small" aria-label={`${actors.more}: ${line.path}`} onClick={props.onMore}>
              {actors.more}
            </button>
          )}
        </th>
      </tr>
    );
  }
  const hasChildren = (node?.children?.length ?? 0) + (node?.pool?.children.length ?? 0) > 0;
  return (
    <tr data-path={line.path} data-incarnation={node?.incarnation ?? child?.incarnation} data-status={status}>
      <th scope="row" title={line.path} class={`depth-${Math.min(line.depth, DEPTH_MAX)}`}>
        {hasChildren ? (
          <button type="button" class="bare fold" aria-expanded={!isFolded} onClick={props.onFold}>
            <span aria-hidden="true">{isFolded ? '▸' : '▾'}</span> {line.name}
          </button>
        ) : (
          <span class="leaf">{line.name}</span>
        )}{' '}
        {node?.pool !== undefined && (
          <small class="quiet number">{actors.pool(node.pool.live, node.pool.max_children)}</small>
        )}
      </th>
      <td>
        <Badge kind={KINDS[status]}>{actors.states[status]}</Badge>
      </td>
      <td class="numeric">{mailbox && <Depth mailbox={mailbox} />}</td>
      <td>{mailbox?.current && `${mailbox.current.kind} · ${duration(mailbox.current.for_ms * 1000)}`}</td>
      <td class="numeric">{mailbox && number(mailbox.handled)}</td>
      <td class="numeric">{quantiles(node?.timing?.waiting)}</td>
      <td class="numeric">{quantiles(node?.timing?.handling)}</td>
      <td class="numeric">{restarts(line)}</td>
      <td class="wrap">
        {node?.last_failure ? `${node.last_failure.reason} · ${ago(node.last_failure.ago_ms)}` : child?.last_failure}
      </td>
      {props.onKill && (
        <td>
          {node?.kind !== 'pool' && node?.kind !== 'partition' && line.depth > 0 && (
            <button type="button" class="danger small" aria-label={actors.killOf(line.path)} onClick={props.onKill}>
              {actors.kill}
            </button>
          )}
        </td>
      )}
    </tr>
  );
}

/** A queue that is half full is worth a look. */
function Depth({ mailbox }: { mailbox: Mailbox }) {
  const { depth, capacity, rejected, dropped } = mailbox;
  const { actors } = words.value;
  const lost = rejected + dropped;
  return (
    <span class={depth * 2 > capacity ? 'warn' : ''} title={actors.lost(rejected, dropped)}>
      {number(depth)} / {number(capacity)}
      {lost > 0 && <span class="bad"> −{number(lost)}</span>}
    </span>
  );
}

function quantiles(of: { count: number; p50_us: number; p99_us: number } | undefined): string {
  return of === undefined || of.count === 0 ? '' : `${duration(of.p50_us)} / ${duration(of.p99_us)}`;
}

/** All, and those that count against the supervisor's intensity now. */
function restarts({ node, child }: Line): string {
  if (node === undefined) return child?.incarnation ? number(child.incarnation) : '';
  const { restarts, restarts_in_period: now, pool } = node;
  const all = restarts + (pool?.restarted ?? 0);
  if (all === 0 && now === 0) return '';
  return now > 0 ? `${number(all)} (${number(now)})` : number(all);
}
