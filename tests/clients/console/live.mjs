// The live view.

import { logIn } from './browser.mjs';

const WIDE = { viewport: { width: 1440, height: 900 } };

/** Waits until the row of a device shows this X. */
async function shows(page, device, x) {
  await page
    .getByRole('row', { name: device })
    .filter({ has: page.getByRole('cell', { name: x, exact: true }) })
    .waitFor();
}

async function isLive(page) {
  await page.locator('[data-link=connected]').waitFor();
}

/** Values show as they come; over the daemon's end and its start anew it says so, and goes on by itself. */
export async function reconnect({ browser, device, turn }) {
  const page = await browser.page();
  await page.goto(`/?device=${device}`);
  await isLive(page);
  await shows(page, device, '1.0000');
  await turn('connected');
  await shows(page, device, '2.0000');
  await turn('moved');
  await page.locator('[data-link=reconnecting]').waitFor();
  await page.getByText('Reconnecting').waitFor();
  await turn('reconnecting');
  await isLive(page);
  await turn('again');
  await shows(page, device, '3.0000');
}

/** A recorded track is replayed: each device comes up by itself, moves, and stands at last where the record ends. */
export async function replayed({ browser, last, turn, say }) {
  const page = await browser.page(WIDE);
  await page.goto('/');
  await isLive(page);
  await turn('connected');
  await page.locator(`.live[data-devices="${last.length}"]`).waitFor();
  await page.getByRole('button', { name: last[0].device }).click();
  await page.locator('.charts canvas').nth(1).waitFor();
  await turn('moving');
  for (const { device, x, y } of last) {
    await shows(page, device, x);
    await shows(page, device, y);
  }
  await browser.picture(page, 'live-replayed');
  const received = Number(await page.locator('.live').getAttribute('data-received'));
  say('arrived', { received });
}

/** Many devices: all are there, all move, and the picture is drawn. Frames a second are measured, as browsers show them. */
export async function crowd({ browser, devices, seconds, say, turn }) {
  const page = await browser.page(WIDE);
  await page.goto('/');
  await isLive(page);
  await turn('connected');
  await page.locator(`.live[data-devices="${devices}"]`).waitFor();
  await page.getByRole('row').nth(3).getByRole('button').click();
  await page.locator('.charts canvas').nth(1).waitFor();
  const measured = await page.evaluate(async (seconds) => {
    const live = document.querySelector('.live');
    const canvas = document.querySelectorAll('.map canvas')[1];
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    const begun = await frame();
    const [drawn, received] = [Number(canvas.dataset.frames), Number(live.dataset.received)];
    let [last, longest, now] = [begun, 0, begun];
    while (now - begun < seconds * 1000) {
      now = await frame();
      longest = Math.max(longest, now - last);
      last = now;
    }
    const perSecond = (count) => (count * 1000) / (now - begun);
    return {
      framesPerSecond: perSecond(Number(canvas.dataset.frames) - drawn),
      publicationsPerSecond: perSecond(Number(live.dataset.received) - received),
      longestFrameMs: longest,
    };
  }, seconds);
  // Pixels of the canvas that are not empty.
  const painted = await page.evaluate(() => {
    const canvas = document.querySelectorAll('.map canvas')[1];
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let index = 3; index < data.length; index += 4) count += data[index] > 0 ? 1 : 0;
    return count;
  });
  await browser.picture(page, 'live-crowd');
  say('measured', { ...measured, painted });
}

/** Who sees one device sees only that, with a token that is renewed on the way. */
export async function ownDevice({ browser, person, device, turn }) {
  const page = await browser.page();
  await page.goto('/');
  await page.getByText('Log in to see your devices.').waitFor();
  await logIn(page, person);
  await isLive(page);
  await shows(page, device, '1.0000');
  // Twice: the socket stays over the end of the token that it began with.
  for (let count = 0; count < 2; count++) {
    await page.waitForResponse((response) => response.url().endsWith('/auth/refresh') && response.ok());
  }
  await turn('watching', { rows: await page.locator('.devices tbody tr').count() });
  await shows(page, device, '2.0000');
  await browser.picture(page, 'live');
}
