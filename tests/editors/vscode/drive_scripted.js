"use strict";
// A person's first hour with the extension, over a scripted server: install it, take suggestions in parts, choose among
// them, use every switch, lose the server. Prints what was seen as JSON.
// Usage: node drive_scripted.js CHROMIUM URL FILE DATA PID_FILE SCREENSHOTS (DATA: the editor's own folder)

const fs = require("node:fs");
const path = require("node:path");
const { READY_MS, STEP_MS, main } = require("./screen");

const [browserPath, url, file, data, pidFile, screenshots] = process.argv.slice(2);
const QUIET_MS = 1_200;

/** Those that belong to a machine lie apart from the user's. A file that is just being written is empty. */
const settings = () => {
  const texts = ["User", "Machine"].map((kind) => fs.readFileSync(path.join(data, kind, "settings.json"), "utf8"));
  return Object.assign({}, ...texts.map((text) => JSON.parse(text === "" ? "{}" : text)));
};
const serverPid = () => (fs.existsSync(pidFile) ? Number(fs.readFileSync(pidFile, "utf8")) : 0);

/** A new last line with this text. */
async function line(screen, text) {
  await screen.page.keyboard.press("Escape");
  await screen.page.keyboard.press("Control+End");
  await screen.page.keyboard.press("Enter");
  await screen.page.keyboard.type(text);
}

/** Type, and wait for what should come. */
async function suggested(screen) {
  await line(screen, "x = ");
  await screen.untilGhost("ghost()");
}

/** Type, and see that nothing comes. */
async function isQuiet(screen) {
  await line(screen, "x = ");
  return screen.until("ghost text", () => screen.ghost(), QUIET_MS).then(() => false, () => true);
}

async function firstRun(screen, saw) {
  const offer = screen.page.locator(".notification-list-item", { hasText: "The server is not installed" });
  await offer.waitFor({ timeout: READY_MS });
  saw.statusBefore = await screen.statusIcon();
  await offer.getByRole("button", { name: "Show Me How" }).click();
  const steps = screen.page.locator(".gettingStartedContainer");
  await steps.getByText("Get started with tersely").first().waitFor({ timeout: STEP_MS });
  await steps.getByRole("button", { name: "Install", exact: true }).waitFor({ timeout: STEP_MS });
  await screen.page.screenshot({ path: path.join(screenshots, "vscode-start.png") });
  await steps.getByRole("button", { name: "Install", exact: true }).click();
  await screen.untilIcon("sparkle");
  saw.pid = serverPid();
}

async function parts(screen, saw) {
  await line(screen, "lines = ");
  await screen.until("ghost text", async () => (await screen.ghost()).startsWith("first()"));
  saw.word = (await afterKey(screen, "Control+ArrowRight", ["lines = first"]))[0];
  saw.line = await afterKey(screen, "Control+ArrowDown", ["lines = first()", ""]);
  await screen.untilGhost("second()");
  saw.nextLine = await afterKey(screen, "Control+ArrowDown", ["lines = first()", "second()"]);
}

/** The last lines of the editor once a key has made them so: the editor draws a change in several steps. */
async function afterKey(screen, key, wanted) {
  await screen.page.keyboard.press(key);
  return screen.until(`${key} to give ${JSON.stringify(wanted)}`, async () => {
    const last = (await screen.text()).split("\n").slice(-wanted.length);
    return last.join("\n") === wanted.join("\n") && last;
  });
}

async function alternatives(screen, saw) {
  await line(screen, "many = ");
  await screen.untilGhost("one()");
  await screen.page.keyboard.press("Alt+]");
  await screen.untilGhost("two()");
  await screen.page.keyboard.press("Alt+]");
  await screen.untilGhost("three()");
  await screen.page.keyboard.press("Alt+[");
  await screen.untilGhost("two()");
  await screen.page.keyboard.press("Tab");
  // What is offered behind it may be on screen at once.
  saw.alternative = await screen.until("the alternative to be taken", async () => {
    const text = (await screen.text()).split("\n").at(-1);
    return text.includes("()") && text;
  });
}

async function switches(screen, saw) {
  await suggested(screen);
  await screen.command("tersely: Switch Suggestions On or Off for This Language");
  await screen.untilIcon("circle-slash");
  saw.languageOff = [await isQuiet(screen), settings()["tersely.disabledLanguages"]];
  await screen.command("tersely: Switch Suggestions On or Off for This Language");
  await screen.untilIcon("sparkle");
  await screen.command("tersely: Snooze…");
  await screen.choose("5 minutes");
  await screen.untilIcon("bell-slash");
  saw.snoozed = [await isQuiet(screen), await screen.statusBar()];
  await screen.command("tersely: Snooze…");
  await screen.untilIcon("sparkle");
  await suggested(screen);
  await screen.page.keyboard.press("Escape");
}

async function choices(screen, saw) {
  await screen.command("tersely: Menu…");
  await screen.page.locator(".quick-input-list .monaco-list-row", { hasText: "How much to suggest" }).waitFor({ timeout: STEP_MS });
  await screen.page.screenshot({ path: path.join(screenshots, "vscode-menu.png") });
  await screen.choose("How much to suggest");
  await screen.choose("A line at most");
  await screen.until("the level to be kept", () => settings()["tersely.level"] === "quiet");
  await screen.command("tersely: Choose the Model…");
  await screen.choose("stand-in-model");
  saw.model = await screen.until("the model to be kept", () => settings()["tersely.model"]);
  await screen.command("tersely: Use an Engine at a URL…");
  await screen.page.locator(".quick-input-title", { hasText: "Engine at a URL" }).waitFor({ timeout: STEP_MS });
  await screen.page.keyboard.type("my box");
  saw.complaint = await screen.page.locator(".quick-input-message", { hasText: "http" }).textContent({ timeout: STEP_MS });
  await screen.page.keyboard.press("Control+A");
  await screen.page.keyboard.type("http://127.0.0.1:9");
  await screen.page.keyboard.press("Enter");
  await screen.until("the address to be kept", () => settings()["tersely.engine.url"] === "http://127.0.0.1:9");
}

async function crash(screen, saw) {
  const before = serverPid();
  process.kill(before, "SIGKILL");
  await screen.until("another server", () => serverPid() !== before, READY_MS);
  await screen.untilIcon("sparkle");
  await suggested(screen);
  saw.restarted = true;
}

main(browserPath, path.join(screenshots, "failure.png"), async (screen, saw) => {
  await screen.start(url);
  await firstRun(screen, saw);
  await screen.open(file);
  await parts(screen, saw);
  await alternatives(screen, saw);
  await switches(screen, saw);
  await choices(screen, saw);
  await crash(screen, saw);
  await screen.command("tersely: Show the Log");
  await screen.page.locator(".panel .output-view-content, .panel .pane-body").first().waitFor({ timeout: STEP_MS });
  saw.errors = (await screen.complaints()).filter((one) => !one.includes("not installed"));
});
