"use strict";
// Wishes for a refactoring in a real VS Code: one that is refused, and one that is granted. Prints what was seen as JSON.
// Usage: node drive_wish.js CHROMIUM URL FILE SCREENSHOT

const { STEP_MS, main } = require("./screen");
const { granted, wish } = require("./wishing");

const [browserPath, url, file, screenshot] = process.argv.slice(2);

main(browserPath, screenshot, async (screen, saw) => {
  await screen.start(url);
  await screen.untilIcon("sparkle");
  await screen.open(file);

  await wish(screen, "make it fast");
  const refusal = screen.page.locator(".notification-list-item", { hasText: "make it fast?" });
  saw.refusal = await refusal.locator(".notification-list-item-message").textContent({ timeout: STEP_MS });

  await granted(screen, saw, "rename area to surface", "surface", screenshot);
});
