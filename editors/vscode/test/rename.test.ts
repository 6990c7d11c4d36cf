import assert from "node:assert/strict";
import { test } from "node:test";
import { answer } from "../src/rename";

/** As the editor's own: more than plain data, and sent as something else. */
class Place {
  constructor(
    readonly line: number,
    readonly character: number,
  ) {}
  toJSON(): string {
    return "not this";
  }
}

const edit = (line: number) => ({ range: { start: new Place(line, 4), end: new Place(line, 8) }, newText: "size" });

test("edits are told as plain data", () => {
  const uri = { toString: () => "file:///a.py" };
  const told = answer([[uri, [edit(0), edit(3)]]]);
  const range = (line: number) => ({ start: { line, character: 4 }, end: { line, character: 8 } });
  assert.deepEqual(JSON.parse(JSON.stringify(told)), {
    positionEncoding: "utf-16",
    changes: [
      {
        uri: "file:///a.py",
        edits: [
          { range: range(0), newText: "size" },
          { range: range(3), newText: "size" },
        ],
      },
    ],
  });
});

test("no edits are no answer", () => assert.equal(answer([]), null));
