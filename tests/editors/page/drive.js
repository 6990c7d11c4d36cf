"use strict";
// Looks at the engine's page as people do who see, who use keys alone, and who listen; prints what was there as JSON.
// Usage: node drive.js CHROMIUM ADDRESS ASK SCREENSHOTS [TOKEN]
// ASK: a URL that has the engine answer one more request when it is fetched.

const path = require("node:path");
const { readFileSync } = require("node:fs");
const { chromium } = require("playwright-core");

const [browserPath, address, ask, screenshots, token] = process.argv.slice(2);
const WAIT_MS = 60_000;
const SIZE = { width: 1180, height: 860 };
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const rows = (page, name) => page.locator(`#${name}-table tbody tr`).count();

async function until(page, what, condition) {
  const endMs = Date.now() + WAIT_MS;
  while (!(await condition())) {
    if (Date.now() > endMs) {
      throw new Error(`waited in vain: ${what}`);
    }
    await page.waitForTimeout(50);
  }
}

/** A page that notes what it asks for and what goes wrong. */
async function open(browser, saw, options, where = address) {
  const page = await browser.newPage({ viewport: SIZE, deviceScaleFactor: 1.5, ...options });
  page.on("request", (request) => saw.hosts.add(new URL(request.url()).host));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && saw.complaints.push(message.text()));
  page.on("pageerror", (error) => saw.complaints.push(error.message));
  await page.goto(where);
  return page;
}

async function audit(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target).join(", ")}`);
}

/** What Tab reaches, from the top. */
async function tabStops(page) {
  const stops = [];
  await page.locator(".skip").focus();
  for (let count = 0; count < 20; count += 1, await page.keyboard.press("Tab")) {
    const stop = await page.evaluate(() => {
      const at = document.activeElement;
      return at === document.body ? "" : at.id || at.getAttribute("aria-label") || at.textContent;
    });
    if (stop === "" || stops.includes(stop)) {
      break;
    }
    stops.push(stop);
  }
  return stops;
}

async function lookAround(page, saw) {
  await page.locator("#held-plot canvas").waitFor({ timeout: WAIT_MS });
  saw.title = await page.title();
  saw.address = page.url();
  saw.state = await page.locator("#state-words").textContent();
  saw.glance = Object.fromEntries(
    await page.locator(".glance > div").evaluateAll((all) => all.map((one) => [...one.children].slice(0, 2).map((part) => part.textContent))),
  );
  saw.tables = {};
  for (const name of ["times", "spread", "tokens", "held"]) {
    saw.tables[name] = await rows(page, name);
  }
  saw.plots = await page.locator(".plot[role=img]").evaluateAll((all) => all.map((one) => one.getAttribute("aria-label")));
  saw.live = await page.locator("[aria-live], [role=status], [role=alert]").allTextContents();
  saw.violations = await audit(page);
  saw.stops = await tabStops(page);
  await page.locator("#times-plot").focus();
  await page.keyboard.press("Home");
  const first = await page.locator("#times-plot .u-legend .u-value").first().textContent();
  await page.keyboard.press("ArrowRight");
  saw.keys = [first, await page.locator("#times-plot .u-legend .u-value").first().textContent()];
  await page.evaluate(() => document.activeElement.blur());
}

/** One more request shows by itself, none does while the page is paused, and all do after. */
async function watchLive(page, saw) {
  const before = await rows(page, "times");
  await page.request.get(ask);
  await until(page, "the new request", async () => (await rows(page, "times")) === before + 1);
  await page.locator("#pause").click();
  await page.request.get(ask);
  await page.waitForTimeout(1_500);
  saw.paused = (await rows(page, "times")) === before + 1;
  await page.locator("#pause").click();
  await until(page, "what came meanwhile", async () => (await rows(page, "times")) === before + 2);
}

/** The page from its top to the end of its second plot. */
async function picture(page, name) {
  const end = await page.locator("#spread-plot").evaluate((plot) => plot.closest("section").getBoundingClientRect().bottom + scrollY);
  const clip = { x: 0, y: 0, width: SIZE.width, height: Math.ceil(end) + 8 };
  await page.screenshot({ path: path.join(screenshots, name), clip, fullPage: true });
}

async function main() {
  const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
  const saw = { hosts: new Set(), complaints: [] };
  try {
    const light = await open(browser, saw, { colorScheme: "light", reducedMotion: "no-preference" });
    if (token !== undefined) {
      await light.locator("#token").waitFor({ timeout: WAIT_MS });
      saw.askedFocus = await light.evaluate(() => document.activeElement.id);
      await light.keyboard.type(token);
      await light.keyboard.press("Enter");
    }
    await lookAround(light, saw);
    await watchLive(light, saw);
    await light.mouse.move(5, 5);
    const ground = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    saw.grounds = [await ground(light)];
    await light.emulateMedia({ colorScheme: "dark" });
    saw.grounds.push(await ground(light));
    saw.violationsInTheDark = await audit(light);
    await picture(light, "page-dark.png");
    // Plots are drawn anew in other colours, so that what keys pointed at is not marked any more.
    await light.emulateMedia({ colorScheme: "light" });
    await picture(light, "page.png");
    await light.emulateMedia({ colorScheme: "dark" });
    await light.emulateMedia({ reducedMotion: "reduce" });
    await light.setViewportSize({ width: 380, height: 800 });
    await light.waitForTimeout(300);
    saw.sideways = await light.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    saw.moving = await light.evaluate(() => document.getAnimations().length);
  } catch (error) {
    console.error(JSON.stringify({ ...saw, hosts: [...saw.hosts] }, null, 1));
    throw error;
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify({ ...saw, hosts: [...saw.hosts] }));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
