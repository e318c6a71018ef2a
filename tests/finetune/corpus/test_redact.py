"""Secrets and personal data are replaced wherever they occur; similar harmless text stays."""

import base64
import json

import pytest

from finetune.corpus.cleaning.redact import EMAIL, IPV4, IPV6, SECRET, redact

# Concatenated, so that no secret scanner reports this file.
GITHUB_TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
AWS_KEY = "AKIA" + "Z7Q2M4XK5WPL3TRD"
STRIPE = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq\nPzq0x3vT\n-----END RSA PRIVATE KEY-----"


def token(*parts: dict[str, str]) -> str:
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"])


@pytest.mark.parametrize(
    "value",
    [GITHUB_TOKEN, AWS_KEY, STRIPE, token({"alg": "HS256"}, {"sub": "1"}), "MIIEpAIBAAKCAQEA7bq\nPzq0x3vT"],
)
def test_tokens_and_keys_are_replaced(value: str) -> None:
    text = f"const key = '{value}'\n" if "\n" not in value else KEY
    cleaned, counts = redact(text)
    assert value not in cleaned
    assert SECRET in cleaned
    assert counts["secret"] >= 1


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("password = 'tr0ub4dor&3xYz'", "tr0ub4dor&3xYz"),
        ('"apiKey": "9f8e7d6c5b4a39281706"', "9f8e7d6c5b4a39281706"),
        ("fetch('https://admin:s3cr3tPw9@shop.acme.io/x')", "s3cr3tPw9"),
    ],
)
def test_assigned_secrets_are_replaced(line: str, value: str) -> None:
    cleaned, counts = redact(line)
    assert value not in cleaned
    assert counts["secret"] == 1


def test_a_value_is_replaced_wherever_it_occurs() -> None:
    cleaned, counts = redact(f"token = '{GITHUB_TOKEN}'\n# the old one, {GITHUB_TOKEN}, is revoked\n")
    assert GITHUB_TOKEN not in cleaned
    assert cleaned.count(SECRET) == 2
    assert counts == {"secret": 1}


@pytest.mark.parametrize("word", ["bar", "postgres", "100"])
def test_a_password_like_a_plain_word_is_replaced_in_its_url_alone(word: str) -> None:
    rest = f"import toolbar from 'postgres'\nconst port = 51004, name = '{word}'\n"
    cleaned, counts = redact(f"{rest}connect('db://me:{word}@db.acme.io')\n")
    assert cleaned == f"{rest}connect('db://me:{SECRET}@db.acme.io')\n"
    assert counts == {"secret": 1}


@pytest.mark.parametrize(
    ("text", "expected", "kind"),
    [
        ("// by Ann <ann.lee@acme.io>", f"// by Ann <{EMAIL}>", "email"),
        ("host: 93.184.216.34", f"host: {IPV4}", "ip"),
        ("listen [2606:2800:220:1:248:1893:25c8:1946]", f"listen [{IPV6}]", "ip"),
    ],
)
def test_personal_data_becomes_values_that_are_reserved_for_it(text: str, expected: str, kind: str) -> None:
    assert redact(text) == (expected, {kind: 1})


@pytest.mark.parametrize(
    "text",
    [
        "password: 'Password'",
        "label: 'Forgot your password?'",
        "const token = useToken('access')",
        "secret: process.env.SESSION_SECRET",
        "const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'",
        "import x from '@/components/navigation/VPNavBarMenuGroup2.vue'",
        "id: '123e4567-e89b-12d3-a456-426614174000'",
        "password: '\\u30D1\\u30B9\\u30EF\\u30FC\\u30C9'",
        "const constants = [ APERTUREVALUE, APPLICATION ]",
        "<img src='icon@2x.png'>",
        "git clone git@github.com:vuejs/core.git",
        "mail: user@example.com",
        "bind('127.0.0.1'); allow('192.168.1.20'); listen('0.0.0.0')",
        '<path d="M12.5.3.2.1 103.20.30.40z"/>',
        "version 1.2.3.4",
        "const time = '12:30:45'",
        "background: url(data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ)",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert redact(text) == (text, {})
