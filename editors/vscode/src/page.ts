/** "Explain this suggestion" as a readable page, from the server's answer to `tersely/explain`. */

export interface Answer {
  readonly text: string;
  readonly stop_reason: string;
  readonly confidence: number;
  readonly model: string;
  readonly tokens: { readonly prompt: number; readonly reused: number; readonly generated: number };
  readonly timings_ms: Readonly<Record<"context" | "prompt" | "queue" | "prefill" | "decode" | "total", number>>;
  readonly explain: {
    readonly context: readonly {
      readonly source: string;
      readonly path: string;
      readonly lines: readonly [number, number];
      readonly characters: number;
      readonly reason: string;
    }[];
    readonly prompt: string;
    readonly generated: string;
    readonly filters: readonly string[];
  };
}

/** A code block whose fence is longer than any in the text. */
function fenced(text: string): string {
  let fence = "```";
  while (text.includes(fence)) {
    fence += "`";
  }
  return `${fence}\n${text}\n${fence}`;
}

/** A cell of a table: what would end it is escaped. */
function cell(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("|", "\\|").replaceAll("\n", " ");
}

/** The page, in Markdown. */
export function page(answer: Answer): string {
  const { tokens, timings_ms: times, explain } = answer;
  const rows = explain.context.map(
    (use) =>
      `| ${cell(use.source)} | ${cell(use.path)} | ${use.lines[0]}–${use.lines[1]} | ${use.characters} | ${cell(use.reason)} |`,
  );
  const parts = (["context", "prompt", "queue", "prefill", "decode", "total"] as const).map(
    (name) => `${name} ${times[name].toFixed(1)}`,
  );
  return [
    "# The suggestion",
    answer.text === "" ? "Nothing was worth showing." : fenced(answer.text),
    [
      `- Model: ${answer.model}`,
      `- Ended by: ${answer.stop_reason}; confidence ${answer.confidence.toFixed(2)}`,
      `- Tokens: ${tokens.prompt} in the prompt, ${tokens.reused} of them reused, ${tokens.generated} generated`,
      `- Milliseconds: ${parts.join(", ")}`,
      ...explain.filters.map((note) => `- ${note}`),
    ].join("\n"),
    "## Context",
    ["| source | path | lines | characters | why |", "|---|---|---|---|---|", ...rows].join("\n"),
    "## What the model generated",
    fenced(explain.generated),
    "## The prompt",
    fenced(explain.prompt),
    "",
  ].join("\n\n");
}
