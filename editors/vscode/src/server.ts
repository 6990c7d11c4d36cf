/** The language server's life: found, started, started again when it dies, stopped. */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as vscode from "vscode";
import {
  CloseAction,
  ErrorAction,
  LanguageClient,
  type LanguageClientOptions,
  State,
  type StaticFeature,
} from "vscode-languageclient/node";
import { Backoff } from "./backoff";
import { type Found, type Machine, locate } from "./locate";
import * as settings from "./settings";
import type { Answer } from "./page";
import { type Answer as Renamed, type Question, answer } from "./rename";
import { type Status, withTrust } from "./state";
import type { Report, Wish } from "./wish";

const LANGUAGES_EVERYWHERE = [{ pattern: "**" }];
const STOP_MS = 3_000;
/** What is never cancelled. */
const NEVER = new vscode.CancellationTokenSource().token;

/** Tells the server that it may ask what the language's own server would rename. */
const RENAMING: StaticFeature = {
  fillClientCapabilities: (can) => {
    can.experimental = { ...can.experimental, tersely: { rename: true } };
  },
  initialize: () => undefined,
  getState: () => ({ kind: "static" }),
  clear: () => undefined,
};

export function machine(): Machine {
  return {
    platform: process.platform,
    pathVariable: process.env["PATH"] ?? "",
    runnable: (file) => {
      try {
        fs.accessSync(file, fs.constants.X_OK);
        return fs.statSync(file).isFile();
      } catch {
        return false;
      }
    },
  };
}

/** A setting may begin with `~`. */
function expanded(file: string): string {
  return file.startsWith("~/") ? path.join(os.homedir(), file.slice(2)) : file;
}

export interface Listener {
  statusChanged(status: Status | undefined): void;
  answered(milliseconds: number): void;
  /** Whether suggestions are wanted now. */
  wanted(document: vscode.TextDocument): boolean;
  /** The server ended too often. */
  gaveUp(): void;
}

export class Server {
  private client: LanguageClient | undefined;
  private readonly backoff = new Backoff();
  private startedMs = 0;
  private again: NodeJS.Timeout | undefined;
  /** What is under way: starts and stops run one after the other. */
  private queue: Promise<void> = Promise.resolve();
  private readonly applying = new vscode.EventEmitter<void>();
  /** The server has an edit made: it may be shown first, and wait for the user. */
  readonly onWillApply = this.applying.event;

  constructor(
    private readonly environment: string,
    private readonly log: vscode.LogOutputChannel,
    private readonly listener: Listener,
  ) {}

  find(): Found {
    return locate(expanded(settings.read().serverPath), this.environment, machine());
  }

  /** Start the server that is found; returns what was found. */
  async start(): Promise<Found> {
    const found = this.find();
    if (found.kind === "found") {
      await this.inTurn(() => this.startCommand(found.command));
    }
    return found;
  }

  async stop(): Promise<void> {
    await this.inTurn(() => this.stopClient());
  }

  /** The user wants it to start again: failures are forgotten. */
  async restart(): Promise<Found> {
    this.backoff.reset();
    await this.stop();
    return this.start();
  }

  /** Tell that a document got the focus, so that the engine is ready when the first key comes. */
  focused(document: vscode.TextDocument): void {
    this.notify("textDocument/didFocus", { textDocument: { uri: document.uri.toString() } });
  }

  /** How a document's last suggestion came about; null where nothing was asked. */
  async explain(document: vscode.TextDocument): Promise<Answer | null> {
    return this.running().sendRequest<Answer | null>("tersely/explain", { textDocument: { uri: document.uri.toString() } });
  }

  /** Grant a wish: the server has the editor make the change, and reports. Cancelled through `token`. */
  async refactor(wish: Wish, token: vscode.CancellationToken): Promise<Report> {
    const params = { command: "tersely.refactor", arguments: [wish] };
    return this.running().sendRequest<Report>("workspace/executeCommand", params, token);
  }

  /** The workspace became trusted: have the server ask for its settings again. */
  trustGranted(): void {
    this.notify("workspace/didChangeConfiguration", { settings: null });
  }

  private running(): LanguageClient {
    if (this.client?.state !== State.Running) {
      throw new Error("No server is running.");
    }
    return this.client;
  }

  private notify(method: string, params: object): void {
    if (this.client?.state === State.Running) {
      this.client.sendNotification(method, params).catch((error: unknown) => this.log.warn(String(error)));
    }
  }

  private inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.queue.then(work);
    this.queue = done.catch((error: unknown) => this.log.error(String(error)));
    return done;
  }

  private async startCommand(command: string): Promise<void> {
    await this.stopClient();
    this.log.info(`Starting ${command} lsp`);
    const run = { command, args: ["lsp"] };
    const client = new LanguageClient("tersely", "tersely", { run, debug: run }, this.options());
    client.onNotification("tersely/didChangeStatus", (status: Status) => this.listener.statusChanged(status));
    client.registerFeature(RENAMING);
    client.onRequest("tersely/rename", (question: Question) => this.renamed(question));
    this.client = client;
    this.startedMs = Date.now();
    await client.start();
  }

  /** What the language's own server would rename; null where there is none, or where it refuses. Changes nothing. */
  private async renamed({ textDocument, position, newName }: Question): Promise<Renamed | null> {
    const place = new vscode.Position(position.line, position.character);
    const command = "vscode.executeDocumentRenameProvider";
    try {
      const uri = vscode.Uri.parse(textDocument.uri);
      const edit = await vscode.commands.executeCommand<vscode.WorkspaceEdit | undefined>(command, uri, place, newName);
      return edit === undefined ? null : answer(edit.entries());
    } catch (error) {
      this.log.info(`Nothing else renames there: ${String(error)}`);
      return null;
    }
  }

  private async stopClient(): Promise<void> {
    clearTimeout(this.again);
    const client = this.client;
    this.client = undefined;
    this.listener.statusChanged(undefined);
    if (client !== undefined && client.state === State.Running) {
      await client.stop(STOP_MS);
    }
    await client?.dispose();
  }

  /** The server ended by itself: start it again later, or give up. */
  private closed(): void {
    this.listener.statusChanged(undefined);
    const waitMs = this.backoff.ended(Date.now() - this.startedMs);
    if (waitMs === undefined) {
      this.listener.gaveUp();
      return;
    }
    this.log.warn(`The server ended; it is started again in ${waitMs / 1000} s.`);
    this.again = setTimeout(() => {
      this.start().catch((error: unknown) => this.log.error(String(error)));
    }, waitMs);
  }

  private options(): LanguageClientOptions {
    return {
      documentSelector: LANGUAGES_EVERYWHERE,
      outputChannel: this.log,
      // The server starts by this where its question for the settings is answered late, or not at all.
      initializationOptions: () => ({ tersely: withTrust(undefined, vscode.workspace.isTrusted) }),
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => {
          this.closed();
          return { action: CloseAction.DoNotRestart, handled: true };
        },
      },
      middleware: {
        workspace: {
          handleApplyEdit: (params, next) => {
            this.applying.fire();
            // Files are saved, or not, as the user has it for refactorings.
            return next({ ...params, metadata: { isRefactoring: true } }, NEVER);
          },
          configuration: async (params, token, next) => {
            const answer = await next(params, token);
            // What a workspace that is not trusted holds is not read.
            const trusted = vscode.workspace.isTrusted;
            return Array.isArray(answer) ? answer.map((settings) => withTrust(settings, trusted)) : answer;
          },
        },
        provideInlineCompletionItems: async (document, position, context, token, next) => {
          const invoked = context.triggerKind === vscode.InlineCompletionTriggerKind.Invoke;
          if (!invoked && !this.listener.wanted(document)) {
            return [];
          }
          const beganMs = performance.now();
          const answer = await next(document, position, context, token);
          const items = Array.isArray(answer) ? answer : (answer?.items ?? []);
          const first = items[0];
          if (first !== undefined && !token.isCancellationRequested) {
            this.listener.answered(performance.now() - beganMs);
            // The editor does not tell what it shows: what it takes in time counts as shown.
            this.notify("textDocument/didShowCompletion", { item: { command: first.command } });
          }
          return answer;
        },
      },
    };
  }
}
