"""Fits the ranking's weights: a softmax over the candidates of each task, on packages that are in no evaluation.

`python -m bench.context.fit ROOT…` prints a table for `completion/context/rank.py`. Each root is a folder with one
package. What the retriever does not find at all is passed over. Weights that masked imports cannot teach stay
as they are.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from bench.context.quality import build
from bench.context.tasks import Task, sample
from completion.api import CompletionRequest
from completion.context.library import Library
from completion.context.rank import BY_HAND, WEIGHTS, features
from completion.context.retriever import Retriever

_DECAY = 1e-3
_STEPS = 1200
_RATE = 0.05
List = tuple[np.ndarray, np.ndarray, int]
"""The features of a task's candidates, what the weights that stay say of each, and which of them is the one."""


def lists(tasks: list[Task], names: list[str], folder: Path) -> list[List]:
    """For each task that has its definition among the candidates, what ranking sees."""
    made: list[List] = []
    libraries: dict[str, Library] = {}
    for task in tasks:
        if task.root not in libraries:
            file = folder / f"{Path(task.root).name}.sqlite"
            build(Path(task.root), file)
            libraries[task.root] = Library(file)
        library = libraries[task.root]
        retriever = Retriever(library, time_limit_ms=None)
        library.put(task.path, task.text, "python")
        site, candidates = retriever.gather(
            CompletionRequest(text=task.text, offset=task.offset, path=task.path, root=task.root)
        )
        library.forget(task.path)
        candidates = [one for one in candidates if one.definition is not None]
        rows = [features(one, site) for one in candidates]
        holding = [
            (one.last_line - one.first_line, index)
            for index, one in enumerate(candidates)
            if one.path == task.gold_path and one.first_line <= task.gold_line <= one.last_line
        ]
        if holding:
            matrix = np.array([[row.get(name, 0.0) for name in names] for row in rows])
            given = np.array([sum(WEIGHTS[name] * row.get(name, 0.0) for name in BY_HAND) for row in rows])
            made.append((matrix, given, min(holding)[1]))
    return made


def fit(examples: list[List], count: int) -> np.ndarray:
    """Weights that make the wanted candidates likely, by Adam on the mean cross-entropy with weight decay."""
    weights, first, second = np.zeros(count), np.zeros(count), np.zeros(count)
    rows = np.concatenate([matrix for matrix, _, _ in examples])
    given = np.concatenate([scores for _, scores, _ in examples])
    starts = np.cumsum([0, *(len(matrix) for matrix, _, _ in examples)])
    groups = np.repeat(np.arange(len(examples)), np.diff(starts))
    wanted = rows[starts[:-1] + np.array([gold for _, _, gold in examples])].mean(axis=0)
    for step in range(1, _STEPS + 1):
        scores = rows @ weights + given
        scores = np.exp(scores - np.maximum.reduceat(scores, starts[:-1])[groups])
        chances = scores / np.add.reduceat(scores, starts[:-1])[groups]
        gradient = chances @ rows / len(examples) - wanted + _DECAY * weights
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        weights -= _RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return weights


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("roots", nargs="+", type=Path)
    parser.add_argument("--per-package", type=int, default=60)
    arguments = parser.parse_args()
    tasks = sample(arguments.roots, per_package=arguments.per_package, seed=2)
    names = [name for name in WEIGHTS if name not in BY_HAND]
    with tempfile.TemporaryDirectory() as folder:
        weights = fit(lists(tasks, names, Path(folder)), len(names))
    for name, weight in zip(names, weights, strict=True):
        print(f'        "{name}": {weight:.2f},')


if __name__ == "__main__":
    main()
