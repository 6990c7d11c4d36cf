"use strict";
// Wishes for a refactoring in a real VS Code: sees it offered for review, applies it, and takes it back. Prints what was
// seen as JSON.
// Usage: node drive_wish.js CHROMIUM URL FILE SCREENSHOT

const { STEP_MS, main } = require("./screen");

const [browserPath, url, file, screenshot] = process.argv.slice(2);

async function wish(screen, words) {
  await screen.command("tersely: Refactor…");
  await screen.page.locator(".quick-input-title", { hasText: "Refactor" }).waitFor({ timeout: STEP_MS });
  await screen.page.keyboard.type(words);
  await screen.page.keyboard.press("Enter");
}

main(browserPath, screenshot, async (screen, saw) => {
  const { page } = screen;
  await screen.start(url);
  await screen.untilIcon("sparkle");
  await screen.open(file);

  await wish(screen, "make it fast");
  const refusal = page.locator(".notification-list-item", { hasText: "make it fast?" });
  saw.refusal = await refusal.locator(".notification-list-item-message").textContent({ timeout: STEP_MS });

  await wish(screen, "rename area to surface");
  const apply = page.locator(".monaco-button", { hasText: "Apply" }).first();
  await apply.waitFor({ timeout: STEP_MS });
  await page.screenshot({ path: screenshot });
  saw.previewed = (await screen.text()).includes("def area");
  await apply.click();
  await screen.until("the change", async () => (await screen.text()).includes("def surface"));
  saw.changed = await screen.text();
  await page.locator(".monaco-editor .view-lines").first().click();
  await page.keyboard.press("Control+Z");
  await screen.until("the change to be taken back", async () => !(await screen.text()).includes("surface"));
  saw.undone = await screen.text();
});
