"""The engine in this process: an asynchronous face of the thread that steps the model. No HTTP, no prompt formats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Self

import psutil
import torch

from model import memory
from model.api import Chunk, GenerateRequest, Measures, ModelInfo, Prompt
from model.cached_decoder import Loaded
from model.chat import ChatChunk, ChatRequest, Message, Tool
from model.chat_template import ChatTemplate
from model.checkpoint.chat import read_chat_template
from model.constraint import Constraint, Constraints
from model.conversation import converse
from model.device import device_dtype, pick_devices, settle_on
from model.errors import EngineError, RequestError
from model.fim import FORMATS, detect
from model.load import pick_dtype
from model.merge import read_adapter
from model.on_device import LoadedOnDevice
from model.open_model import open_model
from model.packer import pick_quantize
from model.parallel.parts import open_in_parts
from model.runners import make_runner
from model.sequence import Sequence
from model.stepper import Stepper
from model.threads import ThreadPace, asked_threads, free_cores, own_cores
from model.tokenizer import Tokenizer
from model.tool_formats import ToolFormat
from model.tool_formats import detect as detect_tools

_MOST_CACHE_BYTES = 2 << 30
_CACHE_SHARE = 0.2


class LocalEngine:
    """`Engine`, `Tokenizing`, `Templating` and `Chatting` over a loaded model. Use `load`; close with `aclose`.

    All computing happens in one thread (`model.stepper`). Any event loop may ask.
    With `drafts`, greedy text comes several tokens at a time where it repeats what stands before it; the tokens are
    the same, so it is done only where the model's kernels are (`Loaded.rows_agree`).
    """

    def __init__(
        self,
        served: Loaded | LoadedOnDevice,
        tokenizer: Tokenizer,
        *,
        name: str,
        threads: int = 1,
        fim_family: str | None = None,
        context_tokens: int | None = None,
        chunk_tokens: int | None = None,
        cache_bytes: int | None = None,
        queue: int = 64,
        drafts: bool = True,
        template: Callable[[], ChatTemplate] | None = None,
        lost: Callable[[EngineError], None] | None = None,
        pace: ThreadPace | None = None,
    ) -> None:
        """`template` reads the chat template when it is first wanted; `lost` is as `load` has it; `pace` None: always
        as many threads."""
        family = fim_family or detect(tokenizer.vocabulary)
        trained = served.config.context_tokens
        device = served.device if isinstance(served, LoadedOnDevice) else torch.device("cpu")
        settle_on(device)
        self._runner, context, running = make_runner(
            served,
            context_tokens=min(context_tokens or trained, trained),
            cache_bytes=_cache_budget_bytes() if cache_bytes is None else cache_bytes,
            chunk_tokens=chunk_tokens,
            drafts=drafts,
        )
        self._info = ModelInfo(
            name=name,
            architecture=served.config.architecture,
            fim_family=family,
            context_tokens=context,
            parameters=served.parameters,
            device=str(device),
            quantization=served.quantization,
        )
        self._tokenizer = tokenizer
        self._read_template = template
        self._template: ChatTemplate | None = None
        known = FORMATS.get(family)
        self._end_ids = tokenizer.end_ids | _ids_of(known.ends if known else (), tokenizer)
        self._closing_ids = self._end_ids | _ids_of(known.closing if known else (), tokenizer)
        self._constraints = Constraints(tokenizer, self._end_ids)
        self._followers = served.followers if isinstance(served, LoadedOnDevice) else None
        self._stepper = Stepper(
            self._runner,
            running=running,
            queue=queue,
            device=device,
            threads=threads,
            pace=pace,
            followers=self._followers,
            lost=lost,
        )

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        dtype: str = "auto",
        quantize: str = "auto",
        threads: int | None = None,
        adapter: Path | None = None,
        context_tokens: int | None = None,
        name: str | None = None,
        progress: Callable[[float], None] | None = None,
        device: str = "auto",
        processes: int = 1,
        lost: Callable[[EngineError], None] | None = None,
    ) -> Self:
        """Load a GGUF file, or a folder in HF's or Mistral's layout. Blocks for about two seconds a 100 MB, so call it
        from a thread of its own.

        `dtype`: auto, float32, bfloat16. `quantize`: see `model.packer`; on a GPU, `model.on_device`. `device`: auto,
        cpu, cuda, cuda:N. `threads` None: the free cores, counted again when steps slow down. `progress` gets the
        fraction done, 0 … 1, and may raise to stop. With `processes`, each of so many holds and computes a part of the
        model, on a GPU of its own where there are GPUs; `lost` is told, on a thread, when one dies, and nothing is
        computed any more. Raises `ModelError`, `EngineUnavailableError` where a process cannot start, and `UsageError`
        for unknown names, and for a number of processes that the model or the machine does not have room for.
        """
        devices = pick_devices(device, processes)
        on_cpu = devices[0].type == "cpu"
        count = threads or max(1, free_cores() // (processes if on_cpu else 1))
        follows = on_cpu and processes == 1 and threads is None and asked_threads() is None
        torch.set_num_threads(count)
        merge, family = (None, None) if adapter is None else read_adapter(adapter, base=path)
        asked = pick_quantize(quantize)
        chosen_dtype = pick_dtype(dtype) if on_cpu else device_dtype(devices[0], dtype)
        served: Loaded | LoadedOnDevice
        if processes > 1:
            served, tokenizer = open_in_parts(
                path,
                devices=devices,
                dtype=chosen_dtype,
                quantize=asked,
                adapter=adapter,
                transform=merge,
                threads=count,
                progress=progress,
            )
        else:
            served, tokenizer = open_model(
                path,
                dtype=chosen_dtype,
                quantize=asked if merge is None or not on_cpu else merge.serve_as(asked),
                transform=merge,
                progress=progress,
                device=devices[0],
            )
        memory.give_back()  # weights in float32 came and went
        if merge is not None:
            merge.check_complete()
        return cls(
            served,
            tokenizer,
            name=name or (path.name if path.is_dir() else path.stem),
            threads=count,
            fim_family=family,
            context_tokens=context_tokens,
            template=lambda: read_chat_template(path, control_tokens=tokenizer.control_names),
            lost=lost,
            pace=ThreadPace(count, cores=own_cores()) if follows else None,
        )

    @property
    def steps(self) -> int:
        """How often the model has run."""
        return self._runner.steps

    @property
    def drafted(self) -> tuple[int, int]:
        """How many tokens were drafted, and how many of those were right."""
        return self._runner.drafted, self._runner.accepted

    def measures(self) -> Measures:
        """What the prefix cache holds, and how drafts fared."""
        drafted, hits = self.drafted
        return Measures(cache_bytes=self._runner.size_bytes, drafted_tokens=drafted, draft_hits=hits)

    async def info(self) -> ModelInfo:
        return self._info

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(len(ids) for ids in await self.tokenize(texts))

    async def tokenize(self, texts: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        return await asyncio.to_thread(lambda: tuple(tuple(self._tokenizer.encode(text)) for text in texts))

    async def chat_prompt(self, messages: tuple[Message, ...], tools: tuple[Tool, ...] = ()) -> Prompt:
        """A conversation as the model was trained to see it. Raises `RequestError` without a template."""
        return (await self._chat_template()).render(messages, tools)

    async def tool_format(self) -> ToolFormat:
        """How the model writes calls. Raises `RequestError` without a template."""
        template = await self._chat_template()
        if not template.knows_tools:
            return detect_tools(())  # it is told of them in words
        return detect_tools(self._tokenizer.control_names, template.source)

    def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        """Answer a conversation, with tools."""
        return converse(self, request)

    async def _chat_template(self) -> ChatTemplate:
        if self._template is None:
            if self._read_template is None:
                raise RequestError("This model has no chat template.", hint="Use /v1/completions.")
            self._template = await asyncio.to_thread(self._read_template)
        return self._template

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        prompt = await asyncio.to_thread(self._tokenizer.encode_prompt, request.prompt)
        grammar = request.sampling.grammar
        constraint = None if grammar is None else await asyncio.to_thread(self._constraints.start, grammar)
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Chunk | EngineError] = asyncio.Queue()

        def sink(item: Chunk | EngineError) -> None:
            try:
                loop.call_soon_threadsafe(arrived.put_nowait, item)
            except RuntimeError:  # the loop was closed with the request under way: nobody reads on
                sequence.cancelled = True

        sequence = self._admit(request, prompt, sink, constraint)
        try:
            while True:
                item = await arrived.get()
                if isinstance(item, EngineError):
                    raise item
                yield item
                if item.finish_reason is not None:
                    return
        finally:
            sequence.cancelled = True

    async def aclose(self) -> None:
        """Stop the thread, and other processes; requests under way fail with `EngineUnavailableError`."""
        await asyncio.to_thread(self._stepper.close)
        if self._followers is not None:
            await asyncio.to_thread(self._followers.stop)

    def _admit(
        self,
        request: GenerateRequest,
        prompt: list[int],
        sink: Callable[[Chunk | EngineError], None],
        constraint: Constraint | None,
    ) -> Sequence:
        prompt = prompt or self._start()
        context = self._info.context_tokens
        if len(prompt) >= context:
            raise RequestError(
                f"The prompt has {len(prompt)} tokens; the context holds {context}, one of them for the answer.",
                hint="Send less context.",
            )
        sequence = Sequence(
            request,
            prompt,
            tokenizer=self._tokenizer,
            # A grammar says itself where a text ends, and may ask for what begins a file.
            end_ids=self._closing_ids if constraint is None else self._end_ids,
            max_tokens=min(request.sampling.max_tokens, context - len(prompt)),
            sink=sink,
            constraint=constraint,
        )
        self._stepper.add(sequence)
        return sequence

    def _start(self) -> list[int]:
        """What an empty prompt becomes: the token that stands between documents."""
        if not self._tokenizer.end_ids:
            raise RequestError("The prompt is empty.", hint="Send at least one token.")
        return [min(self._tokenizer.end_ids)]


def _ids_of(names: Iterable[str], tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens of these names that the vocabulary has."""
    return frozenset(tokenizer.vocabulary[name] for name in names if name in tokenizer.vocabulary)


def _cache_budget_bytes() -> int:
    """A share of the memory that is free now."""
    return min(_MOST_CACHE_BYTES, int(psutil.virtual_memory().available * _CACHE_SHARE))
