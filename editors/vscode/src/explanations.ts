/** "Explain This Suggestion": opens the server's answer as a page. */

import * as vscode from "vscode";
import { page } from "./page";
import type { Server } from "./server";

const SCHEME = "tersely-explanation";

export class Explanations implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly pages = new Map<string, string>();
  private readonly registration = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
  private count = 0;

  constructor(private readonly server: Server) {}

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.pages.get(uri.path) ?? "";
  }

  /** Explain a document's last suggestion, or its absence. */
  async open(document: vscode.TextDocument): Promise<void> {
    const answer = await this.server.explain(document);
    if (answer === null) {
      throw new Error("Nothing was suggested here yet.");
    }
    const name = `/explanation-${(this.count += 1)}.md`;
    this.pages.set(name, page(answer));
    const uri = vscode.Uri.from({ scheme: SCHEME, path: name });
    await vscode.commands.executeCommand("markdown.showPreviewToSide", uri);
  }

  dispose(): void {
    this.registration.dispose();
  }
}
