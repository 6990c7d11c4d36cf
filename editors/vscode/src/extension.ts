/** The extension's beginning and end: puts server, status bar and commands together. */

import * as path from "node:path";
import * as vscode from "vscode";
import { registerCommands } from "./commands";
import { Explanations } from "./explanations";
import { Relay } from "./relay";
import { Server } from "./server";
import * as settings from "./settings";
import { StatusBar } from "./statusBar";

let server: Server | undefined;

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const log = vscode.window.createOutputChannel("tersely", { log: true });
  const bar = new StatusBar();
  const environment = path.join(context.globalStorageUri.fsPath, "server");
  const running = new Server(environment, log, {
    statusChanged: (status) => bar.setStatus(status),
    answered: (milliseconds) => bar.setLatency(milliseconds),
    wanted: () => !bar.snoozed(),
    gaveUp: () => void offerLog("tersely's server ended again and again.", log),
  });
  server = running;
  const explanations = new Explanations(running);
  const relay = new Relay();
  context.subscriptions.push(log, bar, explanations, relay);
  registerCommands(context, { server: running, environment, log, bar, explanations, relay });
  context.subscriptions.push(
    vscode.workspace.onDidChangeConfiguration((event) => {
      bar.refresh();
      if (settings.concernsServer(event)) {
        vscode.commands.executeCommand("tersely.restart");
      }
    }),
    vscode.workspace.onDidGrantWorkspaceTrust(() => running.trustGranted()),
    vscode.window.onDidChangeActiveTextEditor((editor) => {
      bar.refresh();
      if (editor !== undefined) {
        running.focused(editor.document);
      }
    }),
  );
  await first(running, log);
}

export async function deactivate(): Promise<void> {
  await server?.stop();
}

/** Start; where there is no server, say what to do. */
async function first(running: Server, log: vscode.LogOutputChannel): Promise<void> {
  try {
    const found = await running.start();
    await vscode.commands.executeCommand("setContext", "tersely.serverFound", found.kind === "found");
    if (found.kind === "found") {
      return;
    }
    // Not awaited: the message may stay for as long as the user likes.
    void offerInstall(found.kind === "wrong-setting" ? `${found.command} cannot be run.` : "The server is not installed.");
  } catch (error) {
    log.error(String(error));
    void offerLog("tersely's server does not start.", log);
  }
}

async function offerInstall(message: string): Promise<void> {
  const [install, how] = ["Install", "Show Me How"];
  const chosen = await vscode.window.showInformationMessage(`tersely: ${message}`, install, how);
  if (chosen === install) {
    await vscode.commands.executeCommand("tersely.install");
  } else if (chosen === how) {
    await vscode.commands.executeCommand("workbench.action.openWalkthrough", "tersely.tersely#start", false);
  }
}

async function offerLog(message: string, log: vscode.LogOutputChannel): Promise<void> {
  const [show, restart] = ["Show the Log", "Restart"];
  const chosen = await vscode.window.showErrorMessage(message, show, restart);
  if (chosen === show) {
    log.show();
  } else if (chosen === restart) {
    await vscode.commands.executeCommand("tersely.restart");
  }
}
