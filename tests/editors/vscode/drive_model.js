"use strict";
// Types into a real VS Code as a person would, and wishes for a change, over the real engine; prints what was on its
// screen as JSON.
// Usage: node drive_model.js CHROMIUM URL FILE KEY WISHED_FILE WISH NAME SCREENSHOTS (NAME: what the wish brings)

const path = require("node:path");
const { READY_MS, STEP_MS, main } = require("./screen");
const { granted } = require("./wishing");

const [browserPath, url, file, key, wishedFile, wish, name, screenshots] = process.argv.slice(2);

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

/** The ghost text after `before`. */
function otherGhost(screen, before) {
  return screen.until(`other ghost text than ${before}`, async () => {
    const text = await screen.ghost();
    return text !== before && text;
  });
}

main(browserPath, path.join(screenshots, "failure.png"), async (screen, saw) => {
  const { page } = screen;
  await screen.start(url);
  await screen.open(file);
  await page.keyboard.press("Control+B");
  await page.locator(".part.sidebar").waitFor({ state: "hidden", timeout: STEP_MS });

  saw.first = await firstGhost(screen);
  saw.status = await screen.until("the last answer's time", async () => {
    const text = await screen.statusBar();
    return /\d+ ms/.test(text) && text;
  });

  await page.keyboard.type(saw.first[0]);
  saw.advanced = await otherGhost(screen, saw.first);
  const size = page.viewportSize();
  await page.setViewportSize({ ...size, height: 340 });
  await page.screenshot({ path: path.join(screenshots, "vscode.png") });
  await page.setViewportSize(size);
  await page.keyboard.press("Control+ArrowRight");
  saw.afterWord = await otherGhost(screen, saw.advanced);
  await page.keyboard.press("Tab");
  await screen.until("the suggestion to be taken", async () => (await screen.text()).includes(key + saw.first));
  await page.keyboard.press("Control+S");
  await page.locator(".tab.dirty").waitFor({ state: "detached", timeout: STEP_MS });

  await screen.open(wishedFile);
  saw.wish = {};
  await granted(screen, saw.wish, wish, name, path.join(screenshots, "vscode-wish.png"));

  await screen.open(file);
  const opened = page.context().waitForEvent("page", { timeout: STEP_MS });
  await screen.command("tersely: Open the Engine's Page");
  const enginePage = await opened;
  await enginePage.getByText("smollm2-135m").first().waitFor({ timeout: STEP_MS });
  saw.page = await enginePage.title();
  await enginePage.close();

  await screen.command("tersely: Explain This Suggestion");
  await page.locator(".tab", { hasText: "explanation-1" }).waitFor({ timeout: STEP_MS });
  saw.explained = true;
  saw.errors = await screen.complaints();
});
