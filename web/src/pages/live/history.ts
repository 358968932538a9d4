// What a device sent before, from the REST interface.

import { request } from '../../lib/http';
import { call, login } from '../../lib/login';
import type { CoordinateData } from '../../lib/types';

/** The last points, oldest first. */
export async function historyOf(device: string, limit: number): Promise<CoordinateData[]> {
  const path = `devices/${encodeURIComponent(device)}/coordinates?limit=${limit}`;
  const ask = login.value.is === 'in' ? call : request;
  return (await ask<{ coordinates: CoordinateData[] }>('GET', path)).coordinates;
}
