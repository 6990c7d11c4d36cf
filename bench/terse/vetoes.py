"""Would a veto ever forbid what an author wrote? Every claim of every file of the held-out packages is put to it.

No model is asked: the code is real, so each veto is a false one. Beside it, the share of claims that the index could
judge at all shows how much a veto sees: of each judged name, a made-up one must be refused.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from completion.claims import Claim, ClaimKind, read_claims
from completion.context.index import Indexer
from completion.context.library import Library
from completion.context.store import Store
from completion.context.symbols import SymbolTable

_MADE_UP = "zz_no_such_name"
_KEPT_EXAMPLES = 40
_MOST_OF_A_FILE = 60


def run(roots: list[Path]) -> dict[str, Any]:
    """Counts over all packages below `roots`."""
    claims: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    false: Counter[str] = Counter()
    examples: list[str] = []
    for root in roots:
        for path, claim, table in _claims(root):
            kind = str(claim.kind.value)
            claims[kind] += 1
            ruling = table.judge(claim)
            if ruling is not None:
                false[kind] += 1
                examples.append(f"{root.name}/{path}: {ruling.reason}")
            elif claim.kind is ClaimKind.ARGUMENT:
                judged[kind] += table.judge(replace(claim, positional=claim.positional + 1000)) is not None
            else:
                judged[kind] += table.judge(replace(claim, name=_MADE_UP)) is not None
    return {
        "packages": len(roots),
        "claims": dict(claims),
        "made_up_names_refused": dict(judged),
        "false_vetoes": dict(false),
        "examples": examples[:_KEPT_EXAMPLES],
    }


def _claims(root: Path) -> Iterator[tuple[str, Claim, SymbolTable]]:
    rng = random.Random(root.name)
    with tempfile.TemporaryDirectory(prefix="tersely-bench-") as folder:
        file = Path(folder) / "index.sqlite"
        store = Store(file, writable=True)
        for _ in Indexer(root, store).reconcile():
            pass
        store.close()
        library = Library(file)
        try:
            for source in sorted(root.rglob("*.py")):
                path = source.relative_to(root).as_posix()
                if library.facts(path) is None:
                    continue
                text = library.lines(path, 1, 1_000_000)
                library.refresh()
                claims = read_claims(text, final=True)
                for claim in rng.sample(claims, min(len(claims), _MOST_OF_A_FILE)):
                    table = SymbolTable(library, path=path, text=text[: claim.end], behind=text[claim.end :])
                    yield path, claim, table
        finally:
            library.close()
