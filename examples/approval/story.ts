/**
 * Plays both people in a real browser, and checks that each sees what they should: what `run --check` does.
 *
 *   node story.js ADDRESS PICTURE
 *
 * CHROMIUM is the browser. Leaves a picture of the employee's page.
 */
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';
import type { Person } from './people.js';

const [address = '', picture = 'approval.png'] = process.argv.slice(2);

const browser = await chromium.launch({
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  args: [
    ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
    ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
  ],
});
try {
  await play(browser);
} finally {
  await browser.close();
}

async function play(browser: Browser): Promise<void> {
  const ann = await open(browser, 'ann');
  const maria = await open(browser, 'maria');

  say('Ann asks for a chair, 180 €.');
  const chair = await ask(ann, 'a chair', '180');
  await sees(ann, `${chair} .state`, 'Waits for a manager.');
  // The page is told of changes, and does not ask again and again.
  await ann.locator(`${chair}[data-transport=realtime]`).waitFor();
  await ann.locator(`${chair} summary`).click();
  await ann.waitForFunction((id) => document.querySelector<HTMLImageElement>(`${id} img`)?.naturalWidth, chair);
  await ann.screenshot({ path: picture.replace('.png', '-waiting.png'), fullPage: true });

  say('Maria, the manager, sees it, and approves.');
  await sees(maria, `${chair} .who`, 'Ann');
  await maria.fill(`${chair} [name=comment]`, 'sit well');
  await maria.click(`${chair} .yes`);

  say('Ann sees it live: it is paid, and nothing was declined.');
  await sees(ann, `${chair} .state`, 'Paid 180.00 €: Maria says yes: sit well.');
  await hasSteps(ann, chair, { check: 'completed', approve: 'completed', decide: 'completed' });
  await hasSteps(ann, chair, { pay: 'completed', decline: 'skipped', tell: 'completed' });

  say('Ann asks for a yacht, 90,000 €. Maria rejects it.');
  const yacht = await ask(ann, 'a yacht', '90000');
  await maria.fill(`${yacht} [name=comment]`, 'no');
  await maria.click(`${yacht} .no`);
  await sees(ann, `${yacht} .state`, 'Declined: Maria says no: no.');
  await hasSteps(ann, yacht, { approve: 'completed', pay: 'skipped', decline: 'completed' });

  say('Ann asks for coffee, 4.50 €. It is paid without asking.');
  const coffee = await ask(ann, 'coffee', '4.5');
  await sees(ann, `${coffee} .state`, 'Paid 4.50 €: it is small.');
  await hasSteps(ann, coffee, { approve: 'skipped', pay: 'completed', decline: 'skipped' });

  say('Ann asks for a car, 9,000 €. What Maria\'s program says then makes no sense, so it is not paid.');
  const car = await ask(ann, 'a car', '9000');
  await sees(ann, `${car} .state`, 'Waits for a manager.');
  assert.equal(await statusOf('maria', 'complete_step', { run_id: runOf(car), step_slug: 'approve', output: null }), 200);
  await sees(ann, `${car} .state`, 'Declined: somebody says no.');

  say('Ann reloads the page: all is still there.');
  await ann.reload();
  await sees(ann, `${yacht} .state`, 'Declined: Maria says no: no.');
  await sees(ann, `${coffee} .state`, 'Paid 4.50 €: it is small.');

  say('Ann asks for a bicycle. She cannot approve it herself, and Bob, a colleague, does not even see it.');
  const bicycle = await ask(ann, 'a bicycle', '700');
  await sees(ann, `${bicycle} .state`, 'Waits for a manager.');
  const runId = runOf(bicycle);
  const approval = { run_id: runId, step_slug: 'approve', output: { approved: true, by: 'Maria', comment: '' } };
  assert.equal(await statusOf('ann', 'complete_step', approval), 403);
  assert.equal(await statusOf('bob', 'get_run', { run_id: runId }), 404);
  assert.equal(await statusOf('bob', 'complete_step', approval), 404);
  assert.equal(await statusOf('maria', 'get_run', { run_id: runId }), 404);
  assert.equal(await statusOf('maria', 'run_flow', { flow_slug: 'expense', payload: {} }), 403);
  assert.equal(await statusOf(undefined, 'get_run', { run_id: runId }), 401);
  const bob = await open(browser, 'bob');
  await bob.locator('#employee').waitFor();
  assert.equal(await bob.locator(bicycle).count(), 0);

  say('Maria has two windows open. What she says first counts, and the other one says so.');
  const second = await open(browser, 'maria');
  await second.locator(bicycle).waitFor();
  // This one does not hear of it in time.
  const before: unknown = await (await second.waitForResponse('**/inbox')).json();
  await second.route('**/inbox', (route) => route.fulfill({ json: before }));
  await maria.click(`${bicycle} .no`);
  await sees(ann, `${bicycle} .state`, 'Declined: Maria says no.');
  await second.click(`${bicycle} .yes`);
  await sees(second, '#trouble', 'Somebody has answered it already.');
  await hasSteps(ann, bicycle, { pay: 'skipped', decline: 'completed' });

  await ann.screenshot({ path: picture, fullPage: true });
}

function say(sentence: string): void {
  console.log(`  ${sentence}`);
}

/** A window in which nobody else is signed in. What goes wrong in it goes wrong here. */
async function open(browser: Browser, person: Person): Promise<Page> {
  const page = await (await browser.newContext({ viewport: { width: 760, height: 900 } })).newPage();
  page.setDefaultTimeout(20_000);
  page.on('pageerror', (error) => {
    console.error(`${person}'s page: ${error.stack ?? error.message}`);
    process.exitCode = 1;
  });
  await page.goto(`${address}/#${person}`);
  return page;
}

/** Asks, and returns a selector of the card that appears. */
async function ask(page: Page, purpose: string, amount: string): Promise<string> {
  await page.fill('[name=purpose]', purpose);
  await page.fill('[name=amount]', amount);
  await page.click('#ask button');
  const title = page.locator('.purpose', { hasText: new RegExp(`^${purpose}$`) });
  const card = page.locator('#requests .card', { has: title });
  await card.waitFor();
  return `[id="${await card.getAttribute('id')}"]`;
}

/** The id of the run that a card shows. */
function runOf(card: string): string {
  return card.slice('[id="'.length, -'"]'.length);
}

/** Waits until it is there; the page is not reloaded. */
async function sees(page: Page, selector: string, text: string): Promise<void> {
  try {
    await page.waitForFunction(
      ([where, what]) => document.querySelector(where ?? '')?.textContent === what,
      [selector, text],
    );
  } catch (error) {
    const instead = await page.locator(selector).textContent();
    throw new Error(`not ${JSON.stringify(text)} but ${JSON.stringify(instead)}`, { cause: error });
  }
}

async function hasSteps(page: Page, card: string, expected: Record<string, string>): Promise<void> {
  for (const [step, status] of Object.entries(expected)) {
    await page.locator(`${card} [data-step=${step}][data-status=${status}]`).waitFor();
  }
}

/** What pgflow-live answers to a call with the token of a person, or of nobody. */
async function statusOf(person: Person | undefined, name: string, args: object): Promise<number> {
  const signedIn = await fetch(`${address}/sign-in`, { method: 'POST', body: JSON.stringify({ person: person ?? 'ann' }) });
  const { token, live } = (await signedIn.json()) as { token: string; live: string };
  const answer = await fetch(`${live}/rpc/${name}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(person === undefined ? {} : { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(args),
  });
  return answer.status;
}
