// A project in a temporary folder with a daemon, and a browser that looks at its pages.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const require = createRequire(join(process.env.WEB_TEST_MODULES, 'x.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const { CAIRN, CHROMIUM, SHOTS } = process.env;

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class World {
  static async start() {
    const world = new World();
    world.folder = mkdtempSync(join(tmpdir(), 'cairn-web-'));
    world.project = join(world.folder, 'shop');
    cpSync(join(import.meta.dirname, 'project'), world.project, { recursive: true });
    world.output = '';
    await world.serve();
    world.browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
    world.context = await world.browser.newContext({ viewport: { width: 1440, height: 900 } });
    world.page = await world.context.newPage();
    // What the page's policy refuses, and what its script gets wrong, is told here.
    world.faults = [];
    world.page.on('console', (message) => { if (message.type() === 'error') world.faults.push(message.text()); });
    world.page.on('pageerror', (error) => world.faults.push(String(error)));
    await world.page.goto(world.cairn('serve', '--link').trim());
    return world;
  }

  async serve() {
    rmSync(join(this.project, '.cairn', 'address'), { force: true });
    this.daemon = spawn(CAIRN, ['serve', '--bind', '127.0.0.1:0'], { cwd: this.project, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.daemon.stdout, this.daemon.stderr]) stream.on('data', (data) => { this.output += data; });
    const address = join(this.project, '.cairn', 'address');
    for (let wait = 0; wait < 200 && !(existsSync(address) && readFileSync(address, 'utf8').endsWith('\n')); wait += 1) await pause(50);
    assert.ok(existsSync(address), `the daemon does not listen:\n${this.output}`);
    this.url = `http://${readFileSync(address, 'utf8').trim()}`;
  }

  cairn(...words) {
    return execFileSync(CAIRN, words, { cwd: this.project, encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } });
  }

  // A run that is to fail.
  tries(...words) {
    try { return this.cairn(...words); } catch (error) { return String(error.stdout); }
  }

  async goto(path) {
    await this.page.goto(this.url + path);
  }

  // `only`: rules that are looked at, where not all are.
  async axe(name, only) {
    if (!(await this.page.evaluate(() => 'axe' in globalThis))) await this.page.evaluate(axe);
    const runOnly = only
      ? { type: 'rule', values: only }
      : { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] };
    const found = await this.page.evaluate((options) => globalThis.axe.run(document, options), { runOnly });
    const told = found.violations.map((one) => `${one.id}: ${one.help}\n  ${one.nodes.slice(0, 5).map((node) => `${node.target.join(' ')} ${node.any[0]?.message ?? node.failureSummary}`).join('\n  ')}`);
    assert.deepEqual(told, [], `${name}: axe finds\n${told.join('\n')}`);
  }

  // Looks at a page in both themes, wide and narrow.
  async look(name, path) {
    if (path) await this.goto(path);
    await this.page.waitForTimeout(700);
    for (const theme of ['light', 'dark']) {
      await this.page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
      // The other theme differs in its colours alone.
      await this.axe(`${name}, ${theme}`, theme === 'dark' ? ['color-contrast', 'link-in-text-block'] : undefined);
      await this.page.screenshot({ path: join(SHOTS, `${name}-${theme}.png`), fullPage: true });
    }
    await this.page.setViewportSize({ width: 360, height: 780 });
    await this.axe(`${name}, narrow`);
    const over = await this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    const wide = over <= 0 ? [] : await this.page.evaluate(() => [...document.querySelectorAll('main *, .top *')]
      .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth && !element.closest('.scroll *'))
      .map((element) => `${element.tagName}.${element.className}`).slice(0, 5));
    assert.ok(over <= 0, `${name} is ${over} pixels wider than a narrow screen: ${wide.join(', ')}`);
    await this.page.screenshot({ path: join(SHOTS, `${name}-narrow.png`) });
    await this.page.setViewportSize({ width: 1440, height: 900 });
    await this.page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
  }

  async end() {
    await this.browser?.close();
    if (this.daemon && this.daemon.exitCode === null) {
      const gone = new Promise((done) => this.daemon.once('exit', done));
      this.daemon.kill('SIGTERM');
      await Promise.race([gone, pause(8000)]);
      if (this.daemon.exitCode === null) this.daemon.kill('SIGKILL');
    }
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
