/** The commands of the palette and of the status bar's menu. */

import * as vscode from "vscode";
import type { Explanations } from "./explanations";
import { InstallError, findPython, install, run } from "./install";
import type { Relay } from "./relay";
import { type Server, machine } from "./server";
import * as settings from "./settings";
import type { StatusBar } from "./statusBar";
import { asked, refused, told } from "./wish";

export interface Parts {
  readonly server: Server;
  readonly environment: string;
  readonly log: vscode.LogOutputChannel;
  readonly bar: StatusBar;
  readonly explanations: Explanations;
  readonly relay: Relay;
}

interface Choice extends vscode.QuickPickItem {
  readonly value: string;
}

const SNOOZES = [5, 15, 60];

export function registerCommands(context: vscode.ExtensionContext, parts: Parts): void {
  const commands: Record<string, () => Promise<void>> = {
    menu: () => menu(parts),
    wish: () => wish(parts),
    level,
    toggle: async () => settings.write("enabled", !settings.read().enabled),
    toggleLanguage,
    snooze: () => snooze(parts),
    model: () => model(parts),
    url,
    explain: () => explain(parts),
    page: () => page(parts),
    install: () => installServer(parts),
    restart: async () => {
      const found = await parts.server.restart();
      await vscode.commands.executeCommand("setContext", "tersely.serverFound", found.kind === "found");
    },
    showLog: async () => parts.log.show(),
  };
  for (const [name, command] of Object.entries(commands)) {
    const guarded = () => command().catch((error: unknown) => failed(error, parts.log));
    context.subscriptions.push(vscode.commands.registerCommand(`tersely.${name}`, guarded));
  }
}

/** Say what went wrong, and what can be done. */
function failed(error: unknown, log: vscode.LogOutputChannel): void {
  const message = error instanceof Error ? error.message : String(error);
  log.error(message);
  void vscode.window.showErrorMessage(`tersely: ${message}${error instanceof InstallError ? ` ${error.hint}` : ""}`);
}

async function menu(parts: Parts): Promise<void> {
  const now = settings.read();
  const language = vscode.window.activeTextEditor?.document.languageId;
  const off = language !== undefined && now.disabledLanguages.includes(language);
  const choices: Choice[] = [
    { value: "level", label: "$(dashboard) How much to suggest", description: now.level },
    { value: "toggle", label: now.enabled ? "$(circle-slash) Switch off" : "$(sparkle) Switch on" },
    ...(language === undefined
      ? []
      : [{ value: "toggleLanguage", label: `$(code) Switch ${off ? "on" : "off"} for ${language}` }]),
    { value: "snooze", label: parts.bar.snoozed() ? "$(bell) End the snooze" : "$(bell-slash) Snooze…" },
    { value: "model", label: "$(package) Model…", description: now.model },
    { value: "url", label: "$(plug) Engine at a URL…", description: now.url ?? "an engine of your own" },
    { value: "wish", label: "$(edit) Refactor…" },
    { value: "explain", label: "$(question) Explain this suggestion" },
    { value: "page", label: "$(graph) Open the engine's page" },
    { value: "restart", label: "$(debug-restart) Restart the server" },
    { value: "showLog", label: "$(output) Show the log" },
  ];
  const chosen = await vscode.window.showQuickPick(choices, { title: "tersely" });
  if (chosen !== undefined) {
    await vscode.commands.executeCommand(`tersely.${chosen.value}`);
  }
}

async function level(): Promise<void> {
  const now = settings.read().level;
  const choices: Choice[] = [
    { value: "quiet", label: "quiet", detail: "A line at most, and only when the model is sure." },
    { value: "balanced", label: "balanced", detail: "Blocks too, where the syntax opens one." },
    { value: "eager", label: "eager", detail: "Blocks anywhere." },
  ].map((choice) => ({ ...choice, description: choice.value === now ? "now" : "" }));
  const chosen = await vscode.window.showQuickPick(choices, { title: "How much to suggest" });
  if (chosen !== undefined) {
    await settings.write("level", chosen.value);
  }
}

async function toggleLanguage(): Promise<void> {
  const language = vscode.window.activeTextEditor?.document.languageId;
  if (language !== undefined) {
    await settings.toggleLanguage(language);
  }
}

async function snooze(parts: Parts): Promise<void> {
  if (parts.bar.snoozed()) {
    parts.bar.snooze(0);
    return;
  }
  const choices = SNOOZES.map((minutes) => ({ label: `${minutes} minutes`, minutes }));
  const chosen = await vscode.window.showQuickPick(choices, { title: "No suggestions for" });
  if (chosen !== undefined) {
    parts.bar.snooze(chosen.minutes);
  }
}

/** The server's command. */
function serverCommand(parts: Parts): string {
  const found = parts.server.find();
  if (found.kind !== "found") {
    throw new InstallError("There is no server.", "Install it first.");
  }
  return found.command;
}

async function model(parts: Parts): Promise<void> {
  const printed = await run(serverCommand(parts), ["model", "list", "--json"], (line) => parts.log.info(line));
  const known = JSON.parse(printed) as { name: string; installed: boolean; license: string }[];
  const other = "A file…";
  const choices: vscode.QuickPickItem[] = known.map((one) => ({
    label: one.name,
    description: one.installed ? "is here" : "will be fetched",
    detail: one.license,
  }));
  const chosen = await vscode.window.showQuickPick([...choices, { label: other }], { title: "Model" });
  if (chosen?.label === other) {
    const files = await vscode.window.showOpenDialog({ title: "A checkpoint", canSelectFolders: true, canSelectFiles: true });
    if (files?.[0] !== undefined) {
      await settings.write("model", files[0].fsPath);
    }
  } else if (chosen !== undefined) {
    await settings.write("model", chosen.label);
  }
}

async function url(): Promise<void> {
  const given = await vscode.window.showInputBox({
    title: "Engine at a URL",
    prompt: "The text around the cursor is sent there. Empty: an engine of your own.",
    placeHolder: "http://127.0.0.1:8000",
    value: settings.read().url ?? "",
    validateInput: (text) => (text === "" || /^https?:\/\/\S+$/.test(text) ? undefined : "This begins with http:// or https://"),
  });
  if (given !== undefined) {
    await settings.write("engine.url", given === "" ? null : given);
  }
}

/** Ask for a wish, and have it granted. It can be cancelled until the change is there, or waits to be looked at. */
async function wish(parts: Parts): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) {
    throw new Error("No text is open.");
  }
  const { document, selection } = editor;
  const why = refused(document.uri.scheme);
  if (why !== undefined) {
    throw new Error(why);
  }
  const given = await vscode.window.showInputBox({
    title: selection.isEmpty ? "Refactor" : "Refactor the selection",
    prompt: "What should be changed?",
    placeHolder: "rename parse to read",
  });
  const request = asked(document.uri.toString(), given, selection.start, selection.end);
  if (request === undefined) {
    return;
  }
  const location = vscode.ProgressLocation.Notification;
  const title = `tersely: ${request.wish}`;
  const { granted } = await vscode.window.withProgress({ location, title, cancellable: true }, async (_, token) => {
    const granted = parts.server.refactor(request, token).catch((error: unknown) => {
      if (token.isCancellationRequested) {
        return undefined;
      }
      throw error;
    });
    const shown = new Promise<void>((resolve) => {
      const listening = parts.server.onWillApply(() => resolve());
      void granted.catch(() => undefined).then(() => listening.dispose());
    });
    await Promise.race([granted, shown]);
    // In an object, since a promise by itself would be waited for.
    return { granted };
  });
  const answer = await granted;
  const message = answer === undefined ? undefined : told(answer);
  if (message !== undefined) {
    void vscode.window.showInformationMessage(`tersely: ${message}`);
  }
}

async function explain(parts: Parts): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) {
    throw new Error("No text is open.");
  }
  const location = vscode.ProgressLocation.Window;
  await vscode.window.withProgress({ location, title: "tersely explains" }, () => parts.explanations.open(editor.document));
}

/** Open how the engine does in a browser; from another machine, the port is forwarded. */
async function page(parts: Parts): Promise<void> {
  const served = vscode.Uri.parse(await parts.relay.open(serverCommand(parts)));
  // What forwards the port may lose what stands behind the `#`: the page's token.
  const { fragment } = served;
  const reachable = await vscode.env.asExternalUri(served.with({ fragment: "" }));
  await vscode.env.openExternal(reachable.with({ fragment }));
}

async function installServer(parts: Parts): Promise<void> {
  if (!vscode.workspace.isTrusted) {
    throw new InstallError("This workspace is not trusted.", "Trust it, or install from another window.");
  }
  const { python, wheels } = settings.read();
  const location = vscode.ProgressLocation.Notification;
  await vscode.window.withProgress({ location, title: "tersely", cancellable: true }, async (progress, token) => {
    const say = (line: string) => {
      parts.log.info(line);
      progress.report({ message: line });
    };
    const chosen = await findPython(python, machine());
    say(`Using ${chosen}`);
    await parts.server.stop();
    await install(chosen, parts.environment, wheels, machine(), say, (child) => {
      token.onCancellationRequested(() => child.kill());
    });
  });
  await vscode.commands.executeCommand("tersely.restart");
}
