// Every page, in each form that people see it in: looked at by axe, and kept as a picture.

import { logIn } from './browser.mjs';

const SIZES = { desktop: { width: 1280, height: 860 }, phone: { width: 360, height: 780 } };
const LANGUAGES = { en: 'en-GB', ko: 'ko-KR' };
/** What the page shows when it has shown what it is for. */
const PAGES = {
  '/login': '.qr[data-status=PENDING] img',
  '/': '.devices tbody tr',
  '/account': 'tbody tr',
  '/qr': 'input[name=code]',
  '/admin/actors': '[data-actors] tbody tr',
  '/admin/stream': 'tr[data-partition]',
  '/admin/users': 'tbody tr',
  '/admin/devices': 'main .card tbody tr',
  '/admin/connections': 'tbody tr',
  '/admin/dead-letters': 'tbody tr',
  '/admin/audit': 'tbody tr',
};

export async function everyPage({ browser, admin, device, language, say }) {
  const found = [];
  // Somebody is connected.
  const watcher = await browser.page();
  await watcher.goto('/');
  await watcher.locator('[data-link=connected]').waitFor();
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ['light', 'dark']) {
      const page = await browser.page({ viewport, colorScheme, locale: LANGUAGES[language] });
      for (const [path, ready] of Object.entries(PAGES)) {
        if (path === '/') await logInHere(page, admin);
        await page.goto(path === '/' ? `/?device=${device}` : path);
        await page.locator(ready).first().waitFor();
        const title = path === '/' ? 'live' : path.slice(1).replace('/', '-');
        await browser.smallPicture(page, `${title}-${size}-${colorScheme}-${language}`);
        found.push(...(await complaints(browser, page, `${path} ${size} ${colorScheme} ${language}`)));
      }
      await page.context().close();
    }
  }
  say('looked', { found });
}

/** In any language: the fields have names. */
async function logInHere(page, { email, password }) {
  await page.locator('input[name=email]').fill(email);
  await page.locator('input[name=password]').fill(password);
  await page.locator('form button[type=submit]').click();
  await page.locator('a[href="/account"]').waitFor();
}

/** What axe finds serious or critical, and whether the page is wider than the window. */
async function complaints(browser, page, where) {
  // The page's policy forbids scripts that it did not bring; the test's own are put in from outside.
  await page.evaluate(browser.axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const found = serious.map(({ id, nodes }) => `${where}: ${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  const isWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  return isWide ? [...found, `${where}: wider than the window`] : found;
}

/** By keyboard alone: the link over the head of the page, a device of the list, a dialog and out of it. */
export async function keyboard({ browser, admin, device, say }) {
  const page = await browser.page();
  await logIn(page, admin);
  await page.goto('/');
  await page.locator('.devices tbody tr').first().waitFor();
  await page.keyboard.press('Tab');
  const first = await page.evaluate(() => document.activeElement.textContent.trim());
  await page.getByRole('button', { name: device }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: device }).waitFor();
  await page.goto('/account');
  await page.getByRole('button', { name: 'Log out everywhere' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  say('by keyboard', { first });
}
