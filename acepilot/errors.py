"""The errors that a user can meet: each has a stable code, an HTTP status, and a message that helps.

A program that ends with an error returns its `exit_code` (acepilot/cli.py, docs/reference/exit-codes.md).
Errors of one package only are defined there; the tree names their modules.

AcepilotError
├── BadRequest                422  the request is not valid; `field` names the wrong field
├── Unauthorized              401  the token is missing or wrong
├── NotFound                  404  there is no completion with this id
├── BodyTooLarge              413  the request's body is larger than any request needs
├── BodyTooSlow               408  the request's body did not arrive in time (server/routes/guard.py)
├── CompletionTooSlow         500  the completion took too long (server/completion.py)
├── Overloaded                429  the queue is full; `retry_after_s` says how long to wait
├── ServerNotReady            503  the model is still loading, or failed to load
├── EngineFailed              500  the engine failed during a request
├── ModelNotFound             404  there is no such model, on this disk or on the hub
├── ModelBroken               500  a model's files are damaged, or no engine reads their format
├── DownloadFailed            502  a download failed from every source
├── NotEnoughDisk             507  the disk is full, or has too little room for what is to be written
├── ConfigError               400  settings or flags are wrong or contradict each other
├── CannotListen              409  another program already listens on the address
├── PromotionRefused          409  the model may not become the current one (acepilot/models/promotion.py)
├── PublishFailed             502  a hub did not take the model (acepilot/models/publish.py)
├── SandboxUnavailable        503  this machine has no sandbox for generated programs
├── CorpusUnusable            422  no corpus can be built or read from this (acepilot/corpus.py)
├── StageFailed               500  a step of the corpus pipeline failed (finetune/corpus/executors.py)
├── TrainingDiverged          500  a run cannot recover: its loss is useless (finetune/training/stability.py)
├── CheckpointUnusable        409  a run cannot resume from its folder (finetune/training/run_folder.py)
└── CheckFailed               500  a converted model computes something else (finetune/convert/check.py)
"""

from typing import ClassVar


class AcepilotError(Exception):
    """The base of the tree. `message` is for the user: what happened, and what to do.

    `field` is the name of the setting or the request's field that is wrong.
    """

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
    """The queue is full. A place is expected to be free in `retry_after_s` seconds."""

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
    exit_code = 2  # as argparse exits when the command line is wrong


class CannotListen(AcepilotError):
    code = "cannot_listen"
    status = 409
    exit_code = 3  # as uvicorn exits when it cannot listen


class SandboxUnavailable(AcepilotError):
    code = "sandbox_unavailable"
    status = 503
