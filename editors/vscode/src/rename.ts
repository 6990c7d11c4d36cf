/** What another language server would rename, as tersely's asks for it. Knows nothing of VS Code. */

import type { Position } from "./wish";

export interface Question {
  readonly textDocument: { readonly uri: string };
  readonly position: Position;
  readonly newName: string;
}

interface TextEdit {
  readonly range: { readonly start: Position; readonly end: Position };
  readonly newText: string;
}

export interface Answer {
  readonly positionEncoding: "utf-16";
  readonly changes: readonly { readonly uri: string; readonly edits: readonly TextEdit[] }[];
}

/** The edits by file as they are sent: plain data; null where there are none. */
export function answer(files: Iterable<readonly [{ toString(): string }, readonly TextEdit[]]>): Answer | null {
  const plain = ({ line, character }: Position): Position => ({ line, character });
  const changes = Array.from(files, ([uri, edits]) => ({
    uri: uri.toString(),
    edits: edits.map(({ range, newText }) => ({
      range: { start: plain(range.start), end: plain(range.end) },
      newText,
    })),
  }));
  return changes.length === 0 ? null : { positionEncoding: "utf-16", changes };
}
