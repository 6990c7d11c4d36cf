"""`python -m completion.refactor.training CORPUS OUT`: dialogues for `tersely train --dialogues OUT`.

CORPUS is the `files.jsonl` of a training corpus (`tersely corpus`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from completion.refactor.training.phrases import TRAINING
from completion.refactor.training.write import Stage, read_corpus, write_dialogues


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(prog="python -m completion.refactor.training", description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=12_000, help="dialogues")
    parser.add_argument("--wishes", type=int, default=5, help="on each scene, whose outline is then computed once")
    parser.add_argument("--files", type=int, default=4_000, help="of the corpus")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sources = read_corpus(arguments.corpus, files=arguments.files, seed=arguments.seed)
    write_dialogues(
        Stage(sources, TRAINING, seed=arguments.seed), arguments.out, count=arguments.count, wishes=arguments.wishes
    )


if __name__ == "__main__":
    main()
