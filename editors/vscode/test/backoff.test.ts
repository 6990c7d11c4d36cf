import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../src/backoff";

test("waits ever longer, and gives up", () => {
  const backoff = new Backoff();
  const waits = [1, 1, 1, 1, 1, 1].map((livedMs) => backoff.ended(livedMs));
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, undefined]);
});

test("a server that lived long begins anew", () => {
  const backoff = new Backoff();
  backoff.ended(1);
  backoff.ended(1);
  assert.equal(backoff.ended(180_000), 1_000);
  assert.equal(backoff.ended(1), 2_000);
});

test("the user's restart forgets failures", () => {
  const backoff = new Backoff();
  for (let count = 0; count < 9; count += 1) {
    backoff.ended(1);
  }
  backoff.reset();
  assert.equal(backoff.ended(1), 1_000);
});
