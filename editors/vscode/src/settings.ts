/** The user's settings as this extension needs them; the server asks for its own. */

import * as vscode from "vscode";
import { toggled } from "./state";

const SECTION = "tersely";

export interface Settings {
  readonly enabled: boolean;
  readonly level: string;
  readonly disabledLanguages: readonly string[];
  readonly model: string;
  readonly maxTokens: number;
  readonly url: string | null;
  readonly tokenFile: string | null;
  readonly serverPath: string;
  readonly python: string;
  readonly wheels: string;
}

export function read(): Settings {
  const from = vscode.workspace.getConfiguration(SECTION);
  return {
    enabled: from.get("enabled", true),
    level: from.get("level", "balanced"),
    disabledLanguages: from.get("disabledLanguages", []),
    model: from.get("model", "smollm2-135m"),
    maxTokens: from.get("maxTokens", 64),
    url: from.get<string | null>("engine.url", null),
    tokenFile: from.get<string | null>("engine.tokenFile", null),
    serverPath: from.get("server.path", ""),
    python: from.get("server.python", ""),
    wheels: from.get("server.wheels", ""),
  };
}

/** Whether a change touches what the server is started with. */
export function concernsServer(event: vscode.ConfigurationChangeEvent): boolean {
  return event.affectsConfiguration(`${SECTION}.server.path`);
}

/** Change a user setting. A value that the workspace sets stays over it, so that one is changed there. */
export async function write(key: string, value: unknown): Promise<void> {
  const section = vscode.workspace.getConfiguration(SECTION);
  const inWorkspace = section.inspect(key)?.workspaceValue !== undefined;
  await section.update(key, value, inWorkspace ? vscode.ConfigurationTarget.Workspace : vscode.ConfigurationTarget.Global);
}

export async function toggleLanguage(language: string): Promise<void> {
  await write("disabledLanguages", toggled(read().disabledLanguages, language));
}
