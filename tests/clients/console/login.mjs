// Logging in by QR code: a screen and a phone, each a browser context of its own.

import { writeFile } from 'node:fs/promises';
import { logIn } from './browser.mjs';

const PHONE = { viewport: { width: 390, height: 844 } };
/** The picture is twice as large as the page has it: what a camera near the screen sees. */
const SCREEN = { viewport: { width: 1280, height: 860 }, deviceScaleFactor: 2 };

async function screenWithCode(browser) {
  const screen = await browser.page(SCREEN);
  await screen.goto('/login');
  // Where it is in the page, it need not be painted yet.
  await screen.locator('.qr[data-status=PENDING] img').evaluate((image) => image.decode());
  return screen;
}

/** What the camera sees from now on: the code on the screen, with some of what is around it. */
async function show(screen, camera) {
  const box = await screen.locator('.qr .picture').boundingBox();
  const clip = { x: box.x - 10, y: box.y - 10, width: 320, height: 320 };
  await writeFile(camera, await screen.screenshot({ type: 'jpeg', quality: 95, clip }));
}

async function scanned(phone) {
  await phone.goto('/qr');
  await phone.getByRole('button', { name: 'Start the camera' }).click();
  await phone.getByRole('heading', { name: 'Somebody wants to log in as you' }).waitFor();
}

/** The phone sees the code by its camera, sees who asks, and approves: the screen is logged in as the phone's account. */
export async function qrLogin({ browser, person, camera, say }) {
  const screen = await screenWithCode(browser);
  await show(screen, camera);
  await browser.picture(screen, 'login');
  const phone = await browser.page(PHONE);
  await logIn(phone, person);
  await scanned(phone);
  await screen.getByText('Scanned. Approve the login on your phone.').waitFor();
  await browser.smallPicture(phone, 'approve-phone-light-en');
  await phone.emulateMedia({ colorScheme: 'dark' });
  await browser.smallPicture(phone, 'approve-phone-dark-en');
  await phone.emulateMedia({ colorScheme: 'light' });
  const asked = await phone.locator('.facts').innerText();
  const boxes = [];
  for (const name of ['Approve', 'Deny']) boxes.push(await phone.getByRole('button', { name, exact: true }).boundingBox());
  await phone.getByRole('button', { name: 'Approve', exact: true }).click();
  await phone.getByText('Approved. The other screen is logged in now.').waitFor();
  await screen.getByRole('button', { name: 'Log out' }).waitFor();
  await screen.getByRole('link', { name: 'Account' }).click();
  await screen.getByText(person.email).waitFor();
  await screen.locator('tbody tr').nth(1).waitFor();
  await browser.picture(screen, 'account');
  say('loggedIn', { asked, boxes, logins: await screen.locator('tbody tr').count() });

  // The screen's login is ended from the phone: the screen notices by itself.
  await phone.goto('/account');
  // The newest is that of the screen.
  const rows = phone.locator('tbody tr').filter({ hasNotText: 'this one' });
  await rows.first().waitFor();
  const count = await rows.count();
  await rows.first().getByRole('button').click();
  await rows.nth(count - 1).waitFor({ state: 'detached' });
  await screen.reload();
  await screen.getByRole('link', { name: 'Log in' }).first().waitFor();
}

/** Denied on the phone, which followed the code's link as its own camera would: nobody is logged in, and another code is shown when it is asked for. */
export async function qrDenied({ browser, person, say }) {
  const screen = await browser.page(SCREEN);
  const made = screen.waitForResponse((response) => response.url().endsWith('/qr/challenges') && response.ok());
  await screen.goto('/login');
  const { qrPayload } = await (await made).json();
  const phone = await browser.page(PHONE);
  // Not logged in yet: it logs in where it is, and then sees who asks.
  await phone.goto(qrPayload);
  await phone.getByLabel('E-mail').fill(person.email);
  await phone.getByLabel('Password').fill(person.password);
  await phone.getByRole('main').getByRole('button', { name: 'Log in' }).click();
  await phone.getByRole('button', { name: 'Deny' }).click();
  await phone.getByText('Denied. Nobody was logged in.').waitFor();
  await screen.getByText('The login was denied on the phone.').waitFor();
  const address = phone.url();
  await screen.getByRole('button', { name: 'Show a new code' }).click();
  await screen.locator('.qr[data-status=PENDING]').waitFor();
  say('denied', { address });
}

/** A code that nobody scans is replaced by itself. */
export async function qrRenewed({ browser }) {
  const screen = await screenWithCode(browser);
  const picture = screen.locator('.qr img');
  const first = await picture.getAttribute('src');
  await screen.waitForFunction((first) => {
    const picture = document.querySelector('.qr[data-status=PENDING] img');
    return picture && picture.getAttribute('src') !== first && picture.naturalWidth > 0;
  }, first);
}

/** What a device shows is typed in: the OAuth device grant. */
export async function userCode({ browser, person, code, say }) {
  const phone = await browser.page(PHONE);
  await logIn(phone, person);
  await phone.goto('/qr');
  await phone.getByRole('textbox', { name: 'Code' }).fill(code.toLowerCase());
  await phone.getByRole('button', { name: 'Next' }).click();
  await phone.getByRole('heading', { name: 'Somebody wants to log in as you' }).waitFor();
  const asked = await phone.locator('.facts').innerText();
  await phone.getByRole('button', { name: 'Approve', exact: true }).click();
  await phone.getByText('Approved. The other screen is logged in now.').waitFor();
  say('approved', { asked });
}

/** Tabs of one browser have one login: all renew their tokens at once, again and again, and it goes on. */
export async function tabs({ browser, person, rounds }) {
  const first = await browser.page();
  await logIn(first, person);
  const others = await Promise.all([1, 2, 3].map(() => first.context().newPage()));
  const all = [first, ...others];
  for (let round = 0; round < rounds; round++) {
    await Promise.all(all.map((page) => page.goto('/account')));
    await Promise.all(all.map((page) => page.getByText(person.email).waitFor()));
  }
  await others[0].getByRole('navigation').getByRole('button', { name: 'Log out' }).click();
  await Promise.all(all.map((page) => page.getByRole('link', { name: 'Log in' }).first().waitFor()));
}
