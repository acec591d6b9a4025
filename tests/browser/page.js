// A page of nsqadmin in a real Chromium: how it is opened, read, photographed and judged.
//
// Knows Chromium's flags, axe-core, and what is never allowed: an error in the console, a request that
// leaves the server, a page wider than its window. What is on the pages, the cases know.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const modules = join(process.env.MODULES, 'node_modules/');
const require = createRequire(modules);
const { chromium } = require('playwright-core');
const axe = readFileSync(join(modules, 'axe-core/axe.min.js'), 'utf8');

const PROGRAM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];
/** Long enough for a busy machine; nothing waits that long unless it fails. */
const PATIENCE = 40_000;

/** Runs `work` with a page of the server at `address`, and closes the browser whatever happens. */
export async function withPage(address, work, options = {}) {
  const profile = mkdtempSync(join(tmpdir(), 'nsqadmin-page-'));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: PROGRAM, headless: true, args: FLAGS, viewport: { width: 1280, height: 800 }, ...options,
  });
  const page = new Page(browser.pages()[0] ?? await browser.newPage(), address);
  try {
    await work(page);
    page.assertNothingWentWrong();
  } catch (error) {
    // What somebody would have seen tells more than what was waited for.
    console.error(`at ${page.inner.url()}:\n${(await page.inner.locator('body').innerText()).slice(0, 2000)}\n`);
    console.error(page.wrong.join('\n'));
    throw error;
  } finally {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

export class Page {
  /** What went wrong without being asked for. */
  wrong = [];
  /** Answers that a case wants to fail: by status, or `failed` for those that never come. */
  #expected = [];

  constructor(inner, address) {
    this.inner = inner;
    this.address = address;
    inner.setDefaultTimeout(PATIENCE);
    inner.on('pageerror', (error) => this.wrong.push(`error: ${error.stack}`));
    inner.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) {
        this.wrong.push(`console: ${message.text()}`);
      }
    });
    inner.on('request', (request) => {
      if (!request.url().startsWith(address) && !request.url().startsWith('data:')) {
        this.wrong.push(`it asked for ${request.url()}`);
      }
    });
  }

  /** What the console says of a failure that the case itself has made is no error. */
  expect(part) {
    this.#expected.push(part);
  }

  assertNothingWentWrong() {
    const wrong = this.wrong.filter((line) => !this.#expected.some((part) => line.includes(part)));
    assert.deepEqual(wrong, []);
  }

  /** Opens a path and waits until its figures are there. */
  async open(path) {
    await this.inner.goto(this.address + path);
    await this.loaded();
  }

  async loaded() {
    await this.inner.locator('main:not([aria-busy])').waitFor();
  }

  /** The one element of a role and a name, as somebody would find it who cannot see it. */
  find(role, name) {
    return this.inner.getByRole(role, { name, exact: typeof name === 'string' });
  }

  /** Presses a button or follows a link. */
  async press(role, name) {
    await this.find(role, name).first().click();
  }

  /** Waits until the page says a text somewhere. */
  async says(text) {
    await this.inner.getByText(text).first().waitFor();
  }

  /** The texts of a table's row that begins with a name, by the labels of their columns. */
  async row(table, name) {
    const row = this.inner.locator(`table#${table} tbody tr`)
      .filter({ has: this.inner.locator('th', { hasText: name }) }).first();
    await row.waitFor();
    const cells = await row.locator('td').evaluateAll((all) => all.map((cell) => [cell.dataset.label, cell.innerText.trim().replace(/\s+/g, ' ')]));
    return Object.fromEntries(cells);
  }

  /** Asks until a row is as it should be. */
  async rowBecomes(table, name, expected) {
    await this.becomes(`${name} in ${table}`, async () => {
      const row = await this.row(table, name);
      return Object.fromEntries(Object.keys(expected).map((label) => [label, row[label]]));
    }, expected);
  }

  /** Asks until the answer is the expected one; says what it was instead. */
  async becomes(what, ask, expected) {
    const end = Date.now() + PATIENCE;
    for (;;) {
      const found = await ask();
      try {
        assert.deepEqual(found, expected, what);
        return;
      } catch (error) {
        if (end < Date.now()) {
          throw error;
        }
      }
      await this.inner.waitForTimeout(100);
    }
  }

  /** The question that is asked now: its title and its text. */
  async question() {
    const dialog = this.inner.locator('dialog[open]');
    await dialog.waitFor();
    return {
      title: await dialog.locator('h2').innerText(),
      text: (await dialog.locator('#dialog-text').innerText()).replace(/\s+/g, ' '),
    };
  }

  /** Answers it: types what has to be typed, and confirms. */
  async confirm(typed) {
    const dialog = this.inner.locator('dialog[open]');
    const button = dialog.locator('[name=confirm]');
    if (typed !== undefined) {
      assert.ok(await button.isDisabled(), 'it can be confirmed without typing');
      await dialog.locator('[name=typed]').fill(typed);
    }
    await button.click();
    await dialog.waitFor({ state: 'detached' });
  }

  /** No rule of WCAG 2.2 A and AA, and of good practice, is broken, and nothing is wider than the window. */
  async assertGood(name) {
    const violations = await this.inner.evaluate(async (source) => {
      if (!globalThis.axe) {
        // Not as a script of the page: its policy forbids that, and rightly.
        (0, eval)(source);
      }
      const found = await globalThis.axe.run(document, {
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      });
      return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).slice(0, 3).join(' ')}`);
    }, axe);
    assert.deepEqual(violations, [], `accessibility of ${name}`);
    const over = await this.inner.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(over <= 0, `${name} is ${over} pixels wider than its window`);
  }

  /** Keeps a picture for people. */
  async photograph(name, { whole = true } = {}) {
    mkdirSync(process.env.SCREENSHOTS, { recursive: true });
    await this.inner.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`), fullPage: whole });
  }
}
