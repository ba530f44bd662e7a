// A person's walk through the pages: what is promised there is done here, by what a person sees and presses.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World, pause } from './world.mjs';

let world;
let page;

before(async () => {
  world = await World.start();
  page = world.page;
}, { timeout: 60_000 });

after(async () => {
  await world?.end();
});

const finds = (locator, timeout = 20_000) => locator.first().waitFor({ timeout });

test('the first page tells what there is, and what is broken', async () => {
  await world.goto('/');
  await finds(page.getByRole('heading', { name: 'sales' }));
  await finds(page.getByText('broken.toml'));
  await page.getByText('broken.toml', { exact: true }).click();
  await finds(page.getByRole('region', { name: 'What is wrong with broken.toml' }).getByText('runn'));
});

test('a pipeline is run from the page, and seen while it runs', async () => {
  await world.goto('/');
  await page.getByRole('button', { name: 'Run sales' }).click();
  await page.waitForURL(/\/runs\/[0-9a-f-]+$/);
  await finds(page.locator('h1 .pill', { hasText: 'succeeded' }), 40_000);
  const graph = page.getByRole('link', { name: /^report, ran/ });
  await finds(graph);
  // A stage of many instances is one node, until it is unfolded.
  await finds(page.getByRole('link', { name: /^shop ×6, / }));
  await page.getByRole('link', { name: 'Unfold shop ×6' }).click();
  await finds(page.getByRole('link', { name: /^shop\[shop-5\], ran/ }));
  await world.look('run-unfolded');
  await page.getByRole('link', { name: 'Fold shop' }).click();
  await finds(page.getByRole('link', { name: /^shop ×6, / }));
  assert.match(await page.locator('tr', { hasText: 'report' }).first().innerText(), /never ran before/);
});

test('what did not change is passed over, and the page says so', async () => {
  await page.getByRole('button', { name: 'Run again' }).click();
  await finds(page.locator('h1 .pill', { hasText: 'succeeded' }), 40_000);
  await finds(page.locator('td .pill.fresh', { hasText: 'fresh' }));
  await world.look('run-fresh');
});

test('a run with another param fails, and the error stands on top', async () => {
  await world.goto('/pipelines/sales#run');
  await page.getByLabel('broken').selectOption('true');
  await page.getByRole('button', { name: 'Run sales' }).click();
  await finds(page.locator('h1 .pill', { hasText: 'failed' }), 40_000);
  await finds(page.getByText('the sum of shop-1 is <negative>'));
  await world.look('run-failed');
  // The first page says why, as the command did, and where to read on.
  await world.goto('/');
  const needs = page.getByRole('region', { name: 'Needs you' });
  await finds(needs.getByText('the sum of shop-1 is <negative>'));
  await finds(needs.getByText('exit status 3'));
  await page.getByLabel('State').selectOption('failed');
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await finds(page.getByText('1 of', { exact: false }));
  assert.deepEqual(await page.locator('.pipe h2 a').allInnerTexts(), ['sales']);
  await needs.getByRole('link', { name: /^Log of check in run/ }).click();
  await finds(page.locator('.line', { hasText: 'the sum of shop-1' }));
  await world.goto('/pipelines/sales');
  await finds(page.getByRole('region', { name: 'What went wrong in the last run' }).getByText('the sum of shop-1 is <negative>'));
});

test('a param of the wrong type is refused on the page', async () => {
  await world.goto('/pipelines/sales');
  await page.getByLabel('seconds').evaluate((input) => { input.type = 'text'; input.value = 'soon'; });
  await page.getByRole('button', { name: 'Run sales' }).click();
  await finds(page.getByRole('alert'));
  assert.match(await page.getByRole('alert').innerText(), /seconds/);
});

test('an instance shows its log, what it made, and why it ran', async () => {
  await world.goto('/runs?status=succeeded');
  await page.locator('tbody a.mono').last().click();
  await page.getByRole('row', { name: /^page/ }).getByRole('link').click();
  await finds(page.getByRole('img', { name: 'Picture build/site.png' }));
  assert.ok(await page.getByRole('img', { name: /site.png/ }).evaluate((image) => image.decode().then(() => image.naturalWidth > 0)));
  await finds(page.getByText('<h1>not shown as a page</h1>'));
  await world.look('instance');
  const link = page.getByRole('link', { name: 'build/page.html' });
  const answer = await page.request.get(world.url + (await link.getAttribute('href')));
  assert.match(answer.headers()['content-type'], /^text\/plain/);
  await page.getByRole('navigation', { name: 'Where this is' }).getByRole('link', { name: /^run/ }).click();
  await page.getByRole('row', { name: /^shop\[shop-1\]/ }).getByRole('link').click();
  await finds(page.getByRole('columnheader', { name: 'amount' }));
  const lineage = page.getByRole('region', { name: 'Lineage, by content' });
  await lineage.getByRole('link', { name: 'Look for its lineage' }).click();
  await finds(lineage.getByRole('link', { name: 'sales › fetch' }));
  await finds(lineage.getByRole('link', { name: 'sales › report' }));
  await world.look('instance-table');
  await page.getByRole('link', { name: 'fetch' }).first().click();
  await finds(page.locator('.line .f6', { hasText: '2026-01-31' }));
});

test('a log is followed as it is printed, searched, and its run cancelled and resumed', async () => {
  await world.goto('/pipelines/slow');
  await page.getByRole('button', { name: 'Run slow' }).click();
  await finds(page.locator('h1 .pill', { hasText: 'running' }));
  await finds(page.locator('td .pill.run'));
  await finds(page.getByRole('region', { name: 'Last lines that count printed' }).getByText(/line 3 of/));
  await world.look('run-running');
  const here = page.url();
  await world.goto('/');
  await finds(page.getByRole('region', { name: 'Running now' }).getByRole('link', { name: 'slow › count' }));
  await world.look('pipelines-running');
  await page.goto(here);
  await page.getByRole('row', { name: /^count/ }).getByRole('link').click();
  await finds(page.locator('.line', { hasText: 'line 3 of' }));
  const lines = await page.locator('.line').count();
  await pause(1800);
  assert.ok(await page.locator('.line').count() > lines, 'more lines came by themselves');
  assert.equal(await page.locator('.line', { hasText: /line 2 of/ }).count(), 1, 'and none twice');
  await page.getByLabel('Find in the log').fill('line 2 of');
  await finds(page.locator('.line.hit'));
  await page.getByLabel('Find in the log').press('Enter');
  await finds(page.locator('.line.now'));
  await page.getByRole('navigation', { name: 'Where this is' }).getByRole('link', { name: /^run/ }).click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await finds(page.locator('h1 .pill', { hasText: 'interrupted' }));
  await page.getByRole('button', { name: 'Resume' }).click();
  await finds(page.locator('h1 .pill', { hasText: 'running' }));
  await page.getByRole('button', { name: 'Cancel' }).click();
  await finds(page.locator('h1 .pill', { hasText: 'interrupted' }));
});

test('a failed stage says why, and its long log is read from the end, by time, and searched', async () => {
  await world.goto('/pipelines/check');
  await page.getByRole('button', { name: 'Run check' }).click();
  await finds(page.locator('h1 .pill', { hasText: 'failed' }), 40_000);
  await page.getByRole('row', { name: /^look/ }).getByRole('link').click();
  await finds(page.locator('.head .said', { hasText: 'FATAL: number 300 is not what it should be' }));
  await finds(page.getByRole('navigation', { name: 'Attempts' }).getByRole('link', { name: 'Attempt 1' }));
  const box = page.locator('[data-log]');
  const within = (line) => line.evaluate((element) => {
    const [one, all] = [element, element.closest('[data-log]')].map((of) => of.getBoundingClientRect());
    return one.top >= all.top - 2 && one.bottom <= all.bottom + 2 && all.bottom > 0;
  });
  const line = (text) => page.locator('.line', { has: page.getByText(text, { exact: true }) });
  assert.ok(await within(line('FATAL: number 300 is not what it should be')), 'why it failed is seen at once');
  await page.getByRole('button', { name: 'Top' }).click();
  assert.ok(await within(line('looked at number 1')));
  await page.getByLabel('Times').check();
  await finds(page.locator('.line .stamp'));
  const lines = await box.evaluate((element) => {
    const { width, height } = element.firstElementChild.getBoundingClientRect();
    return { width, height, all: element.clientWidth };
  });
  assert.ok(lines.width > lines.all * 0.9 && lines.height < 40, `a line with its time is a line: ${JSON.stringify(lines)}`);
  await world.look('instance-failed');
  for (const viewport of [{ width: 390, height: 844 }, { width: 1440, height: 900 }]) {
    await page.setViewportSize(viewport);
    const find = page.getByLabel('Find in the log');
    await find.fill('number 150');
    await find.press('Enter');
    await finds(page.locator('.line.now', { hasText: 'number 150' }));
    await find.fill('number 299');
    await find.press('Enter');
    await finds(page.locator('.line.now', { hasText: 'number 299' }));
    await finds(page.getByText('1 of 1', { exact: true }));
    await pause(300);
    assert.ok(await within(page.locator('.line.now')), 'the log goes to what is found');
    assert.ok(await find.evaluate((element) => element.getBoundingClientRect().top >= 0), 'and the page stays');
  }
  await page.getByLabel('Times').uncheck();
});

test('a schedule is paused and taken up again', async () => {
  await world.goto('/');
  const knob = page.getByRole('switch', { name: 'Schedule of sales' });
  assert.equal(await knob.getAttribute('aria-checked'), 'true');
  await knob.click();
  await finds(page.locator('.pipe', { hasText: 'sales' }).getByText('paused'));
  await page.getByRole('switch', { name: 'Schedule of sales' }).click();
  await page.locator('.pipe', { hasText: 'sales' }).getByText('paused').waitFor({ state: 'detached' });
  await world.look('schedule', '/schedule');
});

test('a backfill is planned by content, started, and seen until it is over', async () => {
  await world.goto('/pipelines/daily');
  await page.getByRole('link', { name: 'Backfill…' }).click();
  await page.getByLabel('from', { exact: true }).fill('2026-01-01');
  await page.getByLabel('to', { exact: true }).fill('2026-01-19');
  await page.getByRole('button', { name: 'Plan' }).click();
  await finds(page.getByRole('heading', { name: '18 of 18 intervals would run' }));
  assert.equal(await page.locator('.list tbody tr', { hasText: 'never ran before' }).count(), 18);
  await world.look('backfill');
  await page.getByRole('button', { name: 'Start 18 runs' }).click();
  await page.waitForURL(/\/pipelines\/daily\/backfill\/[0-9a-f-]+$/);
  await finds(page.locator('h1 .pill', { hasText: 'over' }), 60_000);
  await finds(page.getByText('17 succeeded'));
  await finds(page.getByRole('link', { name: 'Tue 13 Jan 2026: 1 failed' }));
  await world.look('backfill-runs');
  // What is as it should be is passed over.
  await page.goto(`${world.url}/pipelines/daily/backfill?from=2026-01-01&to=2026-01-21&reprocess=stale`);
  await finds(page.getByRole('heading', { name: '3 of 20 intervals would run' }));
  await world.look('backfill-again');
  await world.goto('/pipelines/daily/backfill?from=2026-01-21&to=2026-01-01');
  await finds(page.getByRole('alert').getByText('is no later than'));
});

test('an effect that stands is undone after a second question', async () => {
  await world.goto('/');
  await page.getByRole('button', { name: 'Run mail' }).click();
  await finds(page.locator('h1 .pill', { hasText: 'succeeded' }), 30_000);
  await world.goto('/effects');
  await page.getByText('Undo…').click();
  await finds(page.getByText('called back'));
  await world.look('effects-undo');
  // A newer effect moves the rows, not the question, nor what Enter answers.
  await page.getByRole('button', { name: 'Undo bulletin/mail' }).focus();
  world.cairn('submit', 'mail', '--param', 'issue=late');
  await finds(page.locator('tr', { hasText: 'bulletin/late' }).locator('.pill', { hasText: 'confirmed' }));
  assert.equal(await page.locator('details[open]').count(), 1);
  assert.match(await page.evaluate(() => document.activeElement.innerText), /^Undo\s+bulletin\/mail/);
  await page.keyboard.press('Enter');
  await finds(page.locator('tr', { hasText: 'bulletin/mail' }).locator('.pill', { hasText: 'undone' }));
  await finds(page.locator('tr', { hasText: 'bulletin/late' }).locator('.pill', { hasText: 'confirmed' }));
});

test('what schedules did and will do is told day by day', async () => {
  await world.goto('/schedule');
  await page.getByRole('link', { name: /to come/ }).first().click();
  await finds(page.locator('#day tbody tr'));
  await world.look('schedule-day');
});

test('a press is heard, though the page looks again before it is let go', async () => {
  const looks = () => page.waitForResponse((response) => response.request().headers()['cairn-looks-again'] === '1');
  // A page looks once when it is heard from for the first time; from then on only when something changes.
  const first = looks();
  await world.goto('/');
  await first;
  await pause(500);
  const { x, y, width, height } = await page.getByRole('button', { name: 'Run people' }).boundingBox();
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.mouse.down();
  const pressed = await page.evaluateHandle(() => document.querySelector('button:active'));
  const looked = looks();
  // Another run changes the line of another pipeline, which is in the same part of the page.
  world.cairn('submit', 'sales');
  await looked;
  await pause(300);
  assert.ok(await pressed.evaluate((node) => node?.isConnected), 'what is pressed was replaced');
  await page.mouse.up();
  await page.waitForURL(/\/runs\/[0-9a-f-]+$/);
  await finds(page.locator('h1 .pill', { hasText: /succeeded|failed/ }), 30_000);
});

test('an effect in doubt is settled by a person', async () => {
  await world.goto('/');
  await page.getByRole('button', { name: 'Run publish' }).click();
  await finds(page.locator('h1 .pill', { hasText: 'in doubt' }), 30_000);
  await world.look('effects', '/effects');
  await page.getByRole('button', { name: 'It did not take place' }).click();
  await finds(page.getByText('none in doubt'));
});

test('a dead record is mended and taken in again', async () => {
  await world.goto('/');
  await page.getByRole('button', { name: 'Run people' }).click();
  await finds(page.locator('h1 .pill', { hasText: /succeeded|failed/ }), 30_000);
  await world.look('dead', '/dead');
  await page.getByRole('row', { name: /record/ }).getByRole('link').click();
  await world.look('letter');
  await page.getByRole('button', { name: 'Drop' }).click();
  await page.waitForURL(/\/dead$/);
  assert.equal(await page.getByRole('row', { name: /record/ }).count(), 0);
});

test('every other page can be looked at', async () => {
  await world.look('pipelines', '/');
  await world.look('pipeline', '/pipelines/sales');
  await world.look('runs', '/runs');
  await world.look('system', '/system');
  await world.look('nothing', '/runs/nothing');
});

test('keys lead where they say, and can be turned off', async () => {
  await world.goto('/');
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  assert.ok(await page.evaluate(() => document.activeElement.matches('[data-line-link]')));
  await page.keyboard.press('g');
  await page.keyboard.press('r');
  await page.waitForURL(/\/runs$/);
  await page.keyboard.press('/');
  await page.keyboard.type('sales');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/pipelines\/sales$/);
  await page.keyboard.press('?');
  await finds(page.getByRole('dialog'));
  await world.axe('keys');
  await page.getByLabel('Single keys do this').uncheck();
  await page.keyboard.press('Escape');
  await page.keyboard.press('g');
  await page.keyboard.press('r');
  await pause(300);
  assert.match(page.url(), /\/pipelines\/sales/);
});

test('who has no link is told what to do', async () => {
  const context = await world.browser.newContext();
  const other = await context.newPage();
  await other.goto(`${world.url}/runs`);
  await finds(other.getByText('these pages open with a login link'));
  await context.close();
});

test('on a phone the newest is seen first, also without JavaScript', async () => {
  const context = await world.browser.newContext({ javaScriptEnabled: false, viewport: { width: 390, height: 844 } });
  const plain = await context.newPage();
  await plain.goto(world.cairn('serve', '--link').trim());
  const seen = async (inside) => {
    const box = await inside.evaluate((node) => {
      const [one, all] = [node, node.closest('.scroll')].map((element) => element.getBoundingClientRect());
      return one.left >= all.left && one.right <= all.right + 1 && node.closest('.scroll').scrollWidth > all.width;
    });
    assert.ok(box, 'it is in sight, of something wider than the screen');
  };
  await plain.goto(`${world.url}/schedule`);
  await seen(plain.locator('.calendar .today'));
  for (let run = 0; run < 12; run += 1) world.cairn('submit', 'sales');
  await plain.goto(`${world.url}/pipelines/sales`);
  await seen(plain.locator('.grid thead th').last());
  await context.close();
});

test('all can be read without JavaScript', async () => {
  const context = await world.browser.newContext({ javaScriptEnabled: false });
  const plain = await context.newPage();
  await plain.goto(world.cairn('serve', '--link').trim());
  await plain.getByRole('link', { name: 'sales', exact: true }).first().click();
  await finds(plain.getByRole('heading', { name: 'Stages by run' }));
  await plain.locator('tbody a.mono').first().click();
  await finds(plain.getByRole('heading', { name: 'Stages', exact: true }));
  await plain.getByRole('button', { name: 'Run again' }).click();
  await plain.waitForURL(/\/runs\//);
  await context.close();
});

test('nothing was refused by the policy of the pages, and their script made no mistake', () => {
  // A page that is not there, and a form that was refused, are told as errors too.
  assert.deepEqual(world.faults.filter((fault) => !/status of (404|422)/.test(fault)), []);
});
