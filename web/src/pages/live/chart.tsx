// One axis of one device over time, by uPlot.

import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { clock, coordinate } from '../../lib/format';
import { words } from '../../words';

const HEIGHT_PX = 160;
/** Seconds that are shown. */
export const SPAN_S = 120;

export type Series = [at: number[], value: number[]];

export function Chart(props: { label: string; hue: number; series: Series }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const series = useRef(props.series);
  useEffect(() => {
    const root = box.current as HTMLDivElement;
    const isDark = matchMedia('(prefers-color-scheme: dark)');
    const build = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(root, props.label, props.hue, isDark.matches), series.current, root);
    };
    build();
    const observer = new ResizeObserver(() => plot.current?.setSize({ width: root.clientWidth, height: HEIGHT_PX }));
    observer.observe(root);
    isDark.addEventListener('change', build);
    return () => {
      observer.disconnect();
      isDark.removeEventListener('change', build);
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [props.label, props.hue]);
  useEffect(() => {
    series.current = props.series;
    plot.current?.setData(props.series);
  }, [props.series]);
  const latest = props.series[1].at(-1);
  return (
    <figure>
      <figcaption>
        {props.label} <strong class="number">{latest === undefined ? '–' : coordinate(latest)}</strong>
      </figcaption>
      <div ref={box} role="img" aria-label={words.value.live.chart(props.label)} />
    </figure>
  );
}

function options(root: HTMLElement, label: string, hue: number, isDark: boolean): uPlot.Options {
  const style = getComputedStyle(root);
  const axis: uPlot.Axis = {
    stroke: style.getPropertyValue('--quiet'),
    grid: { stroke: style.getPropertyValue('--line'), width: 1 },
    ticks: { show: false },
    font: '11px system-ui, sans-serif',
  };
  return {
    width: root.clientWidth,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { y: false, points: { show: false } },
    scales: { x: { time: true } },
    axes: [
      { ...axis, space: 70, values: (_, splits) => splits.map(clock) },
      { ...axis, size: 64, values: (_, splits) => splits.map((value) => coordinate(value)) },
    ],
    series: [
      {},
      { label, stroke: `hsl(${hue.toFixed(0)} 65% ${isDark ? 68 : 42}%)`, width: 1.5, points: { show: false } },
    ],
  };
}
