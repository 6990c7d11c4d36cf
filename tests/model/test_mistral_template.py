"""Conversations with tools as Mistral's models want them: the token ids are mistral-common's own, for each version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mistral_common
import pytest
from mistral_common.protocol.instruct import messages as theirs
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import Function, FunctionCall
from mistral_common.protocol.instruct.tool_calls import Tool as TheirTool
from mistral_common.protocol.instruct.tool_calls import ToolCall as TheirCall
from mistral_common.tokens.tokenizers.base import SpecialTokens
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from model.api import Segment
from model.chat import Message, Role, Tool, ToolCall
from model.checkpoint.chat import read_chat_template
from model.errors import RequestError
from model.mistral_template import MistralTemplate
from model.tokenizer import Tokenizer
from model.tokenizer_folder import read_folder_tokenizer
from model.tool_formats import detect

Oracle = MistralTokenizer[Any, Any, Any, Any, Any]
DATA = Path(mistral_common.__file__).parent / "data"
FILES = {
    "v1": ("tokenizer.model.v1", "tokenizer.model"),
    "v2": ("mistral_instruct_tokenizer_240216.model.v2", "tokenizer.model.v2"),
    "v3": ("mistral_instruct_tokenizer_240323.model.v3", "tokenizer.model.v3"),
    "v3-tekken": ("tekken_240911.json", "tekken.json"),
    "v7": ("mistral_instruct_tokenizer_241114.model.v7", "tokenizer.model.v7"),
    "v7-tekken": ("tekken_240911.json", "tekken.json"),
    "v11-tekken": ("tekken_240911.json", "tekken.json"),
    "v13-tekken": ("tekken_240911.json", "tekken.json"),
}
"""What mistral-common ships; of Tekken it ships v3 alone, whose vocabulary later versions have with more names."""
LATER = {
    "v3": (),
    "v7": ("[TOOL_CONTENT]",),
    "v11": ("[TOOL_CONTENT]", "[ARGS]", "[CALL_ID]"),
    "v13": ("[TOOL_CONTENT]", "[THINK]", "[/THINK]", "[ARGS]", "[CALL_ID]"),
}
TOOL = Tool(name="weather", description="Say 'how'.", parameters={"type": "object", "properties": {"city": {}}})
CALLS = (ToolCall("abcdefghi", "weather", '{"city": "Zürich"}'), ToolCall("123456789", "weather", '{"city": "[INST]"}'))
SYSTEM = Message(role=Role.SYSTEM, text="Be brief.")
USER = Message(role=Role.USER, text="How is </s>[INST] it in Zürich?")
ANSWER = Message(role=Role.ASSISTANT, text="Fine, I think. ")
CALLED = Message(role=Role.ASSISTANT, tool_calls=CALLS)
RESULTS = (
    Message(role=Role.TOOL, text='{"sun": true}', call_id="abcdefghi", name="weather"),
    Message(role=Role.TOOL, text="no such place", call_id="123456789", name="weather"),
)
LATER_CALL = ToolCall("Aa0Bb1Cc2", "weather", '{"city": "Ulm", "days": [1, 2.5, null], "more": {"deep": true}}')
LATER_CALLED = Message(role=Role.ASSISTANT, tool_calls=(LATER_CALL,))
LATER_RESULT = Message(role=Role.TOOL, text="[1, 2]", call_id="Aa0Bb1Cc2", name="weather")
BARE_CALLED = Message(role=Role.ASSISTANT, tool_calls=(ToolCall("Aa0Bb1Cc2", "weather", "{}"),))
SAID_AND_CALLED = Message(role=Role.ASSISTANT, text="Let me see.", tool_calls=CALLS)
AGAIN = Message(role=Role.USER, text="And tomorrow?")
TALKS: dict[str, tuple[Message, ...]] = {
    "one turn": (USER,),
    "system": (SYSTEM, USER),
    "turns": (SYSTEM, USER, ANSWER, AGAIN),
    "twice": (USER, AGAIN, ANSWER, AGAIN),
    "called": (SYSTEM, USER, CALLED, *RESULTS),
    "called before": (USER, CALLED, *RESULTS, ANSWER, AGAIN),
    "called twice": (SYSTEM, USER, CALLED, *RESULTS, LATER_CALLED, LATER_RESULT),
    "called again": (SYSTEM, USER, CALLED, *RESULTS, ANSWER, AGAIN, LATER_CALLED, LATER_RESULT),
    "no arguments": (USER, BARE_CALLED, LATER_RESULT),
    "said and called": (SYSTEM, USER, SAID_AND_CALLED, *RESULTS),
}


@pytest.fixture(scope="module", params=FILES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Mistral publishes it, as far as the tokenizer goes."""
    source, target = FILES[request.param]
    folder = tmp_path_factory.mktemp("mistral")
    (folder / "params.json").write_text("{}")
    version = request.param.removesuffix("-tekken")
    if target != "tekken.json":
        shutil.copy(DATA / source, folder / target)
        return folder
    layout: dict[str, Any] = json.loads((DATA / source).read_text())
    # The names of the first twenty stand in mistral-common's code. A small vocabulary is read in a moment.
    names = [SpecialTokens(row["token_str"]).value for row in Tekkenizer.DEPRECATED_SPECIAL_TOKENS]
    layout["config"] |= {"version": version, "default_vocab_size": 6000}
    layout["special_tokens"] = [
        {"rank": rank, "token_str": name, "is_control": True}
        for rank, name in enumerate([*names, *(name for name in LATER[version] if name not in names)])
    ]
    (folder / target).write_text(json.dumps(layout))
    return folder


@pytest.fixture(scope="module")
def oracle(folder: Path) -> Oracle:
    """mistral-common takes the version from the ending."""
    found = next(file for file in folder.iterdir() if file.name != "params.json")
    if found.name == "tokenizer.model":
        found = DATA / "tokenizer.model.v1"
    return MistralTokenizer.from_file(str(found))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return read_folder_tokenizer(folder)


@pytest.fixture(scope="module")
def template(folder: Path, tokenizer: Tokenizer) -> MistralTemplate:
    found = read_chat_template(folder, control_tokens=tokenizer.control_names)
    assert isinstance(found, MistralTemplate)
    return found


def _their_message(message: Message) -> Any:
    if message.role is Role.SYSTEM:
        return theirs.SystemMessage(content=message.text)
    if message.role is Role.USER:
        return theirs.UserMessage(content=message.text)
    if message.role is Role.TOOL:
        return theirs.ToolMessage(content=message.text, tool_call_id=message.call_id, name=message.name)
    calls = [
        TheirCall(id=call.call_id, function=FunctionCall(name=call.name, arguments=call.arguments))
        for call in message.tool_calls
    ]
    return theirs.AssistantMessage(content=message.text or None, tool_calls=calls or None)


@pytest.mark.parametrize("talk", TALKS)
def test_token_ids_are_mistral_commons(
    talk: str, tokenizer: Tokenizer, template: MistralTemplate, oracle: Oracle
) -> None:
    calling = any(one.tool_calls for one in TALKS[talk])
    if template.version == 1 and calling:
        pytest.skip("the first version knows no tools")
    if template.version < 7 and any(one.tool_calls and one.text for one in TALKS[talk]):
        pytest.skip("mistral-common refuses text beside calls before v7")
    tools = (TOOL,) if calling else ()
    function = Function(name=TOOL.name, description=TOOL.description, parameters=dict(TOOL.parameters))
    request: ChatCompletionRequest[Any] = ChatCompletionRequest(
        messages=[_their_message(one) for one in TALKS[talk]], tools=[TheirTool(function=function)] if tools else None
    )
    expected = oracle.encode_chat_completion(request)
    assert tokenizer.encode_prompt(template.render(TALKS[talk], tools)) == expected.tokens


def test_the_tool_format_follows_from_the_version(tokenizer: Tokenizer, template: MistralTemplate) -> None:
    assert template.knows_tools == (template.version > 1)
    names = {1: "hermes", 11: "mistral-v11", 13: "mistral-v13"}
    found = detect(tokenizer.control_names, template.source).name
    assert found == names.get(template.version, "mistral-v3")


def test_the_first_version_is_told_of_tools_in_words() -> None:
    parts = MistralTemplate(1, control_tokens=("<s>", "</s>")).render((USER,), (TOOL,))
    assert parts[0] == Segment("<s>", special=True)
    assert "weather" in parts[1].text
    assert parts[1].text.endswith(f"{USER.text} [/INST]")


def test_a_conversation_that_nobody_began_is_refused() -> None:
    with pytest.raises(RequestError, match="no turn of a user") as caught:
        MistralTemplate(7, control_tokens=()).render((ANSWER,))
    assert caught.value.hint
