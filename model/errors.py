"""The exception tree of tersely. Every error that a user can meet is one of these, and says what to do.

    TerselyError                       1
    ├── UsageError                     2   a wrong argument, setting or file position
    │   └── RefusedError                   a change that must not be made: what it is asked of forbids it
    ├── ModelError                     3
    │   ├── UnknownModelError              no such name in the registry and no such file
    │   ├── ModelMissingError              a known name whose file is not on this machine
    │   ├── CheckpointError                a file that is damaged, truncated or of a kind that is not supported
    │   ├── ModelTooLargeError             it needs more memory than this machine has free
    │   ├── AdapterError                   an adapter that is damaged, or made for another model
    │   └── PullError                      a model could not be fetched
    │       ├── OfflineError                   TERSELY_OFFLINE=1 forbids it
    │       ├── HashMismatchError              what arrived is not what was published
    │       └── DiskFullError                  no room for it
    ├── EngineError                    4
    │   ├── EngineUnavailableError         cannot be started, or died
    │   │   └── EngineUnreachableError         nothing answers at its address
    │   ├── EngineRunningError             one for this model and these options runs already
    │   ├── EngineAuthError                the token is missing or wrong
    │   ├── EngineBusyError                the queue is full
    │   └── RequestError                   the engine understood the request and refuses it
    ├── TrainingError                  5   a training run cannot go on
    └── InternalError                  70  a defect of tersely itself

The number is the exit code of the command line. Rooms above add leaves, never roots. Broken user code is a value,
never an exception.
"""

from __future__ import annotations

from typing import ClassVar


class TerselyError(Exception):
    """Root of the tree. `message` says what is wrong, `hint` what to do about it; both are one or two sentences."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(TerselyError):
    """A wrong argument, setting or file position."""

    exit_code = 2


class RefusedError(UsageError):
    """A change that must not be made: outside the root, read-only, generated, changed meanwhile, or unsound."""


class ModelError(TerselyError):
    """Something is wrong with the model that was asked for."""

    exit_code = 3


class UnknownModelError(ModelError):
    """No such name in the registry, and no such file or folder."""


class ModelMissingError(ModelError):
    """A model that tersely knows by name, whose file is not on this machine."""


class CheckpointError(ModelError):
    """A checkpoint that is damaged, truncated, or of a kind that is not supported."""


class ModelTooLargeError(ModelError):
    """The model needs more memory than this machine has free. Nothing was allocated."""


class AdapterError(ModelError):
    """An adapter that is damaged, or was made for another model."""


class PullError(ModelError):
    """A model could not be fetched. Nothing half-written is left behind."""


class OfflineError(PullError):
    """A fetch is needed, and TERSELY_OFFLINE=1 forbids it."""


class HashMismatchError(PullError):
    """What arrived does not have the published SHA-256."""


class DiskFullError(PullError):
    """There is no room for the model."""


class EngineError(TerselyError):
    """Something is wrong with the engine, or with what was asked of it."""

    exit_code = 4


class EngineUnavailableError(EngineError):
    """The engine cannot be started or reached, or died while it answered."""


class EngineUnreachableError(EngineUnavailableError):
    """Nothing answers at the engine's address: the request did not reach it."""


class EngineRunningError(EngineError):
    """An engine for this model and these options runs already."""


class EngineAuthError(EngineError):
    """The engine asks for a token that was not given or is wrong."""


class EngineBusyError(EngineError):
    """The engine's queue is full."""


class RequestError(EngineError):
    """The engine understood the request and refuses it (too long a prompt, a bad parameter)."""


class TrainingError(TerselyError):
    """A training run cannot go on: a process of it died, or its loss is no number any more."""

    exit_code = 5


class InternalError(TerselyError):
    """A defect of tersely itself: please report it."""

    exit_code = 70
