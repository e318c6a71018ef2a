"""Read a program's settings: flags win over `ACEPILOT_*` variables, and those over `acepilot.toml`.

The file is looked for in the working directory, then in `ACEPILOT_HOME`. The working directory may be a
stranger's: a clone, or a folder that everyone may write. So a file there may set only what a program names in
`set_in_working_directory`: nothing that chooses an address, a model, a secret or a program, deletes data, or
hides what happens.

A program subclasses `ProgramSettings`, sets `table` to the name of its table in `acepilot.toml`, and calls
`load` with its flags. One `ConfigError` reports all mistakes.
"""

import ipaddress
import os
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from acepilot.cli import print_line
from acepilot.errors import ConfigError
from acepilot.untrusted_text import escaped

CONFIG_NAME = "acepilot.toml"
TABLES = ("server", "lsp", "eval_humaneval", "promotion")
MAX_CONFIG_BYTES = 100_000
"""A settings file has about 1 kB. The parser takes minutes for some files of a few MB."""
MAX_SHOWN_CHARS = 4_096  # of names in a message; the longest path on Linux


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
        with path.open("rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
        if len(text) > MAX_CONFIG_BYTES:
            raise ConfigError(
                f"{_shown(path)} is larger than {MAX_CONFIG_BYTES} bytes: it is no settings file."
            )
        document: dict[str, Any] = tomllib.loads(text.decode())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:  # also of numbers with 4,300 digits, and of nested brackets
        raise ConfigError(f"{_shown(path)} is not valid TOML: {_shown(error)}") from error
    unknown = [name for name in document if name not in TABLES]
    if unknown:
        tables = ", ".join(f"[{name}]" for name in TABLES)
        raise ConfigError(f"{_shown(path)}: unknown: {_shown(*unknown)}. The tables are {tables}.")
    values: dict[str, Any] = document.get(table, {})
    if not isinstance(values, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{_shown(path)}: `{table}` must be a table: write [{table}].")
    return values


def _shown(*names: object) -> str:
    """Return names or a path, which may be a stranger's, as one line that is safe for a terminal."""
    return escaped(", ".join(str(name) for name in names)).replace("\n", "\\n")[:MAX_SHOWN_CHARS]


def _distrust(path: Path) -> str:
    """Return why others than this user (and root) can change the file; empty if they cannot."""
    if sys.platform == "win32":
        return "who may write it is not known on Windows"
    for place in (path, path.parent):
        about, shown = place.stat(), _shown(place)
        if about.st_uid not in (0, os.geteuid()):
            return f"{shown} belongs to another user"
        group_can_write = about.st_mode & stat.S_IWGRP and not _is_own_group(about.st_gid)
        if group_can_write or about.st_mode & stat.S_IWOTH:
            return f"other users may write {shown}: if it is yours, run `chmod go-w {shown}`"
    return ""


def _is_own_group(group_id: int) -> bool:
    """Return True for a group of this user alone, as Debian and Fedora give each user."""
    import grp  # Windows does not have them
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(group_id)
    except KeyError:
        return False
    others = [one.pw_name for one in pwd.getpwall() if one.pw_gid == group_id and one.pw_uid != user.pw_uid]
    is_primary = user.pw_gid == group_id and group.gr_name == user.pw_name
    return is_primary and not others and not set(group.gr_mem) - {user.pw_name}


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
            print_line(f"Ignored {_shown(path)}: {distrust}.")
            return {}
        table = cls._read(path)
        refused = [name for name in table if name in cls.model_fields.keys() - cls.set_in_working_directory]
        if refused:
            raise ConfigError(
                f"{_shown(path)} sets {_shown(*refused)}, which a file in the working directory may not: "
                "it may be a stranger's. Give a flag or variable, or move the line to "
                f"{_shown(home() / CONFIG_NAME)}."
            )
        return table

    @classmethod
    def _read(cls, path: Path) -> dict[str, Any]:
        """Return the program's table, and say which file it is from: nobody may expect one there."""
        table = _toml_table(path.absolute(), cls.table)
        if table:
            print_line(f"Settings from {_shown(path.absolute())}: {_shown(*table)}.")
        return table

    @classmethod
    def load(cls, flags: dict[str, Any] | None = None) -> Self:
        """Return the settings; `flags` that are None count as not given. Raises ConfigError."""
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            lines = [
                f"  {_shown('.'.join(str(part) for part in item['loc']))}: {item['msg']}"
                for item in error.errors(include_url=False, include_input=False)
            ]
            raise ConfigError(
                f"Some settings of `{cls.table}` are wrong (flags, ACEPILOT_* variables or {CONFIG_NAME}):\n"
                + "\n".join(lines)
            ) from error
