// Chromium of the system, with a fake camera; and what all scenarios do.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';

/** As long as the test waits: a machine under load is slow, not broken. */
const TIMEOUT_MS = 60_000;
export const EXECUTABLE = '/usr/bin/chromium';

/** Chromium must ask nobody on the network for anything. */
export const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** `pictures`: the folder for them. `camera`: a file of Motion JPEG that the camera sees. */
export async function open(folder, { name, base, pictures, camera }) {
  const { chromium } = await import(pathToFileURL(`${folder}/node_modules/playwright-core/index.mjs`));
  const axe = await readFile(`${folder}/node_modules/axe-core/axe.min.js`, 'utf8');
  const fake = ['--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream'];
  const args = [...ARGUMENTS, ...(camera ? [...fake, `--use-file-for-fake-video-capture=${camera}`] : [])];
  const browser = await chromium.launch({ executablePath: EXECUTABLE, args });
  await mkdir(pictures, { recursive: true });
  const pages = [];
  const complaints = [];

  /** A browser of its own: another person's, or another machine's. */
  async function page(options = {}) {
    const context = await browser.newContext({ locale: 'en-GB', baseURL: base, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(TIMEOUT_MS);
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => {
      // What a policy refuses is said there, too. That a request failed is a scenario's own affair.
      if (message.type() === 'error' && !/Failed to load resource|WebSocket connection/.test(message.text())) {
        complaints.push(message.text());
      }
    });
    pages.push(page);
    return page;
  }

  return {
    page,
    axe,
    /** Of the window, in WebP: a quarter of a PNG, for pictures that are kept in the repository. */
    async smallPicture(page, title) {
      const session = await page.context().newCDPSession(page);
      const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: 75 });
      await session.detach();
      await writeFile(`${pictures}/${title}.webp`, Buffer.from(data, 'base64'));
    },
    picture: (page, title, more) => page.screenshot({ path: `${pictures}/${title}.png`, ...more }),
    pictures: (why) =>
      Promise.allSettled(
        pages.map((page, index) => page.screenshot({ path: `${pictures}/${why}-${name}-${index}.png`, timeout: 5000 })),
      ),
    assertQuiet() {
      if (complaints.length > 0) throw new Error(`the console complained: ${complaints.join('; ')}`);
    },
    close: () => browser.close(),
  };
}

/** Logs in by password, and is on the live page. */
export async function logIn(page, { email, password }) {
  await page.goto('/login');
  const form = page.getByRole('region', { name: 'With your password' });
  await form.getByLabel('E-mail').fill(email);
  await form.getByLabel('Password').fill(password);
  await form.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('button', { name: 'Log out' }).waitFor();
}
