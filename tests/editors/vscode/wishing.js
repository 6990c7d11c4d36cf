"use strict";
// Wishes in words, as a person has them: asks for one, looks at what is offered for review, applies it, takes it back.

const { READY_MS } = require("./screen");

async function wish(screen, words) {
  await screen.command("tersely: Refactor…");
  await screen.page.locator(".quick-input-title", { hasText: "Refactor" }).waitFor({ timeout: READY_MS });
  await screen.page.keyboard.type(words);
  await screen.page.keyboard.press("Enter");
}

/** What the preview lists: the text of each place, and whether it is ticked. */
async function places(page) {
  return page.locator(".bulk-edit-panel .monaco-list-row").evaluateAll((rows) =>
    rows
      .filter((row) => row.querySelector(".textedit") !== null)
      .map((row) => [row.querySelector(".textedit").textContent.trim(), row.querySelector("input[type=checkbox]").checked]),
  );
}

/** Have `words` granted, which brings the name `name`; the picture shows what is offered before it is applied. */
async function granted(screen, saw, words, name, picture) {
  const { page } = screen;
  await wish(screen, words);
  const apply = page.locator(".monaco-button", { hasText: "Apply" }).first();
  await apply.waitFor({ timeout: READY_MS });
  saw.before = await screen.text();
  saw.places = await screen.until("the places", async () => {
    const found = await places(page);
    return found.length > 0 && found;
  });
  await page.screenshot({ path: picture });
  await apply.click();
  await screen.until("the change", async () => (await screen.text()).includes(`def ${name}`));
  saw.changed = await screen.text();
  await page.locator(".monaco-editor .view-lines").first().click();
  await page.keyboard.press("Control+Z");
  await screen.until("the change to be taken back", async () => !(await screen.text()).includes(name));
  saw.undone = await screen.text();
}

module.exports = { granted, wish };
