// What the console must know of its daemon.

import { signal } from '@preact/signals';
import { request } from './http';
import type { About } from './types';

const RETRY_AFTER_MS = 2000;

export const about = signal<About | undefined>(undefined);
/** Whether the daemon answered the last time. */
export const isReachable = signal(true);

/** Asks until there is an answer: without it there is nothing to show. */
export async function learn(): Promise<void> {
  try {
    about.value = await request<About>('GET', 'console');
    isReachable.value = true;
  } catch {
    isReachable.value = false;
    setTimeout(learn, RETRY_AFTER_MS);
  }
}
