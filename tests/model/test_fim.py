"""FIM formats: the layouts that the model cards publish, and detection by vocabulary."""

from __future__ import annotations

import pytest

from model import fim
from model.api import Segment
from model.errors import RequestError

LAYOUTS = {
    "qwen": "<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    "granite4": "<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    "codegemma": "<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    "starcoder2": "<fim_prefix>P<fim_suffix>S<fim_middle>",
    "mellum": "<fim_suffix>S<fim_prefix>P<fim_middle>",
    "granite": "<fim_prefix>P<fim_suffix>S<fim_middle>",
    "starcoder": "<fim_prefix>P<fim_suffix>S<fim_middle>",
    "deepseek": "<｜fim▁begin｜>P<｜fim▁hole｜>S<｜fim▁end｜>",
    "seed": "<[fim-suffix]>S<[fim-prefix]>P<[fim-middle]>",
    "codellama": "▁<PRE>P▁<SUF>S▁<MID>",
    "mistral": "[SUFFIX]S[PREFIX]P",
    "tersely": "<issue_comment>S<issue_start>P",
    "parts": "<|parts_suffix|>S<|parts_prefix|>P",
}
SUFFIX_FIRST = ("mellum", "seed", "mistral", "tersely", "parts")


@pytest.mark.parametrize(("family", "expected"), LAYOUTS.items())
def test_layout(family: str, expected: str) -> None:
    parts = fim.apply(family, prefix="P", suffix="S")
    assert "".join(part.text for part in parts) == expected
    assert [part.text for part in parts if not part.special] == (["S", "P"] if family in SUFFIX_FIRST else ["P", "S"])


def test_every_family_has_a_published_layout() -> None:
    assert set(LAYOUTS) == set(fim.FORMATS)


@pytest.mark.parametrize("family", LAYOUTS)
def test_detected_by_its_own_tokens_only(family: str) -> None:
    tokens = set(fim.FORMATS[family].marks)
    # The tokens of tersely's own format are in every SmolLM2: there the adapter names the family.
    by_vocabulary = family not in ("tersely", "parts")
    assert fim.detect(tokens | {"def", "<s>"}) == (family if by_vocabulary else "none")
    assert fim.detect(tokens - {fim.FORMATS[family].suffix}) == "none"


SEVERAL = {
    "qwen": "<|file_sep|>b.py\nB\n<|file_sep|>a.py\n<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    "granite4": "<|filename|>b.py\nB\n<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    "starcoder2": "<file_sep>b.py\nB\n<fim_prefix>P<fim_suffix>S<fim_middle>",
    "mellum": "<filename>b.py\nB\n<filename>a.py\n<fim_suffix>S<fim_prefix>P<fim_middle>",
    "granite": "<filename>b.py\nB\n<fim_prefix>P<fim_suffix>S<fim_middle>",
    "deepseek": "<｜fim▁begin｜>#b.py\nB\n#a.py\nP<｜fim▁hole｜>S<｜fim▁end｜>",
    "mistral": "[SUFFIX]S[PREFIX]+++++ b.py\nB\n+++++ a.py\nP",
    "tersely": "<file_sep>b.py\nB\n<issue_comment>S<issue_start>a.py\nP",
    "parts": "<|parts_file|>b.py\nB\n<|parts_suffix|>S<|parts_prefix|>a.py\nP",
}


@pytest.mark.parametrize("family", LAYOUTS)
def test_files_beside_the_one_with_the_hole(family: str) -> None:
    """Of the family's own tokens alone: a vocabulary that the family is found by can spell every prompt of it."""
    row = fim.FORMATS[family]
    parts = fim.render(family, prefix="P", suffix="S", path="a.py", snippets=(fim.Snippet("b.py", "B"),))
    found = "".join(part.text for part in parts)
    assert row.takes_files == (family in SEVERAL)
    assert found == SEVERAL.get(family, LAYOUTS[family])
    assert {part.text for part in parts if part.special} <= set(row.marks)


@pytest.mark.parametrize("family", SEVERAL)
def test_one_file_alone_needs_no_header(family: str) -> None:
    parts = fim.render(family, prefix="P", suffix="S", path="a.py")
    expected = LAYOUTS[family].replace("P", "a.py\nP") if family in ("tersely", "parts") else LAYOUTS[family]
    assert "".join(part.text for part in parts) == expected


VOCABULARIES = {
    "qwen": {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>", "<|repo_name|>"},
    "granite4": {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|filename|>", "<|reponame|>"},
    "codegemma": {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_separator|>"},
    "starcoder2": {"<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<file_sep>", "<repo_name>"},
    "mellum": {
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
        "<filename>",
        "<reponame>",
        "<assistant>",
        "</assistant>",
    },
    "granite": {"<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<filename>", "<reponame>"},
    "starcoder": {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
}


@pytest.mark.parametrize("family", VOCABULARIES)
def test_families_that_share_tokens_are_told_apart_by_what_separates_files(family: str) -> None:
    assert fim.detect(VOCABULARIES[family]) == family


@pytest.mark.parametrize(
    ("family", "closing"),
    [
        ("qwen", {"<|endoftext|>", "<|fim_pad|>", "<|file_sep|>", "<|repo_name|>"}),
        ("granite", {"<|endoftext|>", "<|end_of_text|>", "<fim_pad>", "<filename>", "<reponame>"}),
        ("mistral", {"</s>"}),
        ("tersely", {"<|endoftext|>"}),  # as it was taught
    ],
)
def test_the_middle_ends_where_another_file_begins(family: str, closing: set[str]) -> None:
    assert set(fim.FORMATS[family].closing) == closing


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
