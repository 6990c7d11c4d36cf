/** "Show How the Engine Does": serves the engine's page by the tersely command, and opens it in a browser. */

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import * as vscode from "vscode";

interface Told {
  readonly url?: string;
  readonly error?: { readonly message: string; readonly hint: string };
}

export class EnginePage implements vscode.Disposable {
  private serving: ChildProcess | undefined;

  /** Open the page of the running engine; `command` is tersely. A page that was opened before ends. */
  async open(command: string): Promise<void> {
    this.dispose();
    const child = spawn(command, ["page", "--json"], { stdio: ["ignore", "pipe", "ignore"] });
    this.serving = child;
    const told = await new Promise<Told>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => reject(new Error(`${command} page ended with code ${code}.`)));
      createInterface(child.stdout).once("line", (line) => {
        try {
          resolve(JSON.parse(line) as Told);
        } catch {
          reject(new Error(`${command} page said: ${line}`));
        }
      });
    });
    if (told.url === undefined) {
      throw new Error(`${told.error?.message ?? "There is no page."} ${told.error?.hint ?? ""}`.trim());
    }
    // Where the editor runs elsewhere, this is an address that reaches the machine of the server.
    const address = await vscode.env.asExternalUri(vscode.Uri.parse(told.url));
    await vscode.env.openExternal(address);
  }

  dispose(): void {
    this.serving?.kill();
    this.serving = undefined;
  }
}
