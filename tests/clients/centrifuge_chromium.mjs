// `centrifuge` (npm) in Chromium, driven by JSON lines: node centrifuge_chromium.mjs FOLDER URL [TOKEN]. FOLDER has node_modules.
//
// The page is this program's own, from a port of its own: to the daemon it is a page of another origin.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { ARGUMENTS, EXECUTABLE } from './console/browser.mjs';

const [folder, url, token] = process.argv.slice(2);
const { chromium } = await import(pathToFileURL(`${folder}/node_modules/playwright-core/index.mjs`));

const SCRIPT = 'text/javascript';
const files = {
  '/': ['text/html', '<!doctype html><title>centrifuge</title><script src="/centrifuge.js"></script>'],
  // What a page without a bundler takes.
  '/centrifuge.js': [SCRIPT, await readFile(`${folder}/node_modules/centrifuge/dist/centrifuge.js`)],
  '/driver.mjs': [SCRIPT, await readFile(new URL('./centrifuge/driver.mjs', import.meta.url))],
};
const server = createServer((request, response) => {
  const [type, content] = files[request.url] ?? [];
  response.writeHead(type ? 200 : 404, { 'content-type': type ?? 'text/plain' }).end(content);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

const browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS });
const page = await browser.newPage();
page.on('pageerror', (error) => console.error(error));
await page.exposeFunction('tell', (line) => { process.stdout.write(`${line}\n`); });
await page.goto(`http://127.0.0.1:${server.address().port}/`);
await page.evaluate(async ({ url, token }) => {
  const { drive } = await import('/driver.mjs');
  const say = (event, more) => globalThis.tell(JSON.stringify({ event, ...more }));
  globalThis.command = drive({ Centrifuge: globalThis.Centrifuge, url, token, say });
}, { url, token });

const close = async () => {
  await browser.close();
  process.exit(0);
};
createInterface({ input: process.stdin })
  .on('line', (line) => page.evaluate((command) => globalThis.command(command), JSON.parse(line)))
  .on('close', close);
