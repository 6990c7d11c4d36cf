"""A process that computes along with the engine's: its part of the model, the same steps, nothing of its own.

Orders come on the standard input, answers go to the standard output. It ends with its input: nobody is left to tell it
anything then, whatever it was waiting for.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from queue import SimpleQueue
from typing import BinaryIO

import torch

from model.device import settle_on
from model.errors import TerselyError
from model.merge import read_adapter
from model.on_device import LoadedOnDevice
from model.open_model import open_on_device
from model.paged.decoder import PagedDecoder
from model.paged.serve import lay_out
from model.paged.spans import Spans
from model.paged.stage import Stage
from model.parallel.channel import receive, send
from model.parallel.meeting import meet
from model.parallel.orders import (
    ClearStates,
    Copy,
    CopyStates,
    Deed,
    LayOut,
    Load,
    Order,
    Read,
    Report,
    Stop,
    Write,
)
from model.parallel.room import PATIENCE, least, room_bytes

logger = logging.getLogger(__name__)


def main() -> int:
    """Follow until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the leader's, who tells us
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not stand between answers
    orders: SimpleQueue[Order] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, orders), daemon=True).start()
    send(answers, Report())
    load = orders.get()
    if isinstance(load, Stop):
        return 0
    assert isinstance(load, Load)
    try:
        loaded = _load(load)
    except TerselyError as error:
        report = Report(problem=error.message, hint=error.hint)
    except Exception as error:
        logger.exception("cannot load a part")
        report = Report(problem=f"{type(error).__name__}: {error}", hint="See the engine's log.")
    else:
        report = Report()
    send(answers, report)
    if report.problem:
        while not isinstance(orders.get(), Stop):
            pass
        return 0
    _follow(orders, loaded)
    return 0


def _listen(stream: BinaryIO, orders: SimpleQueue[Order]) -> None:
    order: Order | None = None
    while not isinstance(order, Stop):
        try:
            order = receive(stream)
        except (EOFError, OSError):
            os._exit(1)
        orders.put(order)


def _load(order: Load) -> LoadedOnDevice:
    torch.set_num_threads(order.threads)
    settle_on(order.device)
    meet(
        order.place,
        rank=order.part.rank,
        processes=order.part.processes,
        patience=PATIENCE,
        device=order.device,
    )
    merge = None if order.adapter is None else read_adapter(order.adapter, base=order.path)[0]
    loaded, _ = open_on_device(
        order.path,
        order.device,
        dtype=order.dtype,
        quantize=order.quantize,
        transform=merge,
        room_bytes=room_bytes(order.device, processes=order.part.processes),
        part=order.part,
    )
    return loaded


def _follow(orders: SimpleQueue[Order], loaded: LoadedOnDevice) -> None:
    decoder: PagedDecoder
    stage: Stage | None = None
    while True:
        match orders.get():
            case LayOut(context_tokens=context_tokens, cache_bytes=cache_bytes):
                decoder, stage = lay_out(
                    loaded.reference,
                    context_tokens=context_tokens,
                    cache_bytes=cache_bytes,
                    agree=lambda count: least(count, loaded.device),
                )
            case Stop():
                return
            case Load():
                raise AssertionError("it has its part")
            case deed:
                obey(deed, decoder, stage)


def obey(deed: Deed, decoder: PagedDecoder, stage: Stage | None) -> None:
    """Do with one part what the leading process does with its own. `stage` None: no step has a fixed shape."""
    match deed:
        case Read() as read:
            spans = Spans(read.queries, read.lengths, read.pages, decoder.device, read.states)
            decoder.ragged(list(read.tokens), spans)
        case Write(works=works, kind=kind):
            assert stage is not None
            stage.run(works, kind)
        case Copy() as copy:
            decoder.pool.copy(copy.source, copy.target, copy.tokens)
        case ClearStates(slot):
            decoder.states.clear(slot)
        case CopyStates(source, target):
            decoder.states.copy(source, target)
