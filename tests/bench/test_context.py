"""The truth of the context bench: what a masked line uses, and where that is defined; and figures from ranks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.context.bm25 import Bm25
from bench.context.quality import Place, figures, position
from bench.context.tasks import Package, sample

FILES = {
    "p/__init__.py": "from .a import made as renamed\n",
    "p/a.py": "LIMIT = 3\n\n\ndef made():\n    return LIMIT\n\n\nclass Base:\n    def go(self):\n        return 1\n",
    "p/b.py": (
        "from p import renamed\nfrom . import a\nfrom .a import Base\n\n\n"
        "class Own(Base):\n    def run(self):\n        self.go()\n        return a.LIMIT\n\n\nx = renamed()\n"
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_what_a_line_uses_is_traced_to_its_definition(root: Path) -> None:
    tasks = {(task.path, task.name, task.kind): task for task in Package(root).tasks()}
    assert {key: (task.gold_path, task.gold_line) for key, task in tasks.items()} == {
        ("p/b.py", "Base", "name"): ("p/a.py", 8),
        ("p/b.py", "renamed", "name"): ("p/a.py", 4),
        ("p/b.py", "LIMIT", "module"): ("p/a.py", 1),
        ("p/b.py", "go", "inherited"): ("p/a.py", 9),
    }
    masked = tasks["p/b.py", "go", "inherited"]
    assert masked.text == FILES["p/b.py"].replace("self.go()", "")
    assert masked.text[: masked.offset].endswith("def run(self):\n        ")


def test_bm25_ranks_by_rare_words_and_counts_them() -> None:
    documents = [["red", "the"], ["blue", "the", "the"], ["blue", "blue", "the"]]
    bm25 = Bm25(documents)
    assert bm25.best({"blue": 1}, limit=9) == [2, 1]
    assert bm25.best({"red": 1, "blue": 1}, limit=1) == [0]
    assert bm25.scores({"blue": 2})[1] == pytest.approx(2 * bm25.scores({"blue": 1})[1])
    # By hand: idf = ln(1 + (3 - 1 + 0.5) / (1 + 0.5)), length 2 of 8/3 in the mean.
    by_hand = math.log(1 + 2.5 / 1.5) * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / (8 / 3)))
    assert bm25.scores({"red": 1})[0] == pytest.approx(by_hand)


def test_samples_are_the_same_each_time(root: Path) -> None:
    assert sample([root], per_package=2, seed=1) == sample([root], per_package=2, seed=1)
    assert len(sample([root], per_package=2, seed=1)) == 2


def test_ranks_and_figures(root: Path) -> None:
    (task,) = [task for task in Package(root).tasks() if task.name == "go"]
    go = "    def go(self):"
    places = [Place("p/b.py", 1, 99, go), Place("p/a.py", 1, 8, go), Place("p/a.py", 8, 10, "class Base:")]
    assert position(task, places) is None, "the wrong file, the wrong lines, and lines that are not shown"
    assert position(task, [*places, Place("p/a.py", 9, 9, go)]) == 4
    assert figures([1, 4, None, 10]) == {"hit_at_1": 0.25, "hit_at_5": 0.5, "mrr": 0.3375}
