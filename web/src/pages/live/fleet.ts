// Devices and where they were, as the stream tells it. Not reactive: a thousand values a second come in, and who draws looks when it draws.

import type { CoordinateData } from '../../lib/types';

/** Devices that are shown; further ones are counted and left out. */
export const DEVICES_MAX = 1000;
/** Points of a track. */
export const POINTS_MAX = 240;
/** Devices whose tracks begin with their history: for more than that it would be as many requests at once. */
const FILLED_MAX = 24;
/** Two axes that moved within so long are one point, ms. */
const PAIR_MS_MAX = 200;
/** A rate is that of so long, ms. */
const RATE_WINDOW_MS = 5000;

/** A device's last points, oldest first, in a ring. */
export class Track {
  readonly x = new Float64Array(POINTS_MAX);
  readonly y = new Float64Array(POINTS_MAX);
  /** Points ever put in; the ring holds the last ones. */
  count = 0;
  latest!: CoordinateData;
  /** ms of `performance.now()` when the last point came; its own time for what was there before. */
  seenAt = 0;
  /** The last point, where only one of its axes has moved yet. */
  private half: { source: string; at: number } | undefined;
  private firstOffset: number | undefined;
  private marks: { at: number; offset: number }[] = [];

  constructor(
    readonly device: string,
    readonly hue: number,
  ) {}

  get length() {
    return Math.min(this.count, POINTS_MAX);
  }

  /** Of the point `index`, 0 the oldest that is kept. */
  slot(index: number) {
    return (this.count - this.length + index) % POINTS_MAX;
  }

  /** False for what is known already. */
  push(data: CoordinateData, seenAt: number, isLive: boolean): boolean {
    const isNewEpoch = this.count > 0 && data.epoch !== this.latest.epoch;
    if (this.count > 0 && !isNewEpoch && data.offset <= this.latest.offset) return false;
    if (isNewEpoch) {
      this.count = 0;
      this.marks = [];
      this.half = undefined;
      this.firstOffset = undefined;
    }
    this.put(data);
    this.firstOffset ??= data.offset;
    this.latest = data;
    this.seenAt = seenAt;
    if (isLive) this.mark(seenAt);
    return true;
  }

  /** Puts before the first point what there was before it. */
  fill(history: CoordinateData[]) {
    const first = this.firstOffset ?? 0;
    const before = history.filter(({ offset, epoch }) => offset < first && epoch === this.latest.epoch);
    const kept = Array.from({ length: this.length }, (_, index) => {
      const slot = this.slot(index);
      return [this.x[slot] as number, this.y[slot] as number] as const;
    });
    this.count = 0;
    for (const data of before) this.put(data);
    this.half = undefined;
    for (const [x, y] of kept) this.append(x, y);
  }

  /** A device says where it is in two messages, an axis each: both together are one point, or tracks would be stairs. */
  private put(data: CoordinateData) {
    const at = Date.parse(data.timestamp);
    const { half } = this;
    if (half !== undefined && half.source !== data.source && Math.abs(at - half.at) <= PAIR_MS_MAX) {
      this.count -= 1;
      this.half = undefined;
    } else {
      this.half = { source: data.source, at };
    }
    this.append(data.coordX, data.coordY);
  }

  private append(x: number, y: number) {
    const slot = this.count % POINTS_MAX;
    this.x[slot] = x;
    this.y[slot] = y;
    this.count += 1;
  }

  /** Messages a second. By offsets: it counts those that were not sent to this browser, too. */
  rate(now: number): number {
    const marks = this.marks.filter(({ at }) => now - at <= RATE_WINDOW_MS);
    const [first, last] = [marks[0], marks.at(-1)];
    if (first === undefined || last === undefined || last.at === first.at) return 0;
    return ((last.offset - first.offset) * 1000) / (last.at - first.at);
  }

  private mark(at: number) {
    const last = this.marks.at(-1);
    if (last !== undefined && at - last.at < RATE_WINDOW_MS / 20) return;
    this.marks = this.marks.filter((mark) => at - mark.at <= RATE_WINDOW_MS);
    this.marks.push({ at, offset: this.latest.offset });
  }
}

export class Fleet {
  readonly tracks = new Map<string, Track>();
  /** Devices for which there was no room. */
  readonly left = new Set<string>();
  /** Publications, since the page was opened. */
  received = 0;
  /** Is told each new point. */
  listener: ((data: CoordinateData) => void) | undefined;

  /** `onNew`: is told of the first devices, whose history may be worth asking for. */
  constructor(private readonly onNew: (track: Track) => void) {}

  /** `isLive`: it came as it happened, else it was there before. */
  push(data: CoordinateData, isLive: boolean) {
    this.received += 1;
    let track = this.tracks.get(data.device);
    if (track === undefined) {
      if (this.tracks.size >= DEVICES_MAX) {
        if (this.left.size < DEVICES_MAX) this.left.add(data.device);
        return;
      }
      track = new Track(data.device, hueOf(data.device));
      this.tracks.set(data.device, track);
      if (this.tracks.size <= FILLED_MAX) this.onNew(track);
    }
    const now = performance.now();
    const age = Math.max(0, Date.now() - Date.parse(data.timestamp));
    if (track.push(data, isLive ? now : now - age, isLive)) this.listener?.(data);
  }
}

/** A colour of its own for each name, the same each time; neighbours in a list are far apart. */
function hueOf(name: string): number {
  let hash = 0;
  for (const character of name) hash = (Math.imul(hash, 31) + (character.codePointAt(0) ?? 0)) | 0;
  return ((hash >>> 0) * 137.508) % 360;
}
