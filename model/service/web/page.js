// The page: takes figures from the feed, and puts them into words, plots and tables.

import { Feed } from "./feed.js";
import { Plot } from "./plot.js";
import { Table } from "./table.js";
import * as words from "./words.js";

const KEPT = 240;
const DRAWN = 60;
const STATES = {
  idle: "Asleep",
  starting: "Starting",
  pulling: "Fetching the model",
  loading: "Loading the model",
  ready: "Ready",
  failed: "Failed",
  lost: "No answer",
};
const ENDS = { ok: "by itself", cancelled: "by its reader", error: "failed" };
const CALM_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 5_000 : 0;

const byId = (id) => document.getElementById(id);
const say = (id, text) => {
  byId(id).textContent = text;
};

const number = (x) => (Number.isInteger(x) ? String(x) : "");
const WHOLE_STEPS = [0, 1, 2, 3, 4, 5, 6].flatMap((power) => [1, 2, 5].map((one) => one * 10 ** power));
const requests = { axis: "request", kind: "bars", name: number, steps: WHOLE_STEPS };
const plots = {
  times: new Plot(byId("times-plot"), {
    ...requests,
    parts: [
      { label: "waited", colour: "waiting" },
      { label: "read", colour: "read" },
      { label: "wrote", colour: "written" },
    ],
    words: words.milliseconds,
  }),
  spread: new Plot(byId("spread-plot"), {
    axis: "up to",
    kind: "bars",
    name: (x) => (Number.isInteger(x) ? bucketName(x) : ""),
    steps: WHOLE_STEPS,
    parts: [{ label: "requests", colour: "read" }],
    words: words.count,
    rises: WHOLE_STEPS,
  }),
  tokens: new Plot(byId("tokens-plot"), {
    ...requests,
    parts: [
      { label: "reused", colour: "reused" },
      { label: "read", colour: "read" },
      { label: "written", colour: "written" },
    ],
    words: words.count,
  }),
  held: new Plot(byId("held-plot"), {
    ...requests,
    kind: "line",
    parts: [{ label: "MB", colour: "held" }],
    words: words.count,
  }),
};
const tables = {
  times: new Table(byId("times-table"), "Newest first, in milliseconds", ["request", "at", "waited", "read", "wrote", "first token", "ended"]),
  spread: new Table(byId("spread-table"), "All requests since the start", ["up to", "requests", "share"]),
  tokens: new Table(byId("tokens-table"), "Newest first", ["request", "reused", "read", "written", "allowed"]),
  held: new Table(byId("held-table"), "Newest first", ["request", "MB"]),
};

let entries = [];
let bounds = [];
let drawnMs = 0;
let announced = "";

function bucketName(index) {
  return index < bounds.length ? words.upTo(bounds[index]) : index === bounds.length ? words.upTo(null) : "";
}

/** Told to screen readers: changes of state, and no figures. */
function announce(text) {
  if (text !== announced) {
    announced = text;
    say("news", text);
  }
}

function showState(state, message) {
  byId("state").dataset.state = state;
  say("state-words", STATES[state] ?? state);
  byId("state").title = message;
  announce(`${STATES[state] ?? state}. ${message}`);
}

function showEngine({ model_name, model, state, message, hint, fraction, version, started_s, now_s }) {
  say("model", model_name);
  if (model !== null) {
    const facts = [model.name, model.architecture, model.device, model.quantization === "none" ? "" : model.quantization];
    const size = model.parameters > 0 ? `${words.parameters(model.parameters)} parameters` : "";
    const context = `${words.count(model.context_tokens)} tokens of context`;
    const age = `version ${version}, up for ${words.seconds(now_s - started_s)}`;
    say("model", [...new Set([...facts.slice(0, 1), size, ...facts.slice(1), context, age])].filter(Boolean).join(" · "));
  }
  document.title = `${model_name} – tersely engine`;
  const progress = fraction === null ? "" : ` ${words.share(fraction, 1)}`;
  showState(state, `${message}${progress} ${hint}`.trim());
}

function showGlance({ totals, saved, memory, first_token: first }) {
  say("first", words.milliseconds(first.median_ms));
  say("first-more", first.p95_ms === null ? "no request yet" : `median; 95 % within ${words.milliseconds(first.p95_ms)}`);
  const asked = Object.values(totals.requests).reduce((sum, one) => sum + one, 0);
  say("cache", words.share(totals.reused_tokens, totals.prompt_tokens));
  say("cache-more", `of prompt tokens reused; ${words.count(totals.prefix_hits)} of ${words.count(asked)} requests hit`);
  say("reading", words.seconds(saved.reading_s));
  say("reading-more", saved.reading_s === null ? "the speed of reading is not known yet" : `${words.count(totals.reused_tokens)} tokens were not read again`);
  say("writing", saved.writing_s === null ? "–" : `≤ ${words.seconds(saved.writing_s)}`);
  say("writing-more", `at most ${words.count(saved.unwritten_tokens)} tokens, as readers had enough`);
  say("accepted", `${words.count(totals.accepted_tokens)} tokens`);
  say("accepted-more", totals.shown > 0 ? `${words.count(totals.accepted)} of ${words.count(totals.shown)} shown suggestions taken whole` : "no editor has reported yet");
  say("memory", words.megabytes(memory.process_bytes));
  say("memory-more", `of it ${words.megabytes(memory.cache_bytes)} prefix cache`);
  showSums(totals, memory, asked);
}

function showSums(totals, memory, asked) {
  const drafts = memory.drafted_tokens > 0 ? [["drafts right", words.share(memory.draft_hits, memory.drafted_tokens)]] : [];
  const sums = [
    ["requests", words.count(asked)],
    ["under way", words.count(totals.in_flight)],
    ["tokens reused", words.count(totals.reused_tokens)],
    ["read", words.count(totals.read_tokens)],
    ["generated", words.count(totals.generated_tokens)],
    ["accepted", words.count(totals.accepted_tokens)],
    ...drafts,
    ["ended by the reader", words.count(totals.requests.cancelled)],
    ["failed", words.count(totals.requests.error)],
  ];
  const rows = sums.map(([name, value]) => {
    const row = document.createElement("div");
    const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    detail.textContent = value;
    row.append(term, detail);
    return row;
  });
  byId("sums").replaceChildren(...rows);
}

function showRequests() {
  const drawn = entries.slice(-DRAWN);
  const newest = entries.toReversed();
  const xs = drawn.map((one) => one.number);
  const column = (read) => drawn.map(read);
  const read = (one) => one.prompt_tokens - one.cached_tokens;
  const slowest = Math.max(0, ...drawn.map((one) => one.queue_ms + one.prefill_ms + one.decode_ms));
  plots.times.show(
    [xs, column((one) => one.queue_ms), column((one) => one.prefill_ms), column((one) => one.decode_ms)],
    `Bars: the last ${drawn.length} requests, the longest ${words.milliseconds(slowest)}. The table beside it has the figures.`,
  );
  const ms = (value) => (value === null ? "–" : words.count1(value));
  tables.times.show(
    newest.map((one) => [
      String(one.number),
      words.clock(one.ended_s),
      ...[one.queue_ms, one.prefill_ms, one.decode_ms, one.first_token_ms].map(ms),
      ENDS[one.outcome] ?? one.outcome,
    ]),
  );
  const reused = drawn.reduce((sum, one) => sum + one.cached_tokens, 0);
  const prompts = drawn.reduce((sum, one) => sum + one.prompt_tokens, 0);
  plots.tokens.show(
    [xs, column((one) => one.cached_tokens), column(read), column((one) => one.generated_tokens)],
    `Bars: tokens of the last ${drawn.length} requests; ${words.share(reused, prompts)} of their prompts were reused. The table beside it has the figures.`,
  );
  tables.tokens.show(
    newest.map((one) => [
      String(one.number),
      ...[one.cached_tokens, read(one), one.generated_tokens].map(words.count),
      one.limit_tokens === null ? "–" : words.count(one.limit_tokens),
    ]),
  );
  const held = column((one) => one.memory_bytes / 1e6);
  plots.held.show([xs, held], `A line: memory after each request, now ${words.count(held.at(-1) ?? 0)} MB. The table beside it has the figures.`);
  tables.held.show(newest.map((one) => [String(one.number), words.count1(one.memory_bytes / 1e6)]));
}

function showSpread({ upper_s, counts }) {
  bounds = upper_s;
  const all = counts.reduce((sum, one) => sum + one, 0);
  const used = counts.flatMap((one, index) => (one > 0 ? [index] : []));
  // One empty bucket on either side, so that the shape has its edges.
  const from = Math.max(0, (used[0] ?? 0) - 1);
  const to = Math.min(counts.length - 1, (used.at(-1) ?? counts.length - 1) + 1);
  const shown = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  const most = used.length > 0 ? counts.indexOf(Math.max(...counts)) : null;
  const peak = most === null ? "No request yet." : `Most of ${words.count(all)} requests needed up to ${bucketName(most)}.`;
  plots.spread.show([shown, shown.map((index) => counts[index])], `Bars: a histogram. ${peak} The table beside it has the figures.`);
  tables.spread.show(shown.map((index) => [bucketName(index), words.count(counts[index]), words.share(counts[index], all)]));
}

function show(snapshot, first) {
  byId("ask").hidden = true;
  entries = [...(first ? [] : entries), ...snapshot.requests].slice(-KEPT);
  showEngine(snapshot.engine);
  if (!first && performance.now() - drawnMs < CALM_MS) {
    return;
  }
  drawnMs = performance.now();
  showGlance(snapshot);
  showSpread(snapshot.first_token);
  showRequests();
}

const feed = new Feed({
  snapshot: show,
  lost: () => showState("lost", "The engine does not answer; trying again."),
  refused: () => {
    showState("lost", "This engine asks for its token.");
    byId("ask").hidden = false;
    byId("token").focus();
  },
});

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  feed.useToken(byId("token").value.trim());
});

byId("pause").addEventListener("click", () => {
  const pausing = byId("pause").getAttribute("aria-pressed") === "false";
  byId("pause").setAttribute("aria-pressed", String(pausing));
  announce(pausing ? "Paused." : "Going on.");
  if (pausing) {
    feed.stop();
  } else {
    feed.start();
  }
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    feed.stop();
  } else if (byId("pause").getAttribute("aria-pressed") === "false") {
    feed.start();
  }
});

feed.start();
