// The camera. QR codes are read by the browser where it can (BarcodeDetector), else by the `qr` library, which is loaded only then.

import { useEffect, useRef, useState } from 'preact/hooks';
import { words } from '../../words';

/** Between looks at the picture, ms. */
const LOOK_EVERY_MS = 150;
/** A larger picture is made smaller first: codes fill it anyway. */
const SIDE_MAX = 640;

type Reader = (video: HTMLVideoElement) => Promise<string | undefined>;

interface BarcodeDetectorLike {
  detect(source: CanvasImageSource): Promise<{ rawValue: string }[]>;
}

declare global {
  interface Window {
    BarcodeDetector?: {
      new (options: { formats: string[] }): BarcodeDetectorLike;
      getSupportedFormats(): Promise<string[]>;
    };
  }
}

export function Scanner({ onText }: { onText: (text: string) => void }) {
  const { phone } = words.value;
  const [state, setState] = useState<'off' | 'on' | 'denied' | 'none'>('off');
  const video = useRef<HTMLVideoElement>(null);
  const seen = useRef(onText);
  seen.current = onText;
  useEffect(() => {
    if (state !== 'on') return;
    return watch(video.current as HTMLVideoElement, (text) => seen.current(text), setState);
  }, [state]);
  // Only pages of https, or of this machine, get a camera.
  if (!('mediaDevices' in navigator)) return <p class="quiet">{phone.noCamera}</p>;
  return (
    <>
      {state === 'on' ? (
        <video ref={video} class="camera" muted playsInline aria-label={phone.camera} />
      ) : (
        <p class="quiet">
          {state === 'off' ? phone.scanHint : state === 'denied' ? phone.cameraDenied : phone.noCamera}
        </p>
      )}
      <button
        type="button"
        class={state === 'on' ? '' : 'primary'}
        onClick={() => setState(state === 'on' ? 'off' : 'on')}
      >
        {state === 'on' ? phone.stopCamera : phone.startCamera}
      </button>
    </>
  );
}

/** Shows the camera and tells each text that it sees anew, until what it returns is called. */
function watch(video: HTMLVideoElement, onText: (text: string) => void, onEnd: (why: 'denied' | 'none') => void) {
  let isOver = false;
  let stream: MediaStream | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last: string | undefined;
  const stop = () => {
    isOver = true;
    clearTimeout(timer);
    for (const track of stream?.getTracks() ?? []) track.stop();
  };
  const look = async (read: Reader) => {
    const text = video.readyState >= video.HAVE_CURRENT_DATA ? await read(video).catch(() => undefined) : undefined;
    if (isOver) return;
    if (text !== undefined && text !== last) onText(text);
    last = text ?? last;
    timer = setTimeout(look, LOOK_EVERY_MS, read);
  };
  const begin = async () => {
    const [camera, read] = await Promise.all([
      navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' }, audio: false }),
      reader(),
    ]);
    stream = camera;
    if (isOver) return stop();
    video.srcObject = stream;
    await video.play();
    await look(read);
  };
  begin().catch((error: unknown) => {
    if (isOver) return;
    stop();
    onEnd(error instanceof DOMException && error.name === 'NotAllowedError' ? 'denied' : 'none');
  });
  return stop;
}

async function reader(): Promise<Reader> {
  const native = window.BarcodeDetector;
  if (native && (await native.getSupportedFormats()).includes('qr_code')) {
    const detector = new native({ formats: ['qr_code'] });
    return async (video) => (await detector.detect(video))[0]?.rawValue;
  }
  const { decodeQR } = await import('qr/decode.js');
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', { willReadFrequently: true }) as CanvasRenderingContext2D;
  return (video) => {
    const scale = Math.min(1, SIDE_MAX / Math.max(video.videoWidth, video.videoHeight, 1));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    // It throws where there is none.
    const picture = context.getImageData(0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => resolve(decodeQR(picture)));
  };
}
