"""Secrets in the forms in which they are published, and texts made to keep the redaction busy."""

import re
import time
from collections.abc import Iterator
from itertools import product

import pytest

from bench.secrets.__main__ import SETS, missed
from bench.secrets.planted import Planted, plant
from finetune.corpus.cleaning import redact as redaction
from finetune.corpus.cleaning.redact import SECRET, redact
from finetune.corpus.cleaning.secrets import (
    addresses,
    bare,
    find_secrets,
    names,
    private_keys,
    quoted,
    sql_rows,
    tokens,
    values,
)

LEAST_RECALL = 0.95
MAX_SECONDS = 4.0
"""CPU seconds for up to 500 kB. Quadratic patterns took over 30."""


def seconds_of(text: str) -> float:
    started = time.process_time()
    redact(text)
    return time.process_time() - started


@pytest.mark.parametrize("name", SETS)
def test_nearly_all_planted_secrets_are_redacted(name: str) -> None:
    planted = plant(SETS[name], seed=1)
    left = [one.name for one in missed(planted)]
    assert len(left) <= (1 - LEAST_RECALL) * len(planted), left


def test_the_planted_sets_are_large() -> None:
    assert sum(len(plant(path, seed=1)) for path in SETS.values()) >= 340


def test_a_form_counts_as_missed_when_half_of_its_value_is_left() -> None:
    planted = Planted("a password", "python", "x", ("abcdefgh12345678",))
    assert planted.left_in("x = 'REDACTED_SECRET12345678'")
    assert not planted.left_in("x = 'REDACTED_SECRET'")


@pytest.mark.parametrize(
    "text",
    [
        "// -----BEGIN PRIVATE KEY-----\n" * 16_000,
        "<p>" + "eyJ" * 100_000 + "</p>",
        "const " + "password" * 30_000,
        "\n".join(f"key{number} = 'gh{'p'}_{number:036}'" for number in range(5_000)),
        "\n".join(f"mail{number}@acme{number}.io" for number in range(12_000)),
        "//" * 120_000 + ":_authToken",
        "sk-" * 80_000,
        "secret_token_" * 19_000 + "=",
        "--password" * 25_000,
        "curl " * 50_000,
        "://a:" * 50_000,
        "\n".join(f"password='pass{number}x'" for number in range(10_000)),
        "LS0tLS1CRUdJTiB" * 30_000 + "=a",
        "INSERT INTO t (password) VALUES " + "('a1b2'), " * 40_000,
        'value: "a1b2c3d4", name: "' * 15_000,
    ],
    ids=[
        "keys without END",
        "beginnings of a JWT",
        "a name of many passwords",
        "five thousand tokens",
        "twelve thousand addresses",
        "an npm token",
        "an OpenAI key",
        "a name of many tokens",
        "flags",
        "curl",
        "users in addresses",
        "ten thousand passwords",
        "beginnings of a key in base64",
        "rows of SQL",
        "names and values of a mapping",
    ],
)
def test_a_text_made_to_match_at_many_places_takes_no_longer_than_another(text: str) -> None:
    assert seconds_of(text) < MAX_SECONDS


def patterns() -> Iterator[re.Pattern[str]]:
    modules = (addresses, bare, names, private_keys, quoted, redaction, sql_rows, tokens, values)
    for module in modules:
        for value in vars(module).values():
            for pattern in value if isinstance(value, tuple) else (value,):
                if isinstance(pattern, re.Pattern):
                    yield pattern
    yield from tokens.prefixed_patterns()
    yield from (pattern for _, pattern in tokens.token_patterns())
    for _, command in bare._COMMANDS:
        yield re.compile(command, re.MULTILINE)


def units_of(pattern: re.Pattern[str]) -> set[str]:
    """Return texts to repeat: the pattern's literals, alone, together, and with what its classes match."""
    plain = re.sub(r"\(\?[a-z<!=:]*|\[[^\]]*\]|\{[^}]*\}|\\[a-zA-Z]", " ", pattern.pattern).replace("\\", "")
    literals = re.findall(r"[\w:/@=.$<>\"'`-]+", plain)[:6]
    fillings = ("", "a1", " ", "-", "a.", ": ", "='")
    return {
        f"{literal}{filling}" for literal, filling in product([*literals, "".join(literals)], fillings)
    } - {""}


def cpu_of_search(pattern: re.Pattern[str], text: str) -> float:
    started = time.process_time()
    for _ in pattern.finditer(text):
        pass
    return time.process_time() - started


def test_every_pattern_takes_time_in_proportion_to_the_text() -> None:
    """Four times the text may take four times as long; a quadratic pattern takes sixteen times."""
    slow: list[str] = []
    for pattern in patterns():
        for unit in units_of(pattern):
            short, long = (unit * (characters // len(unit) + 1) for characters in (5_000, 20_000))
            if cpu_of_search(pattern, long) < 0.05:  # a quadratic one needs a second
                continue
            ratio = min(cpu_of_search(pattern, long) for _ in range(3)) / min(
                cpu_of_search(pattern, short) for _ in range(3)
            )
            if ratio > 8:
                slow.append(f"{ratio:.0f} times for {unit!r}: {pattern.pattern}")
    assert not slow


def test_the_measure_of_patterns_finds_a_quadratic_one() -> None:
    quadratic = re.compile(r"eyJ[\w=-]+\.[\w=-]+")
    short, long = (cpu_of_search(quadratic, "eyJ" * repeats) for repeats in (1_600, 6_400))
    assert long > 8 * short


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("interface Login {\n  password: string\n  token: AccessToken1\n}", "typescript"),
        ("login(user, password=password, token=token2)", "python"),
        ("password: ${DB_PASSWORD}\ntoken: <your-token>\nsecret: changeme", "yaml"),
        ("PASSWORD=$1\nTOKEN=$(cat /run/token)\nSECRET_FILE=/run/secrets/db1", "bash"),
        ("const password = process.env.DB_PASSWORD || ''", "javascript"),
        ("getCredentials('msg91Api'); t('auth/wrong-password1')", "javascript"),
        (
            "key.startsWith('-----BEGIN PRIVATE KEY-----') && key.endsWith('-----END PRIVATE KEY-----')",
            "javascript",
        ),
        ("http://localhost:8080/node_modules/@vue/core", "javascript"),
        ('export type KeySpec = "RSA_2048" | "RSA_4096"', "typescript"),
        ('"gitHead": "231263a3535658bab1e9492c6aaaed8692d62a53"', "json"),
        ("Password = 'Heslo', username = 'Meno'", "javascript"),
        ("nextToken: 'YW5vdGhlclRva2VuIQ==1aB2'", "javascript"),
        ("self.proto._getHostKeys(b'rsa-sha2-256')", "python"),
        ("Version=3.0.0.0, Culture=neutral, PublicKeyToken=31bf3856ad364e35", "python"),
        ('"enum": ["AWS_AUTH", "AES_192_KEY", "AES_256_KEY"]', "json"),
        ("b'Credential=access_key/20170322/us-west-2/lex/aws4_request'", "python"),
        ("function pbkdf2Sync(password: Uint8Array, salt: Uint8Array): string", "typescript"),
        ('{"source": "Tour", "token": "primaryPrevBtnBg"}', "json"),
        ('dependencies = [("auth", "0003_alter_user_email_max_length")]', "python"),
        ("key.aws_access_key_id = conf.get('s3_access_key_id', None)", "python"),
        ('rates = {"reset_password": "20/m/ip,5/m/key"}', "python"),
        ("Pass `capture_exits=True` to capture exits.", "markdown"),
        (
            'const publicVapidKey = "B' + "DOU99-h67HcA6JeFXHbSNMu7e2yNNu3RzoMj8TM4" * 2 + 'a1b2c3"',
            "javascript",
        ),
        ('t("' + "HUDlGnrQXrJTrHgLnrAcJYMbDULcLTvFgGnCkMgJbAnLXQYvFYHnMX" * 2 + '")', "javascript"),
    ],
)
def test_names_types_references_and_labels_stay(text: str, language: str) -> None:
    assert redact(text, language) == (text, {})


def test_a_bare_word_is_a_password_in_yaml_and_a_variable_in_code() -> None:
    text = "password: butterfly\n"
    assert redact(text, "yaml")[0] == f"password: {SECRET}\n"
    assert redact(text, "typescript")[0] == text
    assert find_secrets(text) == []


def test_the_code_around_a_redacted_value_stays_valid() -> None:
    before = (
        'db = connect(host="db", password="butterfly42", timeout=3)\nKEY = b"' + "q9Zt" * 3 + '7Lm2Xw8"\n'
    )
    after = redact(before.replace("KEY", "SIGNING_KEY"), "python")[0]
    compile(after, "example.py", "exec")
    assert after.count(SECRET) == 2
