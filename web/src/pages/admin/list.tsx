// A list of the administration, page by page.

import type { ComponentChildren } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { call, has, login } from '../../lib/login';
import { type Resource, useResource } from '../../lib/resource';
import { Action, Empty, Failed, Loading } from '../../ui';
import { words } from '../../words';

const PAGE_ITEMS = 100;

export interface List<Item> extends Resource<Item[]> {
  next: string | undefined;
  more: () => Promise<void>;
}

/** The first page again and again, where `everyMs` says so; further ones as they are asked for. */
export function useList<Item>(path: string, name: string, everyMs = 0): List<Item> {
  const [count, setCount] = useState(1);
  const pages = useRef(count);
  pages.current = count;
  const [next, setNext] = useState<string>();
  const load = async () => {
    let items: Item[] = [];
    let after: string | undefined;
    for (let page = 0; page < pages.current; page++) {
      const query = after === undefined ? '' : `&after=${encodeURIComponent(after)}`;
      const answer = await call<Record<string, unknown>>('GET', `admin/${path}?limit=${PAGE_ITEMS}${query}`);
      items = [...items, ...(answer[name] as Item[])];
      after = answer.next as string | undefined;
      if (after === undefined) break;
    }
    setNext(after);
    return items;
  };
  const resource = useResource(load, everyMs);
  const more = async () => {
    pages.current += 1;
    setCount(pages.current);
    await resource.reload();
  };
  return { ...resource, next, more };
}

export function Listed<Item>(props: {
  list: List<Item>;
  empty: string;
  children: (items: Item[]) => ComponentChildren;
}) {
  const { list } = props;
  return (
    <>
      <Failed error={list.error} />
      {list.value === undefined ? (
        list.error === undefined && <Loading />
      ) : list.value.length === 0 ? (
        <Empty>{props.empty}</Empty>
      ) : (
        props.children(list.value)
      )}
      {list.next !== undefined && (
        <div class="buttons">
          <Action label={words.value.more} onClick={list.more} />
        </div>
      )}
    </>
  );
}

/** Pages for administrators; the daemon decides, this only says so. */
export function AdminOnly({ children }: { children: ComponentChildren }) {
  const { logInFirst, logIn, admin } = words.value;
  if (login.value.is === 'unknown') return <Loading />;
  if (login.value.is !== 'in') {
    return (
      <Empty>
        {logInFirst} <a href="/login">{logIn}</a>
      </Empty>
    );
  }
  return has('ADMIN') ? children : <Empty>{admin.forbidden}</Empty>;
}
