/** What the status bar says: server, engine, last answer, snooze and language summed up. Knows nothing of the editor. */

export type Kind = "Normal" | "Busy" | "Warning" | "Error" | "Inactive";

/** As the server sends it with `tersely/didChangeStatus`. */
export interface Status {
  readonly kind: Kind;
  readonly message: string;
  readonly busy: boolean;
  readonly hint: string;
}

export interface Shown {
  readonly status: Status | undefined;
  readonly latencyMs: number | undefined;
  readonly model: string;
  readonly level: string;
  /** When the snooze ends, and what time it is, in milliseconds; undefined: no snooze. */
  readonly snoozedUntilMs: number | undefined;
  readonly nowMs: number;
  /** The language at hand, if it is switched off. */
  readonly languageOff: string | undefined;
}

export interface Item {
  readonly text: string;
  readonly tooltip: string;
  readonly alarming: boolean;
}

const ICONS: Record<Kind, string> = {
  Normal: "$(sparkle)",
  Busy: "$(loading~spin)",
  Warning: "$(warning)",
  Error: "$(error)",
  Inactive: "$(circle-slash)",
};

/** Whole minutes, rounded up. */
function minutes(milliseconds: number): number {
  return Math.ceil(milliseconds / 60_000);
}

/** The status bar's item. */
export function item(shown: Shown): Item {
  const lines = [`Model: ${shown.model} · ${shown.level}`];
  if (shown.latencyMs !== undefined) {
    lines.push(`Last answer: ${Math.round(shown.latencyMs)} ms`);
  }
  const { status } = shown;
  if (status === undefined) {
    return { text: "$(circle-outline) tersely", tooltip: "tersely: no server is running.", alarming: false };
  }
  lines.unshift(`tersely: ${status.message}`);
  if (status.hint !== "") {
    lines.push(status.hint);
  }
  const tooltip = lines.join("\n");
  if (status.kind === "Error") {
    return { text: `${ICONS.Error} tersely`, tooltip, alarming: true };
  }
  if (shown.snoozedUntilMs !== undefined && shown.snoozedUntilMs > shown.nowMs) {
    const left = minutes(shown.snoozedUntilMs - shown.nowMs);
    return { text: `$(bell-slash) tersely ${left} min`, tooltip: `${tooltip}\nSnoozed.`, alarming: false };
  }
  if (shown.languageOff !== undefined) {
    const why = `${tooltip}\nSwitched off for ${shown.languageOff}.`;
    return { text: `${ICONS.Inactive} tersely`, tooltip: why, alarming: false };
  }
  const latency = status.kind === "Normal" && shown.latencyMs !== undefined ? ` ${Math.round(shown.latencyMs)} ms` : "";
  return { text: `${ICONS[status.kind]} tersely${latency}`, tooltip, alarming: false };
}

/** The list with `language` in it if it was not, and without it if it was. */
export function toggled(languages: readonly string[], language: string): string[] {
  return languages.includes(language) ? languages.filter((one) => one !== language) : [...languages, language].sort();
}

/** Settings for the server, with what the workspace's trust makes of `trusted`: it takes away, and gives only by default. */
export function withTrust(settings: unknown, trusted: boolean): unknown {
  const known = typeof settings === "object" && settings !== null ? settings : {};
  return trusted ? { trusted: true, ...known } : { ...known, trusted: false };
}
