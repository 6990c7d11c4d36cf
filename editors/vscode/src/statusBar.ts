/** The status bar's item: shows what `state.item` says, and keeps the snooze. */

import * as vscode from "vscode";
import * as settings from "./settings";
import { type Status, item } from "./state";

const TICK_MS = 30_000;

export class StatusBar implements vscode.Disposable {
  private readonly bar = vscode.window.createStatusBarItem("tersely.status", vscode.StatusBarAlignment.Right, 100);
  private readonly tick = setInterval(() => this.refresh(), TICK_MS);
  private status: Status | undefined;
  private latencyMs: number | undefined;
  private snoozedUntilMs: number | undefined;

  constructor() {
    this.bar.name = "tersely";
    this.bar.command = "tersely.menu";
    this.refresh();
    this.bar.show();
  }

  setStatus(status: Status | undefined): void {
    this.status = status;
    this.refresh();
  }

  setLatency(milliseconds: number): void {
    this.latencyMs = milliseconds;
    this.refresh();
  }

  /** No suggestions for so many minutes; 0: suggestions again. */
  snooze(minutes: number): void {
    this.snoozedUntilMs = minutes === 0 ? undefined : Date.now() + minutes * 60_000;
    this.refresh();
  }

  snoozed(): boolean {
    return this.snoozedUntilMs !== undefined && this.snoozedUntilMs > Date.now();
  }

  refresh(): void {
    const { model, level, disabledLanguages } = settings.read();
    const language = vscode.window.activeTextEditor?.document.languageId;
    const { text, tooltip, alarming } = item({
      status: this.status,
      latencyMs: this.latencyMs,
      model,
      level,
      snoozedUntilMs: this.snoozedUntilMs,
      nowMs: Date.now(),
      languageOff: language !== undefined && disabledLanguages.includes(language) ? language : undefined,
    });
    this.bar.text = text;
    this.bar.tooltip = tooltip;
    this.bar.backgroundColor = alarming ? new vscode.ThemeColor("statusBarItem.errorBackground") : undefined;
  }

  dispose(): void {
    clearInterval(this.tick);
    this.bar.dispose();
  }
}
