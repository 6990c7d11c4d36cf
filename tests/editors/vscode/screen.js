"use strict";
// A real VS Code in a browser: what its person does, and what is on its screen.

const { chromium } = require("playwright-core");

const GHOST = '.view-lines [class*="ghost-text"]';
const READY_MS = 120_000;
const STEP_MS = 30_000;

const plain = (text) => (text ?? "").replaceAll("\u00a0", " ");

class Screen {
  constructor(page) {
    this.page = page;
  }

  async until(what, condition, withinMs = STEP_MS) {
    const endMs = Date.now() + withinMs;
    for (;;) {
      const answer = await condition();
      if (answer) {
        return answer;
      }
      if (Date.now() > endMs) {
        throw new Error(`waited in vain: ${what}`);
      }
      await this.page.waitForTimeout(100);
    }
  }

  async start(url) {
    await this.page.goto(url, { timeout: READY_MS });
    await this.page.locator(".monaco-workbench").waitFor({ timeout: READY_MS });
    await this.page.locator(".statusbar-item", { hasText: "tersely" }).first().waitFor({ timeout: READY_MS });
  }

  /** The ghost text on the cursor's line; empty if there is none. It comes in coloured pieces. */
  async ghost() {
    return plain((await this.page.locator(GHOST).allTextContents()).join(""));
  }

  async untilGhost(text) {
    await this.until(`the ghost text ${text}`, async () => (await this.ghost()) === text);
  }

  /** The lines of the editor as they are shown, without ghost text. */
  async text() {
    const lines = await this.page.locator(".monaco-editor .view-line").evaluateAll((all) =>
      all
        .map((line) => {
          const copy = line.cloneNode(true);
          copy.querySelectorAll('[class*="ghost-text"]').forEach((one) => one.remove());
          return [Number.parseFloat(line.style.top), copy.textContent];
        })
        .sort(([one], [other]) => one - other)
        .map(([, text]) => text),
    );
    return lines.map(plain).join("\n");
  }

  async statusBar() {
    const item = this.page.locator(".statusbar-item", { hasText: "tersely" }).first();
    return plain(await item.textContent()).trim();
  }

  /** The icon of the status bar's item. */
  async statusIcon() {
    const icon = this.page.locator(".statusbar-item", { hasText: "tersely" }).first().locator(".codicon").first();
    return /codicon-([\w-]+)/.exec(((await icon.getAttribute("class")) ?? "").replace("codicon codicon", "codicon"))?.[1] ?? "";
  }

  async untilIcon(name) {
    await this.until(`the icon ${name}`, async () => (await this.statusIcon()) === name, READY_MS);
  }

  async #pick(text) {
    await this.page.locator(".quick-input-widget input").first().waitFor({ timeout: STEP_MS });
    await this.page.keyboard.type(text);
    // What stands there before the typing is worked off must not be taken.
    await this.page.locator(".quick-input-list .monaco-list-row.focused", { hasText: text }).waitFor({ timeout: STEP_MS });
    await this.page.keyboard.press("Enter");
  }

  async open(file) {
    await this.page.keyboard.press("Control+P");
    await this.#pick(file);
    await this.page.locator(".tab.active", { hasText: file }).waitFor({ timeout: STEP_MS });
    const lines = this.page.locator(".monaco-editor .view-lines").first();
    await lines.waitFor({ timeout: STEP_MS });
    await lines.click();
    await this.page.keyboard.press("Control+End");
  }

  async command(title) {
    await this.page.keyboard.press("F1");
    await this.#pick(title);
  }

  /** Choose from the list that a command shows. */
  async choose(label) {
    const row = this.page.locator(".quick-input-list .monaco-list-row", { hasText: label }).first();
    await row.waitFor({ timeout: STEP_MS });
    await row.click();
  }

  /** What the extension complained of. */
  async complaints() {
    return this.page.locator(".notification-list-item", { hasText: "tersely" }).allTextContents();
  }
}

/** Run `steps` in a browser, and print what they saw; where they fail, the screenshot shows why. */
async function run(browserPath, screenshot, steps) {
  const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
  const saw = {};
  const page = await browser.newPage({ viewport: { width: 960, height: 540 }, deviceScaleFactor: 2 });
  const screen = new Screen(page);
  try {
    await steps(screen, saw);
  } catch (error) {
    await page.screenshot({ path: screenshot });
    console.error(JSON.stringify(saw, null, 1), await screen.complaints());
    throw error;
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify(saw));
}

function main(browserPath, screenshot, steps) {
  run(browserPath, screenshot, steps).catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
}

module.exports = { READY_MS, STEP_MS, main };
