"""One tiny corpus and one ACEPILOT_HOME for all training tests of a session."""

from pathlib import Path

import pytest

from finetune.modeling.tiny import make_tiny_corpus


@pytest.fixture(scope="session")
def training_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_corpus(tmp_path_factory.mktemp("corpus"), row_tokens=64)
