"""Conversations that have everything, a tokenizer as HF publishes one, and what transformers makes of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import AddedToken, models, pre_tokenizers
from tokenizers import Tokenizer as Bpe
from transformers import PreTrainedTokenizerFast

from model.chat import Message, Role, Tool, ToolCall
from model.chat_json import message_json, tool_json
from tests.model.chat_templates import Family

TOOLS = (
    Tool(
        name="weather",
        description="Tells the 'weather' & more.",
        parameters={
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Where, as in “Zürich”"},
                "days": {"type": "array", "items": {"type": "integer"}},
                "unit": {"type": "string", "enum": ["C", "F"]},
            },
            "required": ["city"],
        },
    ),
    Tool(name="now", description="The time.", parameters={"type": "object", "properties": {}}),
)
SYSTEM = Message(role=Role.SYSTEM, text="Be brief.\n")
USER = Message(role=Role.USER, text="  How is it in Zürich? <b>\n")
ANSWER = Message(role=Role.ASSISTANT, text="Fine.\n\n    indented 🎉 ")
AGAIN = Message(role=Role.USER, text="def f():\n\treturn")
ONE = (ToolCall("abcdefghi", "weather", '{"city": "Zürich", "days": [1, 2]}'),)
TWO = (*ONE, ToolCall("123456789", "now", "{}"))
RESULTS = (
    Message(role=Role.TOOL, text='{"sun": true}', call_id="abcdefghi", name="weather"),
    Message(role=Role.TOOL, text="12:00", call_id="123456789", name="now"),
)
CALLED_ONE = Message(role=Role.ASSISTANT, tool_calls=ONE)
CALLED_TWO = Message(role=Role.ASSISTANT, tool_calls=TWO)
TALKS: dict[str, tuple[Message, ...]] = {
    "one turn": (USER,),
    "system": (SYSTEM, USER),
    "turns": (SYSTEM, USER, ANSWER, AGAIN),
    "without system": (USER, ANSWER, AGAIN, ANSWER, USER),
    "tools, not called": (SYSTEM, USER),
    "one call": (USER, CALLED_ONE, RESULTS[0]),
    "two calls": (SYSTEM, USER, CALLED_TWO, *RESULTS),
    "calls before": (USER, CALLED_ONE, RESULTS[0], ANSWER, AGAIN),
}
WITH_TOOLS = ("tools, not called", "one call", "two calls", "calls before")


def write_tokenizer(folder: Path, family: Family) -> Path:
    """A tokenizer as HF publishes one: bytes, some pairs, and the family's control tokens, which nothing spells."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [
        ("Ġ", "t"),
        ("h", "e"),
        ("Ġt", "he"),
        ("Ġ", "Ġ"),
        ("Ċ", "Ċ"),
        ("i", "n"),
        ("u", "s"),
        ("us", "e"),
        (":", "Ġ"),
    ]
    names = [*letters, *("".join(pair) for pair in pairs)]
    bpe = Bpe(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=pairs))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in family.tokens])
    bpe.save(str(folder / "tokenizer.json"))
    config = {"chat_template": family.source, "bos_token": family.bos or None, "eos_token": family.eos}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def transformers_ids(
    folder: Path, family: Family, talk: tuple[Message, ...], tools: tuple[Tool, ...]
) -> list[int] | None:
    """None: the template refuses."""
    given = {"bos_token": family.bos or None, "eos_token": family.eos, "chat_template": family.source}
    oracle: Any = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **given)
    for parsed in (True, False):
        asked = [message_json(one, parsed=parsed and not family.text_arguments) for one in talk]
        functions = [tool_json(tool) for tool in tools] or None
        try:
            found: list[int] = oracle.apply_chat_template(
                asked, tools=functions, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        except TemplateError:
            return None
        except TypeError:  # it wants the arguments as text
            continue
        return found
    return None
