import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { test } from "node:test";
import { InstallError } from "../src/install";
import { Relay, address } from "../src/relay";

test("the address is on the first line", () => {
  assert.equal(address('{"model": "m", "pid": 1, "url": "http://127.0.0.1:9/#t"}'), "http://127.0.0.1:9/#t");
});

test("what is wrong is told with what to do", () => {
  const wrong = '{"error": {"message": "No engine is running.", "hint": "Open a file."}}';
  assert.throws(() => address(wrong), (error) => error instanceof InstallError && error.hint === "Open a file.");
  assert.throws(() => address("Traceback"), /Traceback/);
  assert.throws(() => address(""), /without a word/);
});

/** A command that runs these lines of JavaScript. */
function command(lines: string): string {
  const file = path.join(mkdtempSync(path.join(tmpdir(), "relay-")), "tersely");
  writeFileSync(file, `#!${process.execPath}\n${lines}\n`);
  chmodSync(file, 0o755);
  return file;
}

const SERVING = `
  console.log(JSON.stringify({ url: "http://127.0.0.1:9/#" + process.argv.slice(2).join("+") + process.pid }));
  setInterval(() => undefined, 1000);`;

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function gone(pid: number): Promise<void> {
  while (alive(pid)) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("a page is served until the next one, and no longer than the window", { skip: process.platform === "win32" }, async () => {
  const relay = new Relay();
  const served = async () => Number(/#page\+--json(\d+)$/.exec(await relay.open(command(SERVING)))?.[1]);
  const first = await served();
  assert.ok(alive(first));
  const second = await served();
  await gone(first);
  assert.ok(alive(second));
  relay.dispose();
  await gone(second);
});

test("a command that fails is heard", { skip: process.platform === "win32" }, async () => {
  const relay = new Relay();
  await assert.rejects(relay.open(command('console.error("one\\ntwo"); process.exit(3)')), /^Error: two$/);
  await assert.rejects(relay.open("/nowhere/tersely"), /ENOENT/);
});
