// All devices that one may see, as they move.

import type { RefObject } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { about } from '../../lib/about';
import { age, coordinate, number } from '../../lib/format';
import { login } from '../../lib/login';
import { go, place } from '../../lib/router';
import { Badge, Empty, Loading, Note } from '../../ui';
import { words } from '../../words';
import { Detail } from './detail';
import { DEVICES_MAX, type Track } from './fleet';
import { TrackMap } from './map';
import { type Link, Stream } from './stream';

/** The list is written anew so often, ms: faster than that nobody reads. */
const LIST_EVERY_MS = 500;
/** A device that has said nothing for so long is still, ms. */
const STILL_AFTER_MS = 10_000;
/** Rows that are shown; a filter finds the others. */
const ROWS_MAX = 200;

export function LivePage() {
  const { live } = words.value;
  if (about.value === undefined || login.value.is === 'unknown') return <Loading />;
  if (!about.value.streamPublic) {
    if (login.value.is !== 'in') return <LogInFirst />;
    const { me } = login.value;
    if (me.orinId === null && !me.roles.includes('ADMIN')) return <Empty>{live.noDevice}</Empty>;
  }
  // Another login sees other devices.
  const who = login.value.is === 'in' ? login.value.me.id : '';
  return <Live key={about.value.streamPublic ? 'public' : who} />;
}

function LogInFirst() {
  const { live, logIn } = words.value;
  return (
    <Empty>
      {live.logInFirst} <a href="/login">{logIn}</a>
    </Empty>
  );
}

/** Numbers of the fleet, twice a second. */
function useClock() {
  const [now, setNow] = useState(performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), LIST_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  return now;
}

function Live() {
  const { live } = words.value;
  // Known, as this page is shown only then.
  const stream = useMemo(() => new Stream(about.value as NonNullable<typeof about.value>), []);
  useEffect(() => () => stream.close(), [stream]);
  const now = useClock();
  const { fleet } = stream;
  const tracks = [...fleet.tracks.values()].sort((a, b) => a.device.localeCompare(b.device, 'en', { numeric: true }));
  const asked = place.value.query.get('device') ?? undefined;
  const selected = asked ?? (tracks.length === 1 ? tracks[0]?.device : undefined);
  const select = (device: string | undefined) => {
    const query = device === undefined ? '' : `?device=${encodeURIComponent(device)}`;
    go(`/${query}`, { replace: true });
  };
  const total = tracks.reduce((sum, track) => sum + track.rate(now), 0);
  const dataset = { 'data-devices': tracks.length, 'data-received': fleet.received };
  return (
    <div class="live" {...dataset}>
      <h1 class="hidden">{live.title}</h1>
      <div class="summary">
        <LinkState link={stream.link.value} />
        <span class="number">{live.devices(tracks.length)}</span>
        <span class="number">{live.perSecond(number(total))}</span>
        {fleet.left.size > 0 && <span>{live.tooMany(DEVICES_MAX)}</span>}
      </div>
      <Refused link={stream.link.value} />
      <div class="stage">
        <Picture stream={stream} selected={selected} onSelect={select} count={tracks.length} />
        <DeviceList tracks={tracks} now={now} selected={selected} onSelect={select} />
      </div>
      {selected === undefined ? (
        tracks.length > 0 && <p class="quiet">{live.choose}</p>
      ) : (
        <Detail key={selected} fleet={fleet} device={selected} now={now} />
      )}
    </div>
  );
}

function LinkState({ link }: { link: Link }) {
  const { live } = words.value;
  const kind = link.is === 'connected' ? 'good' : link.is === 'refused' ? 'bad' : 'warn';
  return (
    <span role="status" data-link={link.is}>
      <Badge kind={kind}>{live.link[link.is]}</Badge>
    </span>
  );
}

function Refused({ link }: { link: Link }) {
  const { live, logIn } = words.value;
  if (link.is !== 'refused') return null;
  return (
    <Note kind="warn">
      {link.why === 'other' ? live.refused.other(link.code) : live.refused[link.why]}{' '}
      {link.why === 'ended' && <a href="/login">{logIn}</a>}
    </Note>
  );
}

interface Selecting {
  selected: string | undefined;
  onSelect: (device: string | undefined) => void;
}

function Picture(props: Selecting & { stream: Stream; count: number }) {
  const { live } = words.value;
  const lines = useRef<HTMLCanvasElement>(null);
  const above = useRef<HTMLCanvasElement>(null);
  const map = useMap(props.stream, lines, above);
  useEffect(() => {
    if (map.current) map.current.selected = props.selected;
  }, [map, props.selected]);
  const choose = (event: MouseEvent) => {
    const box = (event.currentTarget as HTMLCanvasElement).getBoundingClientRect();
    props.onSelect(map.current?.at(event.clientX - box.left, event.clientY - box.top));
  };
  return (
    <div class="map card">
      <canvas ref={lines} />
      {/* By keyboard a device is chosen in the list. */}
      <canvas ref={above} role="img" aria-label={live.map(props.count)} onClick={choose} />
      {props.count === 0 && <Empty>{live.noDevices}</Empty>}
    </div>
  );
}

type Canvas = RefObject<HTMLCanvasElement | null>;

function useMap(stream: Stream, lines: Canvas, above: Canvas) {
  const map = useRef<TrackMap>(undefined);
  useEffect(() => {
    const made = new TrackMap(stream.fleet, lines.current as HTMLCanvasElement, above.current as HTMLCanvasElement);
    map.current = made;
    return () => made.close();
  }, [stream, lines, above]);
  return map;
}

function DeviceList(props: Selecting & { tracks: Track[]; now: number }) {
  const { live } = words.value;
  const [filter, setFilter] = useState('');
  const found = props.tracks.filter(({ device }) => device.toLowerCase().includes(filter.toLowerCase()));
  return (
    <section class="devices card" aria-label={live.list}>
      {props.tracks.length > 8 && (
        <input
          type="search"
          class="filter"
          placeholder={live.filter}
          aria-label={live.filter}
          value={filter}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
      )}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard (WCAG 2.1.1) */}
      <section class="scroll" tabIndex={0} aria-label={live.list}>
        <table class="dense">
          <thead>
            <tr>
              <th scope="col">{live.device}</th>
              <th scope="col" class="numeric">
                X
              </th>
              <th scope="col" class="numeric">
                Y
              </th>
              <th scope="col" class="numeric">
                {live.rate}
              </th>
              <th scope="col" class="numeric">
                {live.age}
              </th>
            </tr>
          </thead>
          <tbody>
            {found.slice(0, ROWS_MAX).map((track) => (
              <Row key={track.device} track={track} {...props} />
            ))}
          </tbody>
        </table>
      </section>
      {found.length > ROWS_MAX && <p class="quiet">{live.moreRows(found.length - ROWS_MAX)}</p>}
    </section>
  );
}

function Row({ track, now, selected, onSelect }: Selecting & { track: Track; now: number }) {
  const { latest } = track;
  const isSelected = track.device === selected;
  const idle = now - track.seenAt;
  return (
    <tr class={isSelected ? 'selected' : ''}>
      <th scope="row">
        <button
          type="button"
          class="bare"
          aria-pressed={isSelected}
          onClick={() => onSelect(isSelected ? undefined : track.device)}
        >
          <svg class="dot" viewBox="0 0 8 8" aria-hidden="true">
            <circle cx="4" cy="4" r="4" fill={`hsl(${track.hue.toFixed(0)} 65% 50%)`} />
          </svg>
          {track.device}
        </button>
      </th>
      <td class="numeric">{coordinate(latest.coordX)}</td>
      <td class="numeric">{coordinate(latest.coordY)}</td>
      <td class="numeric">{number(track.rate(now), 1)}</td>
      <td class={`numeric ${idle > STILL_AFTER_MS ? 'warn' : ''}`}>{age(idle)}</td>
    </tr>
  );
}
