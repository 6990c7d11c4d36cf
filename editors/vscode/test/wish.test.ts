import assert from "node:assert/strict";
import { test } from "node:test";
import { type Report, asked, refused, told } from "../src/wish";

const URI = "file:///a.py";
const at = (line: number, character: number) => ({ line, character });
const DONE: Report = { applied: true, status: "changed", changed: ["a.py"], notes: [] };

test("without a selection the wish is about the file", () => {
  assert.deepEqual(asked(URI, " rename a to b ", at(3, 2), at(3, 2)), { uri: URI, wish: "rename a to b" });
});

test("a selection goes along", () => {
  const range = { start: at(1, 0), end: at(3, 0) };
  assert.deepEqual(asked(URI, "extract", range.start, range.end), { uri: URI, wish: "extract", range });
});

test("only files on a disk are refactored", () => {
  assert.equal(refused("file"), undefined);
  for (const scheme of ["vscode-vfs", "untitled", "git"]) {
    assert.match(refused(scheme) ?? "", new RegExp(`no file on a disk \\(${scheme}\\)`));
  }
});

test("nothing is asked where nothing is wished", () => {
  assert.equal(asked(URI, undefined, at(0, 0), at(0, 0)), undefined);
  assert.equal(asked(URI, "  ", at(0, 0), at(0, 9)), undefined);
});

for (const [title, change, text] of [
  ["a change of one file is seen", {}, undefined],
  ["a change of several names them", { changed: ["a.py", "b.py"] }, "Changed a.py, b.py."],
  ["notes are told", { notes: ["A call is left."] }, "A call is left."],
  ["a preview that was put away", { applied: false }, "Nothing was changed."],
  ["a refusal, which the server tells", { applied: false, status: "declined", notes: ["x"] }, undefined],
] as [string, Partial<Report>, string | undefined][]) {
  test(title, () => assert.equal(told({ ...DONE, ...change }), text));
}
