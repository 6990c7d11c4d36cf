/** Where the server is: the user's path, the environment that this extension made, or the PATH, in that order. */

import * as path from "node:path";

export interface Machine {
  readonly platform: NodeJS.Platform;
  readonly pathVariable: string;
  /** Whether a file is there that can be run. */
  readonly runnable: (file: string) => boolean;
}

export type Found =
  | { readonly kind: "found"; readonly command: string; readonly by: "setting" | "environment" | "path" }
  | { readonly kind: "wrong-setting"; readonly command: string }
  | { readonly kind: "missing" };

/** The folder of an environment's commands. */
export function commandsFolder(environment: string, platform: NodeJS.Platform): string {
  return platform === "win32" ? path.win32.join(environment, "Scripts") : path.posix.join(environment, "bin");
}

/** A command in an environment. */
export function commandIn(environment: string, name: string, platform: NodeJS.Platform): string {
  const pathOf = platform === "win32" ? path.win32 : path.posix;
  return pathOf.join(commandsFolder(environment, platform), platform === "win32" ? `${name}.exe` : name);
}

/** The first of `names` on the PATH. */
export function onPath(names: readonly string[], machine: Machine): string | undefined {
  const windows = machine.platform === "win32";
  const pathOf = windows ? path.win32 : path.posix;
  const folders = machine.pathVariable.split(windows ? ";" : ":").filter((folder) => pathOf.isAbsolute(folder));
  for (const name of names) {
    for (const folder of folders) {
      const file = pathOf.join(folder, windows ? `${name}.exe` : name);
      if (machine.runnable(file)) {
        return file;
      }
    }
  }
  return undefined;
}

/** Find the server. A path that the user gave is never replaced by another in silence. */
export function locate(setting: string, environment: string, machine: Machine): Found {
  if (setting !== "") {
    return machine.runnable(setting)
      ? { kind: "found", command: setting, by: "setting" }
      : { kind: "wrong-setting", command: setting };
  }
  const own = commandIn(environment, "tersely", machine.platform);
  if (machine.runnable(own)) {
    return { kind: "found", command: own, by: "environment" };
  }
  const onThePath = onPath(["tersely"], machine);
  return onThePath === undefined ? { kind: "missing" } : { kind: "found", command: onThePath, by: "path" };
}
