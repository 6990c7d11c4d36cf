/** The engine's page: served by `tersely page` until the next one is opened, or the window closes. */

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { InstallError } from "./install";

/** What `tersely page --json` says on its first line: an address, or what is wrong. */
interface Said {
  readonly url?: string;
  readonly error?: { readonly message: string; readonly hint?: string };
}

/** The address in that line. Throws what is wrong, with what to do about it. */
export function address(line: string): string {
  let said: Said;
  try {
    said = JSON.parse(line) as Said;
  } catch {
    throw new Error(line === "" ? "The command that serves the page ended without a word." : line);
  }
  if (said.url !== undefined) {
    return said.url;
  }
  throw new InstallError(said.error?.message ?? line, said.error?.hint ?? "");
}

export class Relay {
  private child: ChildProcess | undefined;

  /** Serve the page of the engine that is running, and return its address. `command`: the server's. */
  async open(command: string): Promise<string> {
    this.dispose();
    const child = spawn(command, ["page", "--json"], { stdio: ["ignore", "pipe", "pipe"] });
    this.child = child;
    let complaint = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text));
    const line = await new Promise<string>((resolve, reject) => {
      child.on("error", reject);
      createInterface({ input: child.stdout }).once("line", resolve);
      child.on("close", () => resolve(complaint.trim().split("\n").at(-1) ?? ""));
    });
    return address(line);
  }

  /** End the page that is served, if any. */
  dispose(): void {
    this.child?.kill();
    this.child = undefined;
  }
}
