// Pages for administrators.

import { logIn } from './browser.mjs';

const WIDE = { viewport: { width: 1440, height: 1000 } };

/** Kills an actor on the page of the tree, and watches it come back. */
export async function actorTree({ browser, admin, actor, say }) {
  const page = await browser.page(WIDE);
  await logIn(page, admin);
  await page.getByRole('link', { name: 'Admin' }).click();
  const row = page.locator(`tr[data-path="${actor}"]`);
  await row.and(page.locator('[data-status=running][data-incarnation="0"]')).waitFor();
  await row.getByRole('button', { name: `Kill ${actor}` }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Kill' }).click();
  await row.and(page.locator('[data-status=running][data-incarnation="1"]')).waitFor();
  const failure = await row.locator('td').nth(7).innerText();
  await browser.picture(page, 'actors-after-kill', { fullPage: true });
  await page.getByRole('link', { name: 'Audit log' }).click();
  await page.getByRole('row', { name: 'authz_admin' }).filter({ hasText: actor }).waitFor();
  say('killed', { failure });
}

/** Makes a user with a device, takes its rights and gives them back, gives a device a secret and takes it. */
export async function accounts({ browser, admin, user, device, say, turn }) {
  const page = await browser.page(WIDE);
  await logIn(page, admin);
  await page.goto('/admin/users');
  await page.getByRole('button', { name: 'Add a user' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('E-mail').fill(user.email);
  await dialog.getByLabel('Password').fill(user.password);
  await dialog.getByRole('button', { name: 'Add a user' }).click();
  await dialog.waitFor({ state: 'detached' });
  await everyRow(page, user.email);
  await page.getByRole('button', { name: `Device of ${user.email}` }).click();
  await dialog.getByLabel('Device').fill(device);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('row', { name: user.email }).filter({ hasText: device }).waitFor();
  await page.getByRole('button', { name: `Disable: ${user.email}` }).click();
  await page.getByRole('button', { name: `Enable: ${user.email}` }).waitFor();
  await turn('disabled');
  await page.getByRole('button', { name: `Enable: ${user.email}` }).click();
  await page.getByRole('button', { name: `Disable: ${user.email}` }).waitFor();

  await page.getByRole('link', { name: 'Devices' }).click();
  await page.getByRole('button', { name: 'Give a device a secret' }).click();
  await dialog.getByLabel('Device').fill(device);
  await dialog.getByRole('button', { name: 'Give a device a secret' }).click();
  const secret = await page.locator('code.secret').innerText();
  await page.getByRole('button', { name: 'I have kept it' }).click();
  await page.getByRole('button', { name: `Revoke: ${device}` }).click();
  await page.getByRole('row', { name: device }).filter({ hasText: 'revoked' }).waitFor();
  say('done with accounts', { secret });
}

/** Lists come in pages: goes on until the row is there. */
async function everyRow(page, name) {
  const row = page.getByRole('row', { name });
  const more = page.getByRole('button', { name: 'Show more' });
  await row.or(more).first().waitFor();
  while (!(await row.isVisible()) && (await more.isVisible())) {
    const before = await page.getByRole('row').count();
    await more.click();
    await page.waitForFunction((before) => document.querySelectorAll('tr').length > before, before);
  }
  await row.waitFor();
}

/** Chooses the letters of a topic, sends them again, and sees what became of them: further letters. */
export async function replayLetters({ browser, admin, topic, say }) {
  const page = await browser.page(WIDE);
  await logIn(page, admin);
  await page.goto('/admin/dead-letters');
  const rows = page.getByRole('row').filter({ hasText: topic });
  await rows.first().waitFor();
  const before = await rows.count();
  const again = page.getByRole('button', { name: /^Send / }).first();
  if (await again.isEnabled()) throw new Error('nothing is chosen, and yet there is something to send');
  await rows.first().getByRole('checkbox').check();
  await again.click();
  await page.getByRole('dialog').getByRole('button', { name: 'Send 1 letter again' }).click();
  await page.getByText('1 letter was sent again.').waitFor();
  await rows.nth(before).waitFor();
  await browser.picture(page, 'letters-replayed');
  await page.getByRole('link', { name: 'Audit log' }).click();
  await page.getByRole('row', { name: 'authz_admin' }).filter({ hasText: 'replayed 1 dead letters' }).waitFor();
  say('replayed', { before });
}

/** A pool of many actors: the page shows some, and more when it is asked to, never all. */
export async function manyActors({ browser, admin, pool, say }) {
  const page = await browser.page(WIDE);
  await logIn(page, admin);
  await page.goto('/admin/actors');
  const rows = page.locator(`tr[data-path^="${pool}/"]`);
  await rows.nth(19).waitFor();
  const first = await rows.count();
  await page.getByRole('button', { name: `Show more: ${pool}` }).click();
  await page.locator('tr[data-more="100"]').waitFor();
  const more = await rows.count();
  const fold = page.locator(`tr[data-path="${pool}"]`).getByRole('button');
  await fold.click();
  await rows.first().waitFor({ state: 'detached' });
  say('shown', { first, more });
}

/** Who is none is told so, and sees nothing. */
export async function notForUsers({ browser, person, say }) {
  const page = await browser.page();
  await logIn(page, person);
  const links = await page.getByRole('link', { name: 'Admin' }).count();
  await page.goto('/admin/actors');
  await page.getByText('This page is for administrators.').waitFor();
  say('refused', { links });
}
