// The live stream: Centrifuge's protocol, by its own client, which reconnects and renews tokens by itself.

import { signal } from '@preact/signals';
import { Centrifuge, UnauthorizedError } from 'centrifuge';
import { HttpError } from '../../lib/http';
import { accessToken } from '../../lib/login';
import type { About, CoordinateData } from '../../lib/types';
import { Fleet, POINTS_MAX, type Track } from './fleet';
import { historyOf } from './history';

/** `refused`: it will not connect again by itself, for this reason. */
export type Link =
  | { is: 'connecting' | 'connected' | 'reconnecting' }
  | { is: 'refused'; why: 'ended' | 'noDevice' | 'other'; code: number };

/** Publications a second of each device, at most: more than a screen shows are not sent. */
const RATE_MAX = 20;
const RECONNECT_MS_MAX = 5000;
/** Close codes: docs/websocket.md. */
const ENDED = new Set([3500, 3503]);
const NO_DEVICE = 3507;

export class Stream {
  readonly link = signal<Link>({ is: 'connecting' });
  readonly fleet = new Fleet((track) => void fill(track));
  private readonly client: Centrifuge;
  private wasConnected = false;

  constructor(about: About) {
    const token = about.streamPublic ? {} : { getToken: tokens() };
    this.client = new Centrifuge(about.socketUrl, { ...token, maxReconnectDelay: RECONNECT_MS_MAX });
    this.client.on('connecting', () => {
      this.link.value = { is: this.wasConnected ? 'reconnecting' : 'connecting' };
    });
    this.client.on('connected', () => {
      this.wasConnected = true;
      this.link.value = { is: 'connected' };
    });
    this.client.on('disconnected', ({ code }) => {
      const why = ENDED.has(code) ? 'ended' : code === NO_DEVICE ? 'noDevice' : 'other';
      this.link.value = { is: 'refused', why, code };
    });
    this.subscribe();
    this.client.connect();
  }

  close() {
    this.client.removeAllListeners();
    this.client.disconnect();
  }

  /** Begins with the latest value of each device: these are told from what happens by coming first, once each. */
  private subscribe() {
    const subscription = this.client.newSubscription('devices', { data: { maxRate: RATE_MAX } });
    let known = new Set<string>();
    subscription.on('subscribed', () => {
      known = new Set();
    });
    subscription.on('publication', ({ data }) => {
      const coordinates = data as CoordinateData;
      this.fleet.push(coordinates, known.has(coordinates.device));
      known.add(coordinates.device);
    });
    subscription.subscribe();
  }
}

/** Begins after the value that made the track known was put into it. Without a history it begins with that. */
async function fill(track: Track) {
  const history = await historyOf(track.device, POINTS_MAX).catch(() => []);
  track.fill(history);
}

/** Gives no token twice: it is asked again when the last one is about to end. The library tries again after any error but one. */
function tokens(): () => Promise<string> {
  let given: string | undefined;
  return async () => {
    try {
      given = await accessToken(given);
      return given;
    } catch (error) {
      if (error instanceof HttpError && error.status === 401) throw new UnauthorizedError('logged out');
      throw error;
    }
  };
}
