import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { test } from "node:test";
import { InstallError, findPython, install, newEnough, pipArguments, run, steps } from "../src/install";
import type { Machine } from "../src/locate";

function folder(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), "tersely-"));
}

/** A command that does what a shell script says. */
function script(where: string, name: string, body: string): string {
  const file = path.join(where, name);
  fs.writeFileSync(file, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  return file;
}

function machine(where: string): Machine {
  return { platform: process.platform, pathVariable: where, runnable: (file) => fs.existsSync(file) };
}

const posix = { skip: process.platform === "win32" ? "shell scripts stand in for Python here" : false };

for (const [printed, expected] of [
  ["Python 3.11.2", true],
  ["Python 3.13.0rc1", true],
  ["Python 4.0", true],
  ["Python 3.10.9", false],
  ["Python 2.7.18", false],
  ["command not found", false],
] as const) {
  test(`${printed} is ${expected ? "new" : "not new"} enough`, () => assert.equal(newEnough(printed), expected));
}

test("from a folder of wheels nothing is fetched", () => {
  assert.deepEqual(pipArguments("/wheels").slice(-4), ["--no-index", "--find-links", "/wheels", "tersely"]);
  assert.ok(!pipArguments("").includes("--no-index"));
});

test("the environment is made by the user's Python, and filled by its own", () => {
  const [make, fill] = steps("/usr/bin/python3", "/store/server", "", "linux");
  assert.deepEqual([make?.command, make?.args.at(-1)], ["/usr/bin/python3", "/store/server"]);
  assert.equal(fill?.command, "/store/server/bin/python");
});

test("the first Python that is new enough is taken", posix, async () => {
  const where = folder();
  script(where, "python3", "echo Python 3.9.1");
  const good = script(where, "python", "echo Python 3.12.1");
  assert.equal(await findPython("", machine(where)), good);
});

test("no Python, or an old one, is said with what to do", posix, async () => {
  const where = folder();
  await assert.rejects(findPython("", machine(where)), { name: "InstallError", hint: /tersely\.server\.python/ });
  const old = script(where, "old", "echo Python 3.8.1");
  await assert.rejects(findPython(old, machine(where)), { message: /is no Python 3\.11/ });
  await assert.rejects(findPython(path.join(where, "none"), machine(where)), InstallError);
});

test("a failed installation leaves nothing half-made", posix, async () => {
  const where = folder();
  const environment = path.join(where, "server");
  const fails = 'mkdir -p "$4/bin"; printf \'#!/bin/sh\\necho no such wheel >&2; exit 1\\n\' > "$4/bin/python"; chmod +x "$4/bin/python"';
  const python = script(where, "python", fails);
  await assert.rejects(install(python, environment, "", machine(where), () => undefined), { message: /no such wheel/ });
  assert.ok(!fs.existsSync(environment));
});

test("an installation goes through its steps, and says so", posix, async () => {
  const where = folder();
  const environment = path.join(where, "server");
  const works = 'mkdir -p "$4/bin"; printf \'#!/bin/sh\\necho "$@"\\n\' > "$4/bin/python"; chmod +x "$4/bin/python"';
  const python = script(where, "python", works);
  const said: string[] = [];
  await install(python, environment, "/wheels", machine(where), (line) => said.push(line));
  assert.deepEqual(said.slice(0, 2), ["Making an environment", "Installing the server"]);
  assert.match(said[2] ?? "", /--no-index --find-links \/wheels tersely$/);
});

test("a command's output is returned, and its failure is told by its last words", posix, async () => {
  const where = folder();
  assert.equal(await run(script(where, "echo", 'echo "$@"'), ["one", "two"], () => undefined), "one two\n");
  await assert.rejects(run(script(where, "die", "echo first >&2; echo last >&2; exit 3"), [], () => undefined), { message: "last" });
  await assert.rejects(run(script(where, "mute", "exit 3"), [], () => undefined), { message: /ended with code 3/ });
});
