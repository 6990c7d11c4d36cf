/** A wish in words: what the server is asked, and what its report is to the user. Knows nothing of VS Code. */

export interface Position {
  readonly line: number;
  readonly character: number;
}

export interface Wish {
  readonly uri: string;
  readonly wish: string;
  readonly range?: { readonly start: Position; readonly end: Position };
}

/** What came of a wish, as far as it is told here. */
export interface Report {
  readonly applied: boolean;
  readonly status: "changed" | "declined" | "failed";
  readonly changed: readonly string[];
  readonly notes: readonly string[];
}

/** Why nothing can be wished for a document: its files are changed, so they must be on a disk; undefined where it can. */
export function refused(scheme: string): string | undefined {
  return scheme === "file" ? undefined : `This text is no file on a disk (${scheme}), and only those are refactored.`;
}

/** What the server is asked. Nothing selected means the file; undefined where nothing was wished. */
export function asked(uri: string, given: string | undefined, start: Position, end: Position): Wish | undefined {
  const wish = given?.trim() ?? "";
  if (wish === "") {
    return undefined;
  }
  if (start.line === end.line && start.character === end.character) {
    return { uri, wish };
  }
  const plain = ({ line, character }: Position): Position => ({ line, character });
  return { uri, wish, range: { start: plain(start), end: plain(end) } };
}

/** What the user is told; undefined where it is seen, or where the server has said why it refused. */
export function told({ applied, status, changed, notes }: Report): string | undefined {
  if (status !== "changed") {
    return undefined;
  }
  if (!applied) {
    return "Nothing was changed.";
  }
  const files = changed.length > 1 ? [`Changed ${changed.join(", ")}.`] : [];
  const said = [...files, ...notes].join(" ");
  return said === "" ? undefined : said;
}
