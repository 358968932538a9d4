// The web console in Chromium, driven by Playwright: node console.mjs FOLDER SCENARIO {"base":URL,...}. FOLDER has node_modules.
//
// A scenario is a function of console/*.mjs. It writes a JSON object a line for what it has reached, and where it has to wait for
// something that the test does, it reads a line. Any surprise ends it with a trace, and with a picture of each page.

import { createInterface } from 'node:readline';
import { open } from './console/browser.mjs';
import * as access from './console/access.mjs';
import * as admin from './console/admin.mjs';
import * as live from './console/live.mjs';
import * as login from './console/login.mjs';

const [folder, scenario, text] = process.argv.slice(2);
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));
/** Says what was reached, and waits for a line. */
const turn = async (event, more) => {
  say(event, more);
  if ((await input.next()).done) throw new Error(`the test ended at ${event}`);
};

const scenarios = { ...access, ...admin, ...live, ...login };
const options = JSON.parse(text);
const browser = await open(folder, { name: scenario, ...options });
try {
  await scenarios[scenario]({ ...options, browser, say, turn });
  browser.assertQuiet();
  say('done');
} catch (error) {
  await browser.pictures('failed');
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
process.exit();
