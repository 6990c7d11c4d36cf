"""From the JSON body of OpenAI's `/v1/completions` to a `GenerateRequest`. Knows no HTTP and no engine.

tersely's extensions: `segments` in the place of `prompt`, `priority`, `grammar`, and vLLM's `ignore_eos`, `top_k`,
`skip_special_tokens` and `structured_outputs`.
Source: OpenAI's API reference, "Create completion".
"""

from __future__ import annotations

from dataclasses import dataclass

from model import fim
from model.api import Feedback, GenerateRequest, Priority, Prompt, SamplingParams, Segment
from model.service.fields import Fields, read_integer
from model.service.grammar_fields import read_grammar

_MAX_STOPS = 64
_MAX_LOGPROBS = 20
_MAX_SEED = 2**63 - 1
_MOST_FEEDBACK = 100_000
_NO_PROMPT: Prompt = ""
_NO_TEXTS: tuple[str, ...] = ()
_PRIORITIES = {"interactive": Priority.INTERACTIVE, "batch": Priority.BATCH, 0: Priority.INTERACTIVE, 1: Priority.BATCH}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionCall:
    """What a client asked for. `suffix` is applied once the model, and so its FIM format, is known."""

    prompt: Prompt
    suffix: str | None
    sampling: SamplingParams
    priority: Priority
    model: str | None
    stream: bool
    include_usage: bool
    continuous_usage: bool
    """vLLM's `continuous_usage_stats`: the counts so far, and the timings, on every chunk."""

    def generate_request(self, *, fim_family: str, request_id: str) -> GenerateRequest:
        """The request in the engine's terms. Raises `RequestError` when the model cannot use a suffix."""
        prompt = self.prompt
        if isinstance(prompt, str) and self.suffix is not None:
            if fim_family in fim.FORMATS:
                prompt = fim.render(fim_family, prefix=prompt, suffix=self.suffix)
            elif self.suffix:
                prompt = fim.apply(fim_family, prefix=prompt, suffix=self.suffix)  # raises, with what to do
        return GenerateRequest(prompt=prompt, sampling=self.sampling, priority=self.priority, request_id=request_id)


def parse_completion(body: object) -> CompletionCall:
    """Read a request body. Raises `RequestError` that names every field that does not do."""
    fields = Fields(body)
    prompt = _prompt(fields)
    suffix = fields.text("suffix")
    if suffix and not isinstance(prompt, str):
        fields.complain("suffix", "needs a `prompt` that is a string")
    refuse_unsupported(fields)
    logprobs = fields.integer("logprobs", -1, least=0, most=_MAX_LOGPROBS)
    seed = fields.integer("seed", -1, least=0, most=_MAX_SEED)
    options = fields.raw("stream_options")
    if options is not None and not isinstance(options, dict):
        fields.complain("stream_options", "must be an object")
        options = None
    stream_options = Fields(options or {})
    call = CompletionCall(
        prompt=prompt,
        suffix=suffix,
        sampling=SamplingParams(
            max_tokens=fields.integer("max_tokens", 16, least=1),
            temperature=fields.number("temperature", 1.0, least=0.0, most=100.0),
            top_p=fields.number("top_p", 1.0, least=0.0, most=1.0),
            top_k=max(0, fields.integer("top_k", 0, least=-1)),
            seed=None if seed < 0 else seed,
            stop=fields.parsed("stop", read_stops, default=_NO_TEXTS),
            ignore_eos=fields.flag("ignore_eos"),
            logprobs=None if logprobs < 0 else logprobs,
            grammar=read_grammar(fields),
            control_text=fields.raw("skip_special_tokens") is False,
        ),
        priority=fields.parsed("priority", read_priority, default=Priority.INTERACTIVE),
        model=fields.text("model"),
        stream=fields.flag("stream"),
        include_usage=stream_options.flag("include_usage"),
        continuous_usage=stream_options.flag("continuous_usage_stats"),
    )
    fields.check()
    stream_options.check()
    return call


def parse_texts(body: object) -> tuple[str, ...]:
    """The texts of a `/tokenize` request: `texts` (ours), `prompt` (vLLM's) or `content` (llama.cpp's)."""
    fields = Fields(body)
    single = fields.text("prompt") if fields.raw("prompt") is not None else fields.text("content")
    texts = fields.parsed("texts", _text_list, default=_NO_TEXTS if single is None else (single,))
    if single is None and fields.raw("texts") is None:
        fields.complain("texts", "is missing: send a list of strings, or `prompt` with one")
    fields.check()
    return texts


def parse_feedback(body: object) -> Feedback:
    """Read the body of `/feedback`. Raises `RequestError` that names every field that does not do."""
    fields = Fields(body)
    feedback = Feedback(
        shown=fields.integer("shown", 0, least=0, most=_MOST_FEEDBACK),
        accepted=fields.integer("accepted", 0, least=0, most=_MOST_FEEDBACK),
        accepted_tokens=fields.number("accepted_tokens", 0.0, least=0.0, most=_MOST_FEEDBACK),
    )
    fields.check()
    return feedback


def _prompt(fields: Fields) -> Prompt:
    given = [name for name in ("prompt", "segments") if fields.raw(name) is not None]
    if len(given) != 1:
        fields.complain("prompt", "is missing" if not given else "and `segments` exclude each other")
        return _NO_PROMPT
    if given == ["segments"]:
        return fields.parsed("segments", _segments, default=_NO_PROMPT)
    return fields.parsed("prompt", _plain_prompt, default=_NO_PROMPT)


def _plain_prompt(value: object) -> Prompt:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str | list):
        value = value[0]  # a batch of one
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and not isinstance(value[0], str | list):
        return tuple(read_integer(item, least=0) for item in value)
    raise ValueError("must be one string, or one list of token ids; send several prompts as several requests")


def _segments(value: object) -> Prompt:
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of objects with `text` and `special`")
    parts: list[Segment] = []
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("text"), str):
            raise ValueError("must be a list of objects, each with a `text`")
        special = item.get("special", False)
        if not isinstance(special, bool):
            raise ValueError("must have `special` true or false")
        parts.append(Segment(item["text"], special=special))
    return tuple(parts)


def read_stops(value: object) -> tuple[str, ...]:
    """One stop string or several, or ValueError."""
    stops = (value,) if isinstance(value, str) else value
    if not isinstance(stops, list | tuple) or len(stops) > _MAX_STOPS:
        raise ValueError(f"must be a string or a list of at most {_MAX_STOPS} strings")
    if not all(isinstance(stop, str) and stop for stop in stops):
        raise ValueError("must hold strings that are not empty")
    return tuple(stops)


def _text_list(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError("must be a list of strings")
    return tuple(value)


def read_priority(value: object) -> Priority:
    """ "interactive" or "batch", or ValueError."""
    if isinstance(value, str | int) and not isinstance(value, bool) and value in _PRIORITIES:
        return _PRIORITIES[value]
    raise ValueError('must be "interactive" or "batch"')


def refuse_unsupported(fields: Fields) -> None:
    """Complain of OpenAI's fields whose wish cannot be met; values that wish for nothing pass."""
    for name in ("n", "best_of"):
        if fields.raw(name) not in (None, 1):
            fields.complain(name, "must be 1: send several requests, the prompt's computation is shared")
    if fields.raw("echo"):
        fields.complain("echo", "must be false")
    for name in ("presence_penalty", "frequency_penalty"):
        if fields.raw(name) not in (None, 0):
            fields.complain(name, "is not supported: leave it out")
    if fields.raw("logit_bias"):
        fields.complain("logit_bias", "is not supported: leave it out")
