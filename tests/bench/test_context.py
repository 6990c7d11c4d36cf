"""The truth of the context bench: what a masked line uses, and where that is defined; and figures from ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_samples_are_the_same_each_time(root: Path) -> None:
    assert sample([root], per_package=2, seed=1) == sample([root], per_package=2, seed=1)
    assert len(sample([root], per_package=2, seed=1)) == 2


def test_ranks_and_figures(root: Path) -> None:
    (task,) = [task for task in Package(root).tasks() if task.name == "go"]
    places = [Place("p/b.py", 1, 99), Place("p/a.py", 1, 8), Place("p/a.py", 9, 9)]
    assert position(task, places) == 3
    assert position(task, places[:2]) is None
    assert figures([1, 4, None, 10]) == {"hit_at_1": 0.25, "hit_at_5": 0.5, "mrr": 0.3375}
