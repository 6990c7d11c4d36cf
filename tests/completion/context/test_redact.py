"""Secrets by their shape. The samples are made up here, in pieces, so that no scanner takes this file for a leak."""

from __future__ import annotations

import pytest

from completion.context import redact as redact_room
from completion.context.redact import REDACTED, prints_secret, redact

RANDOM = "q7Zk2Lx9Vb4Nw8Rt1Yc6Hf3Jd5Gs0Mp2Aa"
SECRETS = [
    "AKIA" + "Z7Q2M4N6P8R0T1V3",
    "ghp_" + RANDOM + "9xY8",
    "glpat-" + RANDOM[:22],
    "xoxb-" + "123456789012-" + RANDOM[:12],
    "sk_live_" + RANDOM[:24],
    "sk-" + RANDOM,
    "AIza" + RANDOM + "x",
    "hf_" + RANDOM,
    "npm_" + RANDOM + "B1",
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N",
    "github_pat_" + RANDOM + "0123456789",
    "https://hooks.slack.com/services/" + RANDOM,
    "rk_test_" + RANDOM[:24],
    "sk-proj-" + RANDOM,
    "ya29." + RANDOM,
    "SG." + RANDOM[:22] + "." + RANDOM,
    "pypi-" + RANDOM + RANDOM,
    "dop_v1_" + "0123456789abcdef" * 4,
    "AC" + "0123456789abcdef" * 2,
    "123456789:AA" + RANDOM[:33],
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_known_shapes_are_taken_out(secret: str) -> None:
    text = f'x = "{secret}"  # y\n'
    assert redact(text) == f'x = "{REDACTED}"  # y\n'
    assert prints_secret(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('password = "hunter2!x"', f'password = "{REDACTED}"'),
        ("db_password: 'S3cr3t-9'", f"db_password: '{REDACTED}'"),
        ('{"api_key": "abc123def456"}', f'{{"api_key": "{REDACTED}"}}'),
        ("url = 'postgres://bob:s3cret9@db.host/x'", f"url = 'postgres://{REDACTED}@db.host/x'"),
        (f"k = '{RANDOM}'", f"k = '{REDACTED}'"),
    ],
)
def test_assigned_values_are_taken_out(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "token = get_token(user)",
        'password = ""',
        'password = "<your password>"',
        'api_key = "${API_KEY}"',
        'secret = "changeme-please1"',
        'token_type = "bearer"',
        "sha = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'",
        "def check_password(self, password: str) -> bool:",
        "https://example.org/a:b/c",
        "x = 'a quite long sentence that is no secret at all, by any means'",
        "",
    ],
)
def test_code_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert not prints_secret(text)


def test_looking_for_beginnings_first_loses_nothing() -> None:
    for secret in SECRETS:
        assert any(beginning in secret for beginning in redact_room._BEGINNINGS)
        assert redact_room._KNOWN.search(f'"{secret}"')


def test_a_trace_of_a_secret_is_not_printed_either() -> None:
    assert prints_secret(f'key = "{REDACTED}"')


@pytest.mark.parametrize("name", ["token", "password", "api_key"])
def test_a_name_repeated_without_end_costs_no_more_than_its_length(name: str) -> None:
    """Unbounded, this takes minutes."""
    text = name * 60_000
    assert redact(text) == text
    assert redact(f"{text}\n{name} = '{RANDOM}'") == f"{text}\n{name} = '{REDACTED}'"
