/** Make the server's own environment with the user's Python, and install the server into it. */

import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs/promises";
import { type Machine, commandIn, onPath } from "./locate";

export const OLDEST_PYTHON = [3, 11] as const;
const PYTHONS = ["python3.13", "python3.12", "python3.11", "python3", "python"];

/** One command of the installation. */
export interface Step {
  readonly title: string;
  readonly command: string;
  readonly args: readonly string[];
}

/** A failure with what the user can do about it. */
export class InstallError extends Error {
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
    this.name = "InstallError";
  }
}

/** What pip is told: from a folder of wheels it fetches nothing. */
export function pipArguments(wheels: string): string[] {
  const source = wheels === "" ? [] : ["--no-index", "--find-links", wheels];
  return ["-m", "pip", "install", "--upgrade", "--disable-pip-version-check", ...source, "tersely"];
}

/** The steps that make `environment` with `python`. */
export function steps(python: string, environment: string, wheels: string, platform: NodeJS.Platform): Step[] {
  return [
    { title: "Making an environment", command: python, args: ["-m", "venv", "--clear", environment] },
    {
      title: "Installing the server",
      command: commandIn(environment, "python", platform),
      args: pipArguments(wheels),
    },
  ];
}

/** Whether `python --version` printed a version that is new enough. */
export function newEnough(printed: string): boolean {
  const found = /Python (\d+)\.(\d+)/.exec(printed);
  if (found === null) {
    return false;
  }
  const [major, minor] = [Number(found[1]), Number(found[2])];
  return major > OLDEST_PYTHON[0] || (major === OLDEST_PYTHON[0] && minor >= OLDEST_PYTHON[1]);
}

/** Run a command to its end; each line that it prints goes to `say`. Returns all of it. Rejects on a failure. */
export function run(
  command: string,
  args: readonly string[],
  say: (line: string) => void,
  onStart: (child: ChildProcess) => void = () => undefined,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    onStart(child);
    let printed = "";
    let complaint = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (printed += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaint += text;
      text.split("\n").filter((line) => line.trim() !== "").forEach(say);
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) {
        resolve(printed);
      } else {
        const last = complaint.trim().split("\n").at(-1) ?? "";
        reject(new Error(last === "" ? `${command} ended with code ${code}.` : last));
      }
    });
  });
}

/** A Python that is new enough: the user's, or the first on the PATH. */
export async function findPython(setting: string, machine: Machine): Promise<string> {
  const names = setting === "" ? PYTHONS : [];
  const candidates = [setting, ...names.map((name) => onPath([name], machine))].filter((one) => !!one) as string[];
  for (const candidate of candidates) {
    const printed = await run(candidate, ["--version"], () => undefined).catch((error: Error) => error.message);
    if (newEnough(printed)) {
      return candidate;
    }
  }
  const oldest = OLDEST_PYTHON.join(".");
  throw setting === ""
    ? new InstallError(`There is no Python ${oldest} or newer on the PATH.`, "Install one, or set tersely.server.python.")
    : new InstallError(`${setting} is no Python ${oldest} or newer.`, "Change tersely.server.python.");
}

/** Install; a failure leaves no half-made environment behind. */
export async function install(
  python: string,
  environment: string,
  wheels: string,
  machine: Machine,
  say: (line: string) => void,
  onStart: (child: ChildProcess) => void = () => undefined,
): Promise<void> {
  for (const step of steps(python, environment, wheels, machine.platform)) {
    say(step.title);
    try {
      const printed = await run(step.command, step.args, say, onStart);
      printed.split("\n").filter((line) => line.trim() !== "").forEach(say);
    } catch (error) {
      await fs.rm(environment, { recursive: true, force: true });
      const hint = wheels === "" ? "Look at the log; without a network, set tersely.server.wheels." : `Look at the log, and into ${wheels}.`;
      throw new InstallError(`${step.title} failed: ${(error as Error).message}`, hint);
    }
  }
}
