import assert from "node:assert/strict";
import { test } from "node:test";
import { type Machine, commandIn, locate, onPath } from "../src/locate";

function linux(...files: string[]): Machine {
  return { platform: "linux", pathVariable: "/usr/bin:/opt/bin", runnable: (file) => files.includes(file) };
}

const OWN = "/store/server";

for (const [title, setting, files, expected] of [
  ["the setting wins", "/mine/tersely", ["/mine/tersely", "/store/server/bin/tersely"], { kind: "found", command: "/mine/tersely", by: "setting" }],
  ["a wrong setting is said, not replaced", "/mine/tersely", ["/usr/bin/tersely"], { kind: "wrong-setting", command: "/mine/tersely" }],
  ["the environment comes before the PATH", "", ["/store/server/bin/tersely", "/usr/bin/tersely"], { kind: "found", command: "/store/server/bin/tersely", by: "environment" }],
  ["the PATH comes last", "", ["/opt/bin/tersely"], { kind: "found", command: "/opt/bin/tersely", by: "path" }],
  ["or there is none", "", [], { kind: "missing" }],
] as const) {
  test(title, () => assert.deepEqual(locate(setting, OWN, linux(...files)), expected));
}

test("a relative folder on the PATH is passed over: a workspace could stand there", () => {
  const machine: Machine = { platform: "linux", pathVariable: ".::bin:/usr/bin", runnable: () => true };
  assert.equal(onPath(["tersely"], machine), "/usr/bin/tersely");
});

test("Windows has its own names", () => {
  assert.equal(commandIn("C:\\store", "tersely", "win32"), "C:\\store\\Scripts\\tersely.exe");
  const machine: Machine = { platform: "win32", pathVariable: "C:\\a;C:\\b", runnable: (file) => file === "C:\\b\\tersely.exe" };
  assert.deepEqual(locate("", "C:\\store", machine), { kind: "found", command: "C:\\b\\tersely.exe", by: "path" });
});
