"""llama.cpp's `/infill`: its request as llama.vim and llama.vscode send it, and the fields that they read.

Knows no HTTP. Source: llama.cpp's server README, "POST /infill"; the clients' own requests.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from model import fim
from model.api import Chunk, EngineTimings, FinishReason, GenerateRequest, SamplingParams, Segment, Usage
from model.service.fields import Fields
from model.service.reply import Json, merged
from model.service.request import read_stops

_UNLIMITED_TOKENS = 512
"""What a negative `n_predict`, or none, means here."""
_NONE: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InfillCall:
    """What a client asked for. `line` is what stands before the cursor on its line (llama.cpp's `prompt`)."""

    prefix: str
    suffix: str
    line: str
    extra: tuple[fim.Snippet, ...]
    sampling: SamplingParams
    warm_only: bool
    """`n_predict` 0: read the prompt, so that it lies in the cache, and generate nothing."""
    stream: bool
    least_indent: int
    """Generation ends before a line that is indented less (`n_indent`)."""
    predict_ms: float | None
    """Generation ends after this long, once it has a line end (`t_max_predict_ms`)."""
    response_fields: tuple[str, ...]

    def generate_request(self, *, fim_family: str) -> GenerateRequest:
        """The request in the engine's terms. A model that was not trained to fill in continues the prefix."""
        row = fim.FORMATS.get(fim_family)
        # Behind a middle token, the line may begin the middle: then what is typed is appended at the prompt's end.
        begins_middle = row is not None and row.middle is not None
        prefix = self.prefix if begins_middle else self.prefix + self.line
        prompt = fim.render(fim_family, prefix=prefix, suffix=self.suffix, snippets=self.extra)
        if begins_middle and self.line:
            prompt = (*prompt, Segment(self.line))
        return GenerateRequest(prompt=prompt, sampling=self.sampling)


def parse_infill(body: object) -> InfillCall:
    """Read a request body; what only steers llama.cpp's own caches and samplers is ignored. Raises `RequestError`.

    Without a `temperature` the likeliest text is taken.
    """
    fields = Fields(body)
    wanted = fields.integer("n_predict", -1, least=-2)
    seed = fields.integer("seed", -1, least=-1)
    time_ms = fields.number("t_max_predict_ms", 0.0, least=-1.0, most=1e9)
    call = InfillCall(
        prefix=fields.text("input_prefix") or "",
        suffix=fields.text("input_suffix") or "",
        line=fields.text("prompt") or "",
        extra=fields.parsed("input_extra", _extra, default=()),
        sampling=SamplingParams(
            max_tokens=max(1, wanted) if wanted >= 0 else _UNLIMITED_TOKENS,
            temperature=fields.number("temperature", 0.0, least=0.0, most=100.0),
            top_p=fields.number("top_p", 1.0, least=0.0, most=1.0),
            top_k=max(0, fields.integer("top_k", 0, least=-1)),
            seed=None if seed < 0 else seed,
            stop=fields.parsed("stop", read_stops, default=_NONE),
            ignore_eos=fields.flag("ignore_eos"),
        ),
        warm_only=wanted == 0,
        stream=fields.flag("stream"),
        least_indent=fields.integer("n_indent", 0, least=0),
        predict_ms=time_ms if time_ms > 0 else None,
        response_fields=fields.parsed("response_fields", _names, default=_NONE),
    )
    fields.check()
    return call


def _extra(value: object) -> tuple[fim.Snippet, ...]:
    if not isinstance(value, list):
        raise ValueError("must be a list of objects with `text` and `filename`")
    found: list[fim.Snippet] = []
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("text"), str):
            raise ValueError("must be a list of objects, each with a `text`")
        name = item.get("filename")
        found.append(fim.Snippet(path=name if isinstance(name, str) else "tmp", text=item["text"]))
    return tuple(found)


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be a list of strings")
    return tuple(value)


async def within(call: InfillCall, chunks: AsyncIterator[Chunk]) -> AsyncGenerator[Chunk, None]:
    """The chunks until the call's own limits end them; then the rest is cancelled, and the last chunk made here."""
    text, sent, began_s = "", 0, None
    usage, timings = Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=0), EngineTimings()
    try:
        async for chunk in chunks:
            usage, timings = chunk.usage or usage, chunk.timings or timings
            if call.warm_only:
                if chunk.finish_reason is not None:
                    yield replace(chunk, text="", logprobs=())
                continue
            began_s = time.perf_counter() if began_s is None else began_s
            text += chunk.text
            end = _outdented(text, call.least_indent)
            if end is not None:
                yield Chunk(text=text[sent:end])
                yield Chunk(finish_reason=FinishReason.STOP, usage=usage, timings=timings)
                return
            # Blanks at the end may belong to a line that is indented less.
            held = call.least_indent > 0 and chunk.finish_reason is None
            start, sent = sent, max(sent, len(text.rstrip())) if held else len(text)
            yield replace(chunk, text=text[start:sent])
            late = call.predict_ms is not None and (time.perf_counter() - began_s) * 1000 > call.predict_ms
            if late and "\n" in text and chunk.finish_reason is None:
                yield Chunk(finish_reason=FinishReason.LENGTH, usage=usage, timings=timings)
                return
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _outdented(text: str, least: int) -> int | None:
    """Where the first line end stands whose line is indented less than `least`; None while there is none."""
    place = text.find("\n") if least else -1
    while place >= 0:
        end = text.find("\n", place + 1)
        line = text[place + 1 : end if end >= 0 else None]
        if line.strip() and len(line) - len(line.lstrip()) < least:
            return place
        place = end
    return None


@dataclass(slots=True)
class InfillReply:
    """llama.cpp's answer. `response_fields` picks fields of the whole one, by paths such as `timings/prompt_n`."""

    model: str
    response_fields: tuple[str, ...] = ()
    end: bytes = b""
    _seen: list[Chunk] = field(default_factory=list)

    def whole(self, chunks: Sequence[Chunk]) -> Json:
        """The answer in one piece."""
        return self._picked(self._last(merged(chunks), text_so_far="".join(chunk.text for chunk in chunks)))

    def events(self, chunk: Chunk) -> list[Json]:
        """One event a chunk; the last has all counts and no text of its own."""
        self._seen.append(chunk)
        if chunk.finish_reason is None:
            return [{"index": 0, "content": chunk.text, "tokens": [], "stop": False}] if chunk.text else []
        so_far = "".join(one.text for one in self._seen)
        return [self._picked(self._last(chunk, text_so_far=so_far))]

    def _last(self, chunk: Chunk, *, text_so_far: str) -> Json:
        usage = chunk.usage or Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=0)
        return {
            "index": 0,
            "content": chunk.text,
            "tokens": [],
            "id_slot": 0,
            "stop": True,
            "model": self.model,
            "tokens_predicted": usage.completion_tokens,
            "tokens_evaluated": usage.prompt_tokens,
            "tokens_cached": usage.prompt_tokens + usage.completion_tokens,
            "generation_settings": {},
            "prompt": "",
            "has_new_line": "\n" in text_so_far,
            "truncated": False,
            "stop_type": "limit" if chunk.finish_reason is FinishReason.LENGTH else "eos",
            "stopping_word": "",
            "timings": timings_json(usage, chunk.timings or EngineTimings()),
        }

    def _picked(self, body: Json) -> Json:
        if not self.response_fields:
            return body
        picked: Json = {}
        for name in self.response_fields:
            value: object = body
            for step in name.split("/"):
                value = value.get(step) if isinstance(value, dict) else None
            if value is not None:
                picked[name] = value
        return picked


def timings_json(usage: Usage, timings: EngineTimings) -> Json:
    """llama.cpp's `timings`: the prompt's tokens that were computed now, and the generated ones."""
    computed = usage.prompt_tokens - usage.cached_tokens
    return {
        "cache_n": usage.cached_tokens,
        **_pace("prompt", computed, timings.prefill_ms),
        **_pace("predicted", usage.completion_tokens, timings.decode_ms),
    }


def _pace(name: str, tokens: int, spent_ms: float) -> Json:
    return {
        f"{name}_n": tokens,
        f"{name}_ms": spent_ms,
        f"{name}_per_token_ms": spent_ms / tokens if tokens else 0.0,
        f"{name}_per_second": tokens / spent_ms * 1000 if spent_ms else 0.0,
    }
