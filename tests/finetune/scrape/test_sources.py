"""Sources as users write them, and list files."""

from pathlib import Path

import pytest

from acepilot.errors import ConfigError
from finetune.scrape.git_url import Credentials
from finetune.scrape.sources import VUE40, Source, parse_source, read_list


@pytest.mark.parametrize(
    ("text", "source", "project"),
    [
        ("npm:buefy@3.1.0", Source("npm", "buefy", "3.1.0"), "npm:buefy"),
        ("npm:@nuxt/ui", Source("npm", "@nuxt/ui"), "npm:@nuxt/ui"),
        ("npm:@nuxt/ui@4.11.2", Source("npm", "@nuxt/ui", "4.11.2"), "npm:@nuxt/ui"),
        ("pypi:rich@15.0.0", Source("pypi", "rich", "15.0.0"), "pypi:rich"),
        ("github:vuejs/pinia@4f1a2b3", Source("github", "vuejs/pinia", "4f1a2b3"), "github:vuejs/pinia"),
        (
            "git:https://git.example.com/team/shop.git@main",
            Source("git", "https://git.example.com/team/shop.git", "main"),
            "git:git.example.com/team/shop",
        ),
        ("git:git@example.com:team/shop.git", Source("git", "git@example.com:team/shop.git"), None),
        ("git:https://github.com/a/b.git", Source("git", "https://github.com/a/b.git"), "github:a/b"),
        ("path:/srv/shop", Source("path", "/srv/shop"), "path:shop"),
    ],
)
def test_a_source_is_read_as_it_is_written(text: str, source: Source, project: str | None) -> None:
    assert parse_source(text) == source
    assert project is None or source.id == project


def test_a_password_is_kept_apart_from_the_url() -> None:
    source = parse_source("git:https://ci:glpat-s3cret@git.example.com/team/shop.git@main")
    assert source.clone_url == "https://git.example.com/team/shop.git"
    assert source.credentials == Credentials("https://git.example.com", "ci", "glpat-s3cret")
    assert "s3cret" not in repr(source)
    assert source.ref == "main"
    assert source.key == "git:https://git.example.com/team/shop.git@main"
    assert source.id == "git:git.example.com/team/shop"


@pytest.mark.parametrize(
    "text", ["buefy", "npm:", "npm:a b", "github:justaname", "svn:somewhere", "npm:a@1;rm", "pypi:--index"]
)
def test_an_invalid_source_is_refused_with_the_valid_forms(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a source"):
        parse_source(text)


def test_two_versions_of_a_project_are_one_repository() -> None:
    assert parse_source("npm:buefy@3.1.0").id == parse_source("npm:buefy@3.0.0").id


def test_the_ready_list_names_forty_different_repositories() -> None:
    sources = read_list(VUE40)
    assert len({source.id for source in sources}) == 40
    assert {source.kind for source in sources} == {"github"}


def test_a_list_file_may_have_comments(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# ours\nnpm:buefy@3.1.0 # tables\n\ngithub:vuejs/pinia\n")
    assert [source.key for source in read_list(path)] == ["npm:buefy@3.1.0", "github:vuejs/pinia"]


def test_an_empty_or_missing_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(ConfigError, match="has no source"):
        read_list(tmp_path / "empty.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_list(tmp_path / "missing.txt")
