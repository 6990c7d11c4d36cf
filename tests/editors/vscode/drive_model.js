"use strict";
// Types into a real VS Code as a person would, over the real engine, and prints what was on its screen as JSON.
// Usage: node drive_model.js CHROMIUM URL FILE KEY SCREENSHOT

const { READY_MS, STEP_MS, main } = require("./screen");

const [browserPath, url, file, key, screenshot] = process.argv.slice(2);

/** Ask by typing, again and again while the engine is not ready yet. */
async function firstGhost(screen) {
  const endMs = Date.now() + READY_MS;
  await screen.page.keyboard.type(key);
  while (Date.now() < endMs) {
    const text = await screen.until("ghost text", () => screen.ghost(), 4_000).catch(() => "");
    if (text !== "") {
      return text;
    }
    await screen.page.keyboard.press("Backspace");
    await screen.page.keyboard.type(key);
  }
  throw new Error("no ghost text came");
}

main(browserPath, screenshot, async (screen, saw) => {
  const { page } = screen;
  await screen.start(url);
  await screen.open(file);

  saw.first = await firstGhost(screen);
  saw.status = await screen.until("the last answer's time", async () => {
    const text = await screen.statusBar();
    return /\d+ ms/.test(text) && text;
  });
  await page.screenshot({ path: screenshot });

  await page.keyboard.type(saw.first[0]);
  await page.waitForTimeout(50);
  saw.advanced = await screen.ghost();
  await page.keyboard.press("Control+ArrowRight");
  await page.waitForTimeout(50);
  saw.afterWord = await screen.ghost();
  await page.keyboard.press("Tab");
  await screen.until("the suggestion to be taken", async () => (await screen.ghost()) === "");
  await page.keyboard.press("Control+S");
  await page.locator(".tab.dirty").waitFor({ state: "detached", timeout: STEP_MS });

  await screen.command("tersely: Explain This Suggestion");
  await page.locator(".tab", { hasText: "explanation-1" }).waitFor({ timeout: STEP_MS });
  saw.explained = true;
  saw.errors = await screen.complaints();
});
