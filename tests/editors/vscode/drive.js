"use strict";
// Types into a real VS Code as a person would, and prints what was on its screen as JSON.
// Usage: node drive.js CHROMIUM URL FILE KEY SCREENSHOT

const { chromium } = require("playwright-core");

const [browserPath, url, file, key, screenshot] = process.argv.slice(2);
const GHOST = '.view-lines [class*="ghost-text"]';
const READY_MS = 120_000;
const STEP_MS = 30_000;

/** The ghost text on the cursor's line, with plain spaces; empty if there is none. It comes in coloured pieces. */
async function ghost(page) {
  const parts = await page.locator(GHOST).allTextContents();
  return parts.join("").replaceAll("\u00a0", " ");
}

async function until(page, what, condition, withinMs) {
  const endMs = Date.now() + withinMs;
  for (;;) {
    const answer = await condition();
    if (answer) {
      return answer;
    }
    if (Date.now() > endMs) {
      throw new Error(`waited in vain: ${what}`);
    }
    await page.waitForTimeout(100);
  }
}

/** Ask by typing, again and again while the engine is not ready yet. */
async function firstGhost(page) {
  const endMs = Date.now() + READY_MS;
  await page.keyboard.type(key);
  while (Date.now() < endMs) {
    const text = await until(page, "ghost text", () => ghost(page), 4_000).catch(() => "");
    if (text !== "") {
      return text;
    }
    await page.keyboard.press("Backspace");
    await page.keyboard.type(key);
  }
  throw new Error("no ghost text came");
}

async function statusBar(page) {
  const item = page.locator(".statusbar-item", { hasText: "tersely" }).first();
  return ((await item.textContent()) ?? "").replaceAll("\u00a0", " ").trim();
}

async function converse(page, saw) {
  await page.goto(url);
  await page.locator(".monaco-workbench").waitFor({ timeout: READY_MS });
  await page.locator(".statusbar-item", { hasText: "tersely" }).first().waitFor({ timeout: READY_MS });
  await page.keyboard.press("Control+P");
  await page.locator(".quick-input-widget input").waitFor({ timeout: STEP_MS });
  await page.keyboard.type(file);
  await page.locator(".quick-input-list .monaco-list-row").first().waitFor({ timeout: STEP_MS });
  await page.keyboard.press("Enter");
  await page.locator(".monaco-editor .view-lines").first().waitFor({ timeout: STEP_MS });
  await page.locator(".monaco-editor .view-lines").first().click();
  await page.keyboard.press("Control+End");

  saw.first = await firstGhost(page);
  saw.status = await until(page, "the last answer's time", async () => {
    const text = await statusBar(page);
    return /\d+ ms/.test(text) && text;
  }, STEP_MS);
  await page.screenshot({ path: screenshot });

  await page.keyboard.type(saw.first[0]);
  await page.waitForTimeout(50);
  saw.advanced = await ghost(page);
  await page.keyboard.press("Control+ArrowRight");
  await page.waitForTimeout(50);
  saw.afterWord = await ghost(page);
  await page.keyboard.press("Tab");
  await until(page, "the suggestion to be taken", async () => (await ghost(page)) === "", STEP_MS);
  await page.keyboard.press("Control+S");
  await page.locator(".tab.dirty").waitFor({ state: "detached", timeout: STEP_MS });

  await page.keyboard.press("F1");
  await page.locator(".quick-input-widget input").waitFor({ timeout: STEP_MS });
  await page.keyboard.type("tersely: Explain This Suggestion");
  await page.locator(".quick-input-list .monaco-list-row").first().waitFor({ timeout: STEP_MS });
  await page.keyboard.press("Enter");
  await page.locator(".tab", { hasText: "explanation-1" }).waitFor({ timeout: STEP_MS });
  saw.explained = true;
}

async function main() {
  const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
  const saw = { errors: [] };
  const page = await browser.newPage({ viewport: { width: 1100, height: 640 } });
  try {
    await converse(page, saw);
    saw.errors = await page.locator(".notification-list-item", { hasText: "tersely" }).allTextContents();
  } catch (error) {
    await page.screenshot({ path: screenshot });
    throw error;
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify(saw));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
