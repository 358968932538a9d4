// The web console in Chromium, over https and wss: node console_tls.mjs FOLDER BASE DEVICE. FOLDER has node_modules.
//
// Watches until it has seen the device move, and prints what it found as one line of JSON. That the certificate is good is not its affair:
// Chromium has no trust in a test's authority.

import { pathToFileURL } from 'node:url';
import { ARGUMENTS, EXECUTABLE } from './console/browser.mjs';

const [folder, base, device] = process.argv.slice(2);
const { chromium } = await import(pathToFileURL(`${folder}/node_modules/playwright-core/index.mjs`));
const browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS });
const context = await browser.newContext({ ignoreHTTPSErrors: true, baseURL: base, locale: 'en-GB' });
const page = await context.newPage();
page.setDefaultTimeout(60_000);

const [sockets, complaints] = [[], []];
page.on('websocket', (socket) => sockets.push(socket.url()));
page.on('pageerror', (error) => complaints.push(String(error)));
page.on('console', (message) => {
  if (message.type() === 'error') complaints.push(message.text());
});

await page.goto('/');
await page.getByText(device).first().waitFor();
const challenged = page.waitForResponse((response) => response.url().endsWith('/qr/challenges'));
await page.goto('/login');
await challenged;
const cookies = (await context.cookies()).map(({ name, secure }) => ({ name, secure }));
const isSecure = await page.evaluate(() => isSecureContext);
process.stdout.write(`${JSON.stringify({ sockets, complaints, cookies, isSecure })}\n`);
await browser.close();
