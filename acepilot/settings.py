"""How every program reads its settings: flags, then `ACEPILOT_*` variables, then `acepilot.toml`.

A program subclasses `ProgramSettings`, names its table of `acepilot.toml` in `table`, and calls `load` with
the flags that were given. All mistakes are reported at once, in one `ConfigError`.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from acepilot.errors import ConfigError

CONFIG_FILE = Path("acepilot.toml")


def home() -> Path:
    """The folder of models and runs: `ACEPILOT_HOME`, else `~/.local/share/acepilot`."""
    given = os.environ.get("ACEPILOT_HOME")
    return Path(given).expanduser() if given else Path.home() / ".local" / "share" / "acepilot"


class _TomlTable(PydanticBaseSettingsSource):
    """One table of `acepilot.toml` in the working directory; empty when there is no such file."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # the base class asks for it, but `__call__` gives all values at once

    def __call__(self) -> dict[str, Any]:
        table_name: str = getattr(self.settings_cls, "table")  # noqa: B009 - the base class does not know it
        if not CONFIG_FILE.is_file():
            return {}
        try:
            document: dict[str, Any] = tomllib.loads(CONFIG_FILE.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{CONFIG_FILE.resolve()} is not valid TOML: {error}") from error
        table: dict[str, Any] = document.get(table_name, {})
        if not isinstance(table, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"{CONFIG_FILE.resolve()}: `{table_name}` must be a table, [{table_name}]")
        return table


class ProgramSettings(BaseSettings):
    """Base of each program's settings; a field `port` is read from --port, ACEPILOT_PORT, or the table."""

    model_config = SettingsConfigDict(env_prefix="ACEPILOT_", extra="forbid", env_ignore_empty=True)
    table: ClassVar[str]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _TomlTable(settings_cls)

    @classmethod
    def load(cls, flags: dict[str, Any] | None = None) -> Self:
        """Settings from all three places. `flags` with value None count as not given. Raises ConfigError."""
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            lines = [
                f"  {'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
                for item in error.errors(include_url=False, include_input=False)
            ]
            raise ConfigError(
                f"These settings of `{cls.table}` are wrong (flags, ACEPILOT_* variables or {CONFIG_FILE}):\n"
                + "\n".join(lines)
            ) from error
