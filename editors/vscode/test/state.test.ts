import assert from "node:assert/strict";
import { test } from "node:test";
import { type Shown, type Status, item, toggled, withTrust } from "../src/state";

const READY: Status = { kind: "Normal", message: "fake is ready", busy: false, hint: "" };
const SHOWN: Shown = {
  status: READY,
  latencyMs: undefined,
  model: "smollm2-135m",
  level: "balanced",
  snoozedUntilMs: undefined,
  nowMs: 0,
  languageOff: undefined,
};

for (const [title, change, text] of [
  ["no server", { status: undefined }, "$(circle-outline) tersely"],
  ["ready", {}, "$(sparkle) tersely"],
  ["ready, with the last answer's time", { latencyMs: 41.6 }, "$(sparkle) tersely 42 ms"],
  ["loading", { status: { ...READY, kind: "Busy" }, latencyMs: 40 }, "$(loading~spin) tersely"],
  ["switched off", { status: { ...READY, kind: "Inactive" } }, "$(circle-slash) tersely"],
  ["snoozed", { snoozedUntilMs: 61_000 }, "$(bell-slash) tersely 2 min"],
  ["the snooze is over", { snoozedUntilMs: 1, nowMs: 1 }, "$(sparkle) tersely"],
  ["off for the language", { languageOff: "python" }, "$(circle-slash) tersely"],
  ["an error is never hidden by a snooze", { status: { ...READY, kind: "Error" }, snoozedUntilMs: 61_000 }, "$(error) tersely"],
] as [string, Partial<Shown>, string][]) {
  test(title, () => assert.equal(item({ ...SHOWN, ...change }).text, text));
}

test("the tooltip says what, why and what to do", () => {
  const status: Status = { kind: "Error", message: "The engine died.", busy: false, hint: "Run `tersely doctor`." };
  const { tooltip, alarming } = item({ ...SHOWN, status, latencyMs: 12 });
  assert.equal(tooltip, "tersely: The engine died.\nModel: smollm2-135m · balanced\nLast answer: 12 ms\nRun `tersely doctor`.");
  assert.ok(alarming);
});

test("a language is switched off and on again", () => {
  assert.deepEqual(toggled(["rust"], "python"), ["python", "rust"]);
  assert.deepEqual(toggled(["python", "rust"], "python"), ["rust"]);
});

test("a workspace that is not trusted is not read, whatever it says itself", () => {
  assert.deepEqual(withTrust({ trusted: true, level: "eager" }, false), { trusted: false, level: "eager" });
  assert.deepEqual(withTrust(null, false), { trusted: false });
  assert.deepEqual(withTrust({ level: "eager" }, true), { trusted: true, level: "eager" });
  assert.deepEqual(withTrust({ trusted: false }, true), { trusted: false });
});
