// One device: its values, and each axis over the last minutes.

import { useEffect, useRef, useState } from 'preact/hooks';
import { age, coordinate, number } from '../../lib/format';
import type { CoordinateData } from '../../lib/types';
import { words } from '../../words';
import { Chart, type Series, SPAN_S } from './chart';
import type { Fleet } from './fleet';
import { historyOf } from './history';

const HISTORY_MAX = 1000;
const POINTS_MAX = 5000;
const REDRAW_EVERY_MS = 250;

/** Both axes over time, from the history and then from the stream. */
class Recording {
  private at: number[] = [];
  private x: number[] = [];
  private y: number[] = [];
  private epoch: string | undefined;
  private offset = 0;

  push(data: CoordinateData) {
    if (data.epoch === this.epoch && data.offset <= this.offset) return;
    const at = Date.parse(data.timestamp) / 1000;
    if (data.epoch !== this.epoch) [this.at, this.x, this.y] = [[], [], []];
    [this.epoch, this.offset] = [data.epoch, data.offset];
    // A device whose clock went back.
    if (at < (this.at.at(-1) ?? at)) return;
    this.at.push(at);
    this.x.push(data.coordX);
    this.y.push(data.coordY);
    if (this.at.length > POINTS_MAX) for (const list of [this.at, this.x, this.y]) list.shift();
  }

  series(): { x: Series; y: Series } {
    const from = (this.at.at(-1) ?? 0) - SPAN_S;
    const first = this.at.findIndex((at) => at >= from);
    const at = this.at.slice(first);
    return { x: [at, this.x.slice(first)], y: [at, this.y.slice(first)] };
  }
}

/** The history, then what came while it was asked for, then all that comes. */
function useRecording(fleet: Fleet, device: string) {
  const [series, setSeries] = useState<{ x: Series; y: Series }>({ x: [[], []], y: [[], []] });
  const drawn = useRef(Number.NEGATIVE_INFINITY);
  useEffect(() => {
    const recording = new Recording();
    let waiting: CoordinateData[] | undefined = [];
    fleet.listener = (data) => {
      if (data.device !== device) return;
      if (waiting === undefined) recording.push(data);
      else waiting.push(data);
      const now = performance.now();
      if (now - drawn.current < REDRAW_EVERY_MS) return;
      drawn.current = now;
      setSeries(recording.series());
    };
    const begin = async () => {
      // Without a history the curves begin now.
      const history = await historyOf(device, HISTORY_MAX).catch(() => []);
      for (const data of [...history, ...(waiting ?? [])]) recording.push(data);
      waiting = undefined;
      setSeries(recording.series());
    };
    void begin();
    return () => {
      fleet.listener = undefined;
    };
  }, [fleet, device]);
  return series;
}

export function Detail({ fleet, device, now }: { fleet: Fleet; device: string; now: number }) {
  const { live } = words.value;
  const { x, y } = useRecording(fleet, device);
  const track = fleet.tracks.get(device);
  return (
    <section class="card" aria-labelledby="device-title">
      <h2 id="device-title">{device}</h2>
      {track === undefined ? (
        <p class="quiet">{live.noPoint}</p>
      ) : (
        <dl class="facts">
          <div>
            <dt>X</dt>
            <dd class="number">{coordinate(track.latest.coordX)}</dd>
          </div>
          <div>
            <dt>Y</dt>
            <dd class="number">{coordinate(track.latest.coordY)}</dd>
          </div>
          <div>
            <dt>{live.rate}</dt>
            <dd class="number">{number(track.rate(now), 1)}/s</dd>
          </div>
          <div>
            <dt>{live.age}</dt>
            <dd class="number">{age(now - track.seenAt)}</dd>
          </div>
        </dl>
      )}
      <div class="charts">
        <Chart label="X" hue={track?.hue ?? 200} series={x} />
        <Chart label="Y" hue={track?.hue ?? 200} series={y} />
      </div>
    </section>
  );
}
