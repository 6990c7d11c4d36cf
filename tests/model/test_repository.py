"""Pulling `owner/name` by the real huggingface_hub from a hub on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from model import hub, hub_files, repository
from model.errors import (
    DiskFullError,
    HashMismatchError,
    ModelMissingError,
    OfflineError,
    PullError,
    TerselyError,
    UnknownModelError,
)
from model.hub import PullProgress
from tests.model import fake_hub
from tests.model.fake_hub import FakeHub, serving
from tests.model.gguf_format import write_gguf
from tests.model.test_open_model import write_tokenizer
from tests.model.tiny_hf import CASES, write_hf

NAME = "tiny-org/tiny-1.5"
NEEDED = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "README.md"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with all that lies beside one on a hub."""
    folder = write_tokenizer(write_hf(tmp_path_factory.mktemp("hub") / "tiny", CASES["mixtral"]))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    for name in (".gitattributes", "pytorch_model.bin", "onnx/model.onnx", "consolidated.safetensors", "extra.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("not needed")
    return folder


@pytest.fixture
def fake(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("TERSELY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TERSELY_OFFLINE", raising=False)
    monkeypatch.setattr(hub_files, "_BLOCK_BYTES", 32_768)
    monkeypatch.setattr(hub_files, "_PAUSE_S", 0.01)
    with serving(FakeHub({NAME: published})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


def _refused(error: type[TerselyError], match: str, name: str = NAME) -> None:
    with pytest.raises(error, match=match) as caught:
        hub.pull(name)
    assert caught.value.hint


def test_what_is_needed_is_fetched_and_opens(fake: FakeHub, published: Path) -> None:
    steps: list[PullProgress] = []
    path = hub.pull(NAME, progress=steps.append)
    assert fake.fetched() == NEEDED
    assert (path / "model.safetensors").read_bytes() == (published / "model.safetensors").read_bytes()
    assert steps[-1].step == "checking"
    assert all(step.fraction == 1 for step in (steps[-1], [one for one in steps if one.step == "downloading"][-1]))
    assert hub.resolve(NAME) == path
    details = hub.show(NAME)
    assert (details.architecture, details.fim_family, details.license) == ("mixtral", "starcoder", "mit")


def test_what_is_there_is_not_fetched_again(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hub.pull(NAME)
    fake.requests.clear()
    monkeypatch.setenv("TERSELY_OFFLINE", "1")
    assert hub.pull(NAME) == hub.resolve(NAME) == path
    assert not fake.requests
    (path / "tokenizer.json").unlink()
    with pytest.raises(ModelMissingError, match="not all of it") as caught:
        hub.resolve(NAME)
    assert f"tersely model pull {NAME}" in caught.value.hint


def test_an_interrupted_pull_goes_on_where_it_stopped(fake: FakeHub) -> None:
    def stop(step: PullProgress) -> None:
        if step.step == "downloading" and step.fraction > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.pull(NAME, progress=stop)
    with pytest.raises(ModelMissingError):
        hub.resolve(NAME)
    fake.requests.clear()
    path = hub.pull(NAME)
    ranges = [span for method, name, span in fake.requests if method == "GET" and name.endswith("model.safetensors")]
    assert len(ranges) == 1
    assert int(ranges[0].removeprefix("bytes=").split("-")[0]) > 100_000
    assert "config.json" not in fake.fetched()
    assert hub.show(NAME).path == path


def test_a_connection_that_breaks_is_taken_up_again(fake: FakeHub, published: Path) -> None:
    fake.breaks = 3
    path = hub.pull(NAME)
    assert (path / "model.safetensors").read_bytes() == (published / "model.safetensors").read_bytes()
    spans = [span for method, name, span in fake.requests if method == "GET" and name.endswith("model.safetensors")]
    assert len(spans) == 4
    fake.breaks = 1000
    fake.repositories["o/n"] = published
    _refused(PullError, "could not be fetched", "o/n")
    assert len(fake.requests) < 50


def test_a_newer_state_does_not_mix_with_an_older_one(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hub.pull(NAME)
    (path / "model.safetensors").unlink()
    (path / "stale.txt").write_text("of the older state")
    monkeypatch.setattr(fake_hub, "COMMIT", "f" * 40)
    assert hub.pull(NAME) == path
    assert not (path / "stale.txt").exists()


def test_a_file_that_is_not_what_was_published_is_thrown_away(fake: FakeHub) -> None:
    fake.lies.add("model.safetensors")
    _refused(HashMismatchError, r"model\.safetensors arrived with")
    with pytest.raises(ModelMissingError):
        hub.resolve(NAME)
    fake.lies.clear()
    hub.pull(NAME)


def test_a_listing_cannot_name_files_elsewhere(fake: FakeHub, tmp_path: Path) -> None:
    fake.strangers = ("LICENSE/../../../../../stolen", "tokenizer.model/../../x", "LICENSE\\..\\x", ".parts/LICENSE")
    path = hub.pull(NAME)
    assert fake.fetched() == NEEDED
    assert not (tmp_path / "stolen").exists()
    assert sorted(file.name for file in path.iterdir()) == sorted({*NEEDED, ".tersely.json"})


def test_a_file_that_never_ends_does_not_fill_the_disk(fake: FakeHub) -> None:
    fake.endless = True
    most = 0

    def told(step: PullProgress) -> None:
        nonlocal most
        most = max(most, step.done_bytes - step.total_bytes)

    with pytest.raises(PullError, match="arrived longer than it is published"):
        hub.pull(NAME, progress=told)
    assert 0 < most <= 2 * hub_files._BLOCK_BYTES
    fake.endless = False
    hub.pull(NAME)


def test_what_cannot_be_fetched_is_refused_with_what_to_do(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    _refused(UnknownModelError, "has no model tiny-org/other", "tiny-org/other")
    fake.gated.add(NAME)
    _refused(PullError, "is gated")
    monkeypatch.setenv("TERSELY_OFFLINE", "1")
    _refused(OfflineError, "TERSELY_OFFLINE forbids")
    monkeypatch.delenv("TERSELY_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    _refused(OfflineError, "HF_HUB_OFFLINE forbids")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(repository, "_SPARE_BYTES", 1 << 60)
    _refused(DiskFullError, "GB more")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    _refused(PullError, "could not be fetched from http://127.0.0.1:9")


def _choose(*files: str, file: str | None = None) -> list[str]:
    return repository.choose(repository.Repository("o/n", file, None), dict.fromkeys(files, 1))


def test_weights_are_chosen_by_layout() -> None:
    shards = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json")
    assert set(_choose("config.json", *shards, "consolidated.safetensors")) == {"config.json", *shards}
    mistral = ("params.json", "consolidated.safetensors", "tekken.json")
    assert set(_choose(*mistral, "consolidated.00.pth")) == set(mistral)
    assert set(_choose("params.json", "consolidated.00.pth")) == {"params.json", "consolidated.00.pth"}
    assert _choose("README.md", "tiny-Q4_K_M.gguf") == ["tiny-Q4_K_M.gguf"]
    assert _choose("a.gguf", "b/c.gguf", file="b/c.gguf") == ["b/c.gguf"]
    parts = [f"b/c-0000{number}-of-00002.gguf" for number in (1, 2)]
    assert _choose("README.md", *parts) == parts
    assert _choose("a.gguf", *parts, file=parts[1]) == parts


@pytest.mark.parametrize(
    ("files", "file", "match"),
    [
        (("a.gguf", "b.gguf"), None, "2 GGUF files: a.gguf, b.gguf"),
        (("a.gguf",), "b.gguf", "no file b.gguf"),
        (("a-00001-of-00002.gguf",), None, "1 GGUF files: a-00001-of-00002.gguf"),
        (("a-00001-of-00002.gguf",), "a-00001-of-00002.gguf", "has not all parts of a-00001-of-00002.gguf"),
        (("config.json", "pytorch_model.bin"), None, "no weights that tersely reads"),
        (("config.json", "model.safetensors.index.json"), None, "no weights that tersely reads"),
    ],
)
def test_what_cannot_be_chosen_is_refused(files: tuple[str, ...], file: str | None, match: str) -> None:
    with pytest.raises(PullError, match=match) as caught:
        _choose(*files, file=file)
    assert caught.value.hint


def test_a_model_in_several_files_is_pulled_whole(fake: FakeHub, tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", CASES["llama-2"])
    folder = tmp_path / "ggufs"
    folder.mkdir()
    first = write_gguf(source, folder / "tiny.gguf", part_tensors=12)
    names = {path.name for path in folder.iterdir()}
    assert len(names) == 3
    fake.repositories["o/parts"] = folder
    path = hub.pull(f"o/parts/{max(names)}")
    assert (path.name, fake.fetched()) == (first.name, names)
    assert hub.show("o/parts").size_bytes == sum(part.stat().st_size for part in folder.iterdir())
    assert hub.resolve("o/parts") == hub.resolve(f"o/parts/{first.name}") == path
    path.with_name(max(names)).unlink()
    with pytest.raises(ModelMissingError):
        hub.resolve("o/parts")


def test_one_file_of_many_is_pulled_by_its_name(fake: FakeHub, tmp_path: Path, tiny_path: Path) -> None:
    folder = tmp_path / "ggufs"
    folder.mkdir()
    for name in ("a.gguf", "b.gguf"):
        (folder / name).write_bytes(tiny_path.read_bytes())
    fake.repositories["o/many"] = folder
    path = hub.pull("o/many/b.gguf")
    assert (path.name, fake.fetched()) == ("b.gguf", {"b.gguf"})
    assert hub.show("o/many/b.gguf").architecture == "llama"
    assert hub.pull("o/many/a.gguf").parent == path.parent
    assert hub.resolve("o/many/b.gguf") == path
    _refused(PullError, "2 GGUF files", "o/many")


@pytest.mark.parametrize(
    "text", ["", "name", "a/b/c", "../a", "a/..", "a/b c", "http://a/b", "/a/b", "a/b/../c.gguf", "C:\\m"]
)
def test_other_words_are_no_repositories(text: str) -> None:
    assert repository.parse(text) is None


def test_a_repository_is_read_with_file_and_revision() -> None:
    found = repository.parse("o/n.x/q/f.gguf@v1.0/a")
    assert found == repository.Repository("o/n.x", "q/f.gguf", "v1.0/a")
    assert found is not None
    assert found.address == "o/n.x/q/f.gguf@v1.0/a"
    assert found.folder.name == "o--n.x@v1.0-a"
