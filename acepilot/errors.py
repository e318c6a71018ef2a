"""Every failure that a user can meet: a stable code, an HTTP status, and a sentence that says what to do.

A program that an error ends has its `exit_code` (acepilot/cli.py, docs/reference/exit-codes.md).

AcepilotError
├── BadRequest                422  the request cannot be understood; names the field
├── Unauthorized              401  the token is missing or wrong
├── NotFound                  404  no such id
├── BodyTooLarge              413  more than any request needs
├── BodyTooSlow               408  a body that did not come to its end (server/routes/guard.py)
├── CompletionTooSlow         500  a completion that did not (server/completion.py)
├── Overloaded                429  the queue is full; carries how long to wait
├── ServerNotReady            503  the model is still loading, or failed to load
├── EngineFailed              500  the engine broke in the middle of a request
├── ModelNotFound             404  no such model here
├── ModelBroken               500  a model's files are damaged, or no engine reads their form
├── DownloadFailed            502  no source gave the bytes that were asked for
├── NotEnoughDisk             507  the disk cannot hold what is to be written
├── ConfigError               400  settings that contradict each other or do not parse
├── CannotListen              409  another program has the address that was to be served
├── PromotionRefused          409  the model may not become the current one (acepilot/models/promotion.py)
├── PublishFailed             502  a hub did not take a model (acepilot/models/publish.py)
├── SandboxUnavailable        503  nothing here keeps a stranger's program from doing harm
├── CorpusUnusable            422  no corpus can be built from this (acepilot/corpus.py)
└── StageFailed               500  a step of the corpus pipeline broke (finetune/data)
"""

from typing import ClassVar


class AcepilotError(Exception):
    """Base of the tree. `str(error)` is a sentence for the user and says what to do."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class BadRequest(AcepilotError):
    code = "bad_request"
    status = 422


class Unauthorized(AcepilotError):
    code = "unauthorized"
    status = 401


class NotFound(AcepilotError):
    code = "not_found"
    status = 404


class BodyTooLarge(AcepilotError):
    code = "body_too_large"
    status = 413


class Overloaded(AcepilotError):
    """The queue is full. `retry_after_s` is when a place is expected, in seconds."""

    code = "overloaded"
    status = 429

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerNotReady(AcepilotError):
    code = "not_ready"
    status = 503


class EngineFailed(AcepilotError):
    code = "engine_failed"
    status = 500


class ModelNotFound(AcepilotError):
    code = "model_not_found"
    status = 404


class ModelBroken(AcepilotError):
    code = "model_broken"
    status = 500


class DownloadFailed(AcepilotError):
    code = "download_failed"
    status = 502


class NotEnoughDisk(AcepilotError):
    code = "not_enough_disk"
    status = 507


class ConfigError(AcepilotError):
    code = "config_error"
    status = 400
    exit_code = 2  # argparse's own, for what is wrong on the command line


class CannotListen(AcepilotError):
    code = "cannot_listen"
    status = 409
    exit_code = 3  # uvicorn's own


class SandboxUnavailable(AcepilotError):
    code = "sandbox_unavailable"
    status = 503
