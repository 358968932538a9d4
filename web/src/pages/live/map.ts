// All tracks on two canvases: the lines, to which each frame adds what is new and which are drawn anew a few times a second; and above them
// the heads, drawn with each frame. So a frame costs what moved, not all that is shown.

import type { Fleet, Track } from './fleet';

/** Lines are drawn anew so often, ms: then what is older than a track is long goes away. */
const REDRAW_EVERY_MS = 250;
/** Of the way to where a device is, a head goes this part in a 60th of a second. */
const EASE = 0.35;
const MARGIN = 0.08;
/** Both axes have one scale, unless that would make a line of the picture. */
const RATIO_MAX = 4;
const HIT_PX = 24;
/** Of the grid, an axis. */
const LINES_MAX = 100;

interface View {
  minX: number;
  minY: number;
  scaleX: number;
  scaleY: number;
}

export class TrackMap {
  selected: string | undefined;
  /** Frames drawn; tests measure by it. */
  frames = 0;
  private view: View = { minX: 0, minY: 0, scaleX: 1, scaleY: 1 };
  private readonly heads = new Map<string, { x: number; y: number; drawn: number }>();
  private redrawnAt = Number.NEGATIVE_INFINITY;
  private frame = 0;
  private last = 0;
  private size = { width: 0, height: 0, ratio: 1 };
  private colours = { text: '', grid: '', lightness: 50 };
  private readonly lines: CanvasRenderingContext2D;
  private readonly above: CanvasRenderingContext2D;
  private readonly isCalm = matchMedia('(prefers-reduced-motion: reduce)');
  private readonly isDark = matchMedia('(prefers-color-scheme: dark)');
  private readonly observer = new ResizeObserver(() => this.resize());

  constructor(
    private readonly fleet: Fleet,
    lines: HTMLCanvasElement,
    above: HTMLCanvasElement,
  ) {
    this.lines = lines.getContext('2d') as CanvasRenderingContext2D;
    this.above = above.getContext('2d') as CanvasRenderingContext2D;
    this.observer.observe(above);
    this.isDark.addEventListener('change', this.recolour);
    this.recolour();
    this.frame = requestAnimationFrame(this.draw);
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
    this.isDark.removeEventListener('change', this.recolour);
  }

  /** The device whose head is near, in CSS pixels of the canvas. */
  at(x: number, y: number): string | undefined {
    const { ratio } = this.size;
    let best: string | undefined;
    let bestDistance = HIT_PX;
    for (const [device, head] of this.heads) {
      const distance = Math.hypot(this.px(head.x) / ratio - x, this.py(head.y) / ratio - y);
      if (distance < bestDistance) [best, bestDistance] = [device, distance];
    }
    return best;
  }

  private readonly recolour = () => {
    const style = getComputedStyle(this.above.canvas);
    this.colours = {
      text: style.getPropertyValue('--quiet'),
      grid: style.getPropertyValue('--line'),
      lightness: this.isDark.matches ? 68 : 42,
    };
    this.redrawnAt = Number.NEGATIVE_INFINITY;
  };

  private resize() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const { clientWidth, clientHeight } = this.above.canvas;
    this.size = { width: Math.round(clientWidth * ratio), height: Math.round(clientHeight * ratio), ratio };
    for (const { canvas } of [this.lines, this.above]) {
      canvas.width = this.size.width;
      canvas.height = this.size.height;
    }
    this.redrawnAt = Number.NEGATIVE_INFINITY;
  }

  private readonly draw = (now: number) => {
    this.frame = requestAnimationFrame(this.draw);
    if (this.size.width === 0) return;
    const step = this.isCalm.matches ? 1 : 1 - (1 - EASE) ** Math.min((now - this.last) / 16.7, 8);
    this.last = now;
    if (now - this.redrawnAt >= REDRAW_EVERY_MS) {
      this.redrawnAt = now;
      this.fit();
      this.drawAll();
    } else {
      this.drawNew();
    }
    this.drawHeads(step);
    this.frames += 1;
    this.above.canvas.dataset.frames = String(this.frames);
  };

  /** Chooses what is seen: all of all tracks. It grows at once and shrinks slowly, so that the picture is calm. */
  private fit() {
    let [minX, maxX, minY, maxY] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const track of this.fleet.tracks.values()) {
      for (let index = 0; index < track.length; index++) {
        const slot = track.slot(index);
        const [x, y] = [track.x[slot] as number, track.y[slot] as number];
        if (x < minX) minX = x;
        if (x > maxX) maxX = x;
        if (y < minY) minY = y;
        if (y > maxY) maxY = y;
      }
    }
    if (minX > maxX) return;
    let width = Math.max(maxX - minX, 1e-6) * (1 + 2 * MARGIN);
    let height = Math.max(maxY - minY, 1e-6) * (1 + 2 * MARGIN);
    const aspect = this.size.width / this.size.height;
    const relation = width / height / aspect;
    if (relation < RATIO_MAX && relation > 1 / RATIO_MAX) {
      width = Math.max(width, height * aspect);
      height = Math.max(height, width / aspect);
    }
    const [oldWidth, oldHeight] = [this.size.width / this.view.scaleX, this.size.height / this.view.scaleY];
    const { minX: oldX, minY: oldY } = this.view;
    const holds = oldX <= minX && oldX + oldWidth >= maxX && oldY <= minY && oldY + oldHeight >= maxY;
    const isWasteful = oldWidth > width * 1.5 || oldHeight > height * 1.5;
    if (holds && !isWasteful) return;
    this.view = {
      minX: (minX + maxX - width) / 2,
      minY: (minY + maxY - height) / 2,
      scaleX: this.size.width / width,
      scaleY: this.size.height / height,
    };
  }

  private px(x: number) {
    return (x - this.view.minX) * this.view.scaleX;
  }

  /** Y grows upwards. */
  private py(y: number) {
    return this.size.height - (y - this.view.minY) * this.view.scaleY;
  }

  private colour(track: Track, alpha: number) {
    return `hsl(${track.hue.toFixed(0)} 65% ${this.colours.lightness}% / ${alpha})`;
  }

  private drawAll() {
    const { lines, size } = this;
    lines.clearRect(0, 0, size.width, size.height);
    this.drawGrid();
    for (const track of this.fleet.tracks.values()) {
      this.drawLine(track, 0);
      this.head(track).drawn = track.count;
    }
  }

  private drawNew() {
    for (const track of this.fleet.tracks.values()) {
      const head = this.head(track);
      if (head.drawn === track.count) continue;
      const isNewEpoch = head.drawn > track.count;
      this.drawLine(track, isNewEpoch ? 0 : Math.max(0, track.length - (track.count - head.drawn) - 1));
      head.drawn = track.count;
    }
  }

  private drawLine(track: Track, from: number) {
    if (track.length - from < 2) return;
    const { lines, size } = this;
    const isSelected = track.device === this.selected;
    lines.strokeStyle = this.colour(track, isSelected ? 0.95 : this.selected === undefined ? 0.55 : 0.25);
    lines.lineWidth = (isSelected ? 2.5 : 1.5) * size.ratio;
    lines.lineJoin = 'round';
    lines.beginPath();
    for (let index = from; index < track.length; index++) {
      const slot = track.slot(index);
      lines.lineTo(this.px(track.x[slot] as number), this.py(track.y[slot] as number));
    }
    lines.stroke();
  }

  private head(track: Track) {
    let head = this.heads.get(track.device);
    if (head === undefined) {
      head = { x: track.latest.coordX, y: track.latest.coordY, drawn: 0 };
      this.heads.set(track.device, head);
    }
    return head;
  }

  private drawHeads(step: number) {
    const { above, size } = this;
    above.clearRect(0, 0, size.width, size.height);
    for (const track of this.fleet.tracks.values()) {
      const head = this.head(track);
      head.x += (track.latest.coordX - head.x) * step;
      head.y += (track.latest.coordY - head.y) * step;
      const isSelected = track.device === this.selected;
      const [x, y] = [this.px(head.x), this.py(head.y)];
      above.fillStyle = this.colour(track, 1);
      above.beginPath();
      above.arc(x, y, (isSelected ? 6 : 3.5) * size.ratio, 0, 2 * Math.PI);
      above.fill();
      if (isSelected || this.fleet.tracks.size <= 12) this.label(track.device, x, y);
    }
  }

  private label(text: string, x: number, y: number) {
    const { above, size } = this;
    above.font = `${12 * size.ratio}px system-ui, sans-serif`;
    above.fillStyle = this.colours.text;
    const isRight = x + 12 * size.ratio + above.measureText(text).width > size.width;
    above.textAlign = isRight ? 'right' : 'left';
    above.fillText(text, x + (isRight ? -10 : 10) * size.ratio, y + 4 * size.ratio);
  }

  /** Lines at round numbers, a handful an axis. */
  private drawGrid() {
    const { lines, size, view } = this;
    lines.strokeStyle = this.colours.grid;
    lines.fillStyle = this.colours.text;
    lines.lineWidth = 1;
    lines.font = `${11 * size.ratio}px system-ui, sans-serif`;
    const wanted = 110 * size.ratio;
    lines.beginPath();
    for (const [x, label] of rounds(view.minX, size.width / view.scaleX, size.width / wanted)) {
      const at = Math.round(this.px(x)) + 0.5;
      lines.moveTo(at, 0);
      lines.lineTo(at, size.height);
      lines.fillText(label, at + 4 * size.ratio, size.height - 6 * size.ratio);
    }
    for (const [y, label] of rounds(view.minY, size.height / view.scaleY, size.height / wanted)) {
      const at = Math.round(this.py(y)) + 0.5;
      lines.moveTo(0, at);
      lines.lineTo(size.width, at);
      lines.fillText(label, 6 * size.ratio, at - 4 * size.ratio);
    }
    lines.stroke();
  }
}

/** Round numbers within `from` and `from + length`, about `count` of them, each with its text. */
function rounds(from: number, length: number, count: number): [number, string][] {
  const rough = length / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  const digits = Math.min(Math.max(0, -Math.floor(Math.log10(step * 1.001))), 9);
  const first = Math.ceil(from / step);
  const result: [number, string][] = [];
  for (let index = 0; index < LINES_MAX && (first + index) * step < from + length; index++) {
    const value = (first + index) * step;
    result.push([value, value.toFixed(digits)]);
  }
  return result;
}
