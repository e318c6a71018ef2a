"""Read a program's settings: flags win over `ACEPILOT_*` variables, and those over `acepilot.toml`.

The file is looked for in the working directory, then in `ACEPILOT_HOME`. The working directory may be a
stranger's: a clone, or a folder that everyone may write. So a file there may set only what a program names in
`set_in_working_directory`, which holds nothing that chooses an address, a model, a secret or a program.

A program subclasses `ProgramSettings`, sets `table` to the name of its table in `acepilot.toml`, and calls
`load` with its flags. One `ConfigError` reports all mistakes.
"""

import ipaddress
import os
import stat
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from acepilot.cli import print_line
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


def _distrust(path: Path) -> str:
    """Return why others than this user (and root) can change the file; empty if they cannot."""
    for place in (path, path.parent):
        about = place.stat()
        if about.st_uid not in (0, os.geteuid()):
            return f"{place} belongs to another user"
        if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"other users may write {place}: if it is yours, run `chmod go-w {place}`"
    return ""


class ProgramSettings(BaseSettings):
    """Base of each program's settings: a field `port` is read from --port, ACEPILOT_PORT or the table."""

    model_config = SettingsConfigDict(env_prefix="ACEPILOT_", extra="forbid", env_ignore_empty=True)
    table: ClassVar[str]
    set_in_working_directory: ClassVar[frozenset[str]] = frozenset()
    """Settings that `acepilot.toml` in the working directory may set. Without any, it is not read."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        tables = [cls._of_working_directory(), cls._read(home() / CONFIG_NAME)]
        return init_settings, env_settings, *(InitSettingsSource(settings_cls, table) for table in tables)

    @classmethod
    def _of_working_directory(cls) -> dict[str, Any]:
        path = Path.cwd() / CONFIG_NAME
        is_home = Path.cwd() == home().resolve()
        if not cls.set_in_working_directory or not path.is_file() or is_home:
            return {}
        if distrust := _distrust(path):
            print_line(f"Ignored {path}: {distrust}.")
            return {}
        table = cls._read(path)
        refused = [name for name in table if name in cls.model_fields.keys() - cls.set_in_working_directory]
        if refused:
            raise ConfigError(
                f"{path} sets {', '.join(refused)}, which a file in the working directory may not: it may "
                f"be a stranger's. Move the line to {home() / CONFIG_NAME}, or give a flag or variable."
            )
        return table

    @classmethod
    def _read(cls, path: Path) -> dict[str, Any]:
        """Return the program's table, and say which file it is from: nobody may expect one there."""
        table = _toml_table(path.absolute(), cls.table)
        if table:
            print_line(f"Settings from {path.absolute()}: {', '.join(table)}.")
        return table

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
