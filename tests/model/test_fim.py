"""FIM formats: the layouts that the model cards publish, and detection by vocabulary."""

from __future__ import annotations

import pytest

from model import fim
from model.api import Segment
from model.errors import RequestError

LAYOUTS = {
    "qwen": "<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    "starcoder": "<fim_prefix>P<fim_suffix>S<fim_middle>",
    "deepseek": "<｜fim▁begin｜>P<｜fim▁hole｜>S<｜fim▁end｜>",
    "seed": "<[fim-suffix]>S<[fim-prefix]>P<[fim-middle]>",
    "codellama": "▁<PRE>P▁<SUF>S▁<MID>",
    "mistral": "[SUFFIX]S[PREFIX]P",
    "tersely": "<issue_comment>S<issue_start>P",
    "parts": "<|parts_suffix|>S<|parts_prefix|>P",
}
SUFFIX_FIRST = ("seed", "mistral", "tersely", "parts")


@pytest.mark.parametrize(("family", "expected"), LAYOUTS.items())
def test_layout(family: str, expected: str) -> None:
    parts = fim.apply(family, prefix="P", suffix="S")
    assert "".join(part.text for part in parts) == expected
    assert [part.text for part in parts if not part.special] == (["S", "P"] if family in SUFFIX_FIRST else ["P", "S"])


def test_every_family_has_a_published_layout() -> None:
    assert set(LAYOUTS) == set(fim.FORMATS)


@pytest.mark.parametrize("family", LAYOUTS)
def test_detected_by_its_own_tokens_only(family: str) -> None:
    tokens = set(fim.FORMATS[family].tokens)
    # The tokens of tersely's own format are in every SmolLM2: there the adapter names the family.
    by_vocabulary = family not in ("tersely", "parts")
    assert fim.detect(tokens | {"def", "<s>"}) == (family if by_vocabulary else "none")
    assert fim.detect(tokens - {fim.FORMATS[family].suffix}) == "none"


def test_head_goes_first_and_empty_texts_vanish() -> None:
    head = (Segment("<|file_sep|>", special=True), Segment("a.py\n"))
    parts = fim.apply("qwen", prefix="", suffix="S", head=head)
    assert [part.text for part in parts] == [
        "<|file_sep|>",
        "a.py\n",
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "S",
        "<|fim_middle|>",
    ]


def test_unknown_family_is_refused_with_a_way_out() -> None:
    with pytest.raises(RequestError, match="not trained to fill in the middle") as caught:
        fim.apply("none", prefix="P", suffix="S")
    assert "Codestral" in caught.value.hint
