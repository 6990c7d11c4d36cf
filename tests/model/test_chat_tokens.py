"""Conversations as token ids: ours equal transformers' `apply_chat_template`, family by family, tools included.

Here are templates of our own, in the shape of each family's; `test_published_files` has those that families publish.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from model.checkpoint.chat import read_chat_template
from model.errors import RequestError
from model.tokenizer_folder import read_folder_tokenizer
from tests.model.chat_oracle import TALKS, TOOLS, WITH_TOOLS, transformers_ids, write_tokenizer
from tests.model.chat_templates import FAMILIES, Family


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def folder(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"), family)


@pytest.mark.parametrize("talk", TALKS)
def test_token_ids_are_transformers(talk: str, family: Family, folder: Path) -> None:
    tools = TOOLS if talk in WITH_TOOLS else ()
    if tools and "tools" not in family.source:
        pytest.skip("it knows no tools, and is told of them in words")
    if family.one_call and talk == "two calls":
        pytest.skip("it makes one call at a time")
    tokenizer = read_folder_tokenizer(folder)
    template = read_chat_template(folder, control_tokens=tokenizer.control_names)
    expected = transformers_ids(folder, family, TALKS[talk], tools)
    if expected is None:
        with pytest.raises(RequestError) as caught:
            template.render(TALKS[talk], tools)
        assert caught.value.hint
        return
    assert len(expected) > 20
    assert tokenizer.encode_prompt(template.render(TALKS[talk], tools)) == expected
