import assert from "node:assert/strict";
import { test } from "node:test";
import { type Answer, page } from "../src/page";

const ANSWER: Answer = {
  text: "left - right",
  stop_reason: "eos",
  confidence: 0.904,
  model: "fake",
  tokens: { prompt: 10, reused: 7, generated: 3 },
  timings_ms: { context: 0, prompt: 0.18, queue: 0, prefill: 2.5, decode: 9, total: 12 },
  explain: {
    context: [{ source: "prefix", path: "a|b.md", lines: [1, 2], characters: 26, reason: "before the cursor" }],
    prompt: "```\ncode\n```",
    generated: "left - right\n",
    filters: ["the line's end was dropped"],
  },
};

test("the page says all that is known", () => {
  const text = page(ANSWER);
  for (const part of [
    "```\nleft - right\n```",
    "- Model: fake",
    "confidence 0.90",
    "10 in the prompt, 7 of them reused, 3 generated",
    "prefill 2.5, decode 9.0, total 12.0",
    "- the line's end was dropped",
    "| prefix | a\\|b.md | 1–2 | 26 | before the cursor |",
  ]) {
    assert.ok(text.includes(part), part);
  }
});

test("fences hold whatever is between them", () => {
  assert.ok(page(ANSWER).includes("````\n```\ncode\n```\n````"));
});

test("nothing worth showing is said", () => {
  assert.ok(page({ ...ANSWER, text: "" }).includes("Nothing was worth showing."));
});
