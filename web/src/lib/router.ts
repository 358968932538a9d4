// Which page is shown: the path of the address, one of web/pages.json, by which the daemon knows the same paths.

import { signal } from '@preact/signals';

/** Path and query of the page. */
export const place = signal(current());

function current() {
  return { path: location.pathname, query: new URLSearchParams(location.search) };
}

export function go(url: string, { replace = false } = {}) {
  history[replace ? 'replaceState' : 'pushState'](null, '', url);
  place.value = current();
}

addEventListener('popstate', () => {
  place.value = current();
});

/** Links inside the console don't load it anew. */
addEventListener('click', (event) => {
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  const isPlain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  if (!link || !isPlain || event.defaultPrevented || link.target !== '' || link.origin !== location.origin) return;
  // A part of this page.
  if (link.hash !== '' && link.pathname === location.pathname) return;
  event.preventDefault();
  go(link.href);
  scrollTo(0, 0);
});
