"""The tokenizer of a model that runs elsewhere, read from the model's folder on this machine.

Budgets, sentinels and the context length come from it. transformers imports torch if torch is installed; it
needs torch only to read a GGUF.
"""

# transformers is only partly typed; the tests know what it returns.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

from acepilot.errors import ConfigError, ModelBroken
from acepilot.fim import is_sentinel
from acepilot.models.gguf_file import check_gguf
from acepilot.models.hub.fetch import CONTEXT_KEYS
from acepilot.models.json_file import read_object
from acepilot.models.registry import ModelFolder
from server.engine.tokenizer_limits import check_tokenizer, probe_tokenizer, tokenizer_errors


class FolderTokenizer:
    """The tokenizer of a folder as transformers saves it (weights are not needed), or of a GGUF.

    Raises ModelBroken, and ConfigError if a library that reads it is not installed.
    """

    def __init__(self, model: ModelFolder) -> None:
        if not model.has_tokenizer:
            raise _unreadable(model)
        path = None if (model.path / "config.json").is_file() else model.gguf
        folder, gguf = (model.path, None) if path is None else (path.parent, path.name)
        if path is not None:
            check_gguf(path)
        try:
            from transformers import AutoTokenizer  # takes seconds, so only after the servers were checked

            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, gguf_file=gguf, trust_remote_code=False
            )
        except ImportError as error:
            raise ConfigError(
                f"The engine upstream reads the tokenizer of {model.name} with transformers"
                f"{' and torch' if gguf else ''}: pip install -e '.[upstream{',torch' if gguf else ''}]' in "
                "Acepilot's folder. A folder with config.json and the tokenizer's files needs no torch."
            ) from error
        except Exception as error:  # a damaged file raises errors of any type, struct.error included
            raise _unreadable(model) from error
        if self._tokenizer.is_fast:
            check_tokenizer(self._tokenizer.backend_tokenizer.to_str(), model.path)
        probe_tokenizer(self._tokenizer.encode, model.path)
        added = self._tokenizer.added_tokens_decoder.values()
        marked = (str(token) for token in added if token.special or is_sentinel(str(token)))
        special = {*marked, *self._tokenizer.all_special_tokens}
        self.special_tokens: frozenset[str] = frozenset(token for token in special if token.strip())
        self.context_tokens = _context_tokens(model)

    def encode(self, text: str, *, begin: bool) -> list[int]:
        """Return token ids, with `begin` after the mark that some tokenizers put before a prompt."""
        with tokenizer_errors():
            return self._tokenizer.encode(text, add_special_tokens=begin, verbose=False)


def _unreadable(model: ModelFolder) -> ModelBroken:
    return ModelBroken(
        f"{model.path} has no tokenizer that can be read. The engine upstream needs the model's folder on "
        "this machine too: config.json and the tokenizer's files, not the weights; or the model's GGUF file."
    )


def _context_tokens(model: ModelFolder) -> int | None:
    if model.manifest:
        return model.manifest.context_tokens
    config = model.path / "config.json"
    if not config.is_file():
        return None
    try:
        values = read_object(config)
        return next((int(values[key]) for key in CONTEXT_KEYS if values.get(key)), None)
    except (ValueError, TypeError) as error:
        raise ModelBroken(f"{config} is damaged: fetch or export the model again.") from error
