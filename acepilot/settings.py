"""Read a program's settings: flags win over `ACEPILOT_*` variables, and those over `acepilot.toml`.

The file is looked for in the working directory, then in `ACEPILOT_HOME`. The language server skips the
working directory, which is the project that an editor opened: a stranger's file there could send the user's
code and token anywhere.

A program subclasses `ProgramSettings`, sets `table` to the name of its table in `acepilot.toml`, and calls
`load` with its flags. One `ConfigError` reports all mistakes.
"""

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from acepilot.errors import ConfigError

CONFIG_NAME = "acepilot.toml"
TABLES = ("server", "lsp", "eval_humaneval", "promotion")


def home() -> Path:
    """Return the folder of models and runs: `ACEPILOT_HOME`, by default `~/.local/share/acepilot`."""
    given = os.environ.get("ACEPILOT_HOME")
    return Path(given).expanduser() if given else Path.home() / ".local" / "share" / "acepilot"


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach `host`. A name other than localhost may point anywhere."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _toml_table(path: Path, table: str) -> dict[str, Any]:
    """Return one table of one `acepilot.toml`; it is empty if the file does not exist."""
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    unknown = [name for name in document if name not in TABLES]
    if unknown:
        tables = ", ".join(f"[{name}]" for name in TABLES)
        raise ConfigError(f"{path}: unknown: {', '.join(unknown)}. The tables are {tables}.")
    values: dict[str, Any] = document.get(table, {})
    if not isinstance(values, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{path}: `{table}` must be a table: write [{table}].")
    return values


class ProgramSettings(BaseSettings):
    """Base of each program's settings: a field `port` is read from --port, ACEPILOT_PORT or the table."""

    model_config = SettingsConfigDict(env_prefix="ACEPILOT_", extra="forbid", env_ignore_empty=True)
    table: ClassVar[str]
    reads_working_directory: ClassVar[bool] = True

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folders = [Path.cwd(), home()] if cls.reads_working_directory else [home()]
        tables = [_toml_table((folder / CONFIG_NAME).resolve(), cls.table) for folder in folders]
        return init_settings, env_settings, *(InitSettingsSource(settings_cls, table) for table in tables)

    @classmethod
    def load(cls, flags: dict[str, Any] | None = None) -> Self:
        """Return the settings; `flags` that are None count as not given. Raises ConfigError."""
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            lines = [
                f"  {'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
                for item in error.errors(include_url=False, include_input=False)
            ]
            raise ConfigError(
                f"Some settings of `{cls.table}` are wrong (flags, ACEPILOT_* variables or {CONFIG_NAME}):\n"
                + "\n".join(lines)
            ) from error
