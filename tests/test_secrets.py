"""What looks like a key, what does not, and what is left of an error text."""

from __future__ import annotations

import base64
import random
import string
from urllib.parse import quote

import pytest

from tablevault import secrets
from tablevault.secrets import (
    Finding,
    find_secrets,
    hide,
    leaked,
    redact,
    secret_error,
    text_to_keep,
)

_random = random.Random(5)
WORD = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def made(length, letters=WORD):
    return "".join(_random.choice(letters) for _ in range(length))


PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{made(64)}\n{made(40)}==\n-----END RSA PRIVATE KEY-----"
KEYS = {
    "OpenAI key": [
        f"sk-{made(20)}T3BlbkFJ{made(20)}",
        f"sk-proj-{made(74)}T3BlbkFJ{made(74)}",
        f"sk-svcacct-{made(60)}",
        f"sk-{made(32, HEX)}",
    ],
    "Anthropic key": [
        f"sk-ant-api03-{made(40)}_{made(30)}-{made(20)}AA",
        f"sk-ant-oat01-{made(90)}",
    ],
    "OpenRouter key": [f"sk-or-v1-{made(64, HEX)}"],
    "Google key": [f"AIzaSy{made(33)}"],
    "AWS key": ["AKIA" + made(16, "ABCDEFGHIJKLMN234567"), "ASIA" + made(16, "ABCDEFGH234567")],
    "AWS secret key": [
        f"AWS_SECRET_ACCESS_KEY={made(39)}7",
        f'aws_secret_access_key: "{made(20)}/{made(18)}8"',
        f'"secretAccessKey": "{made(39)}9"',
    ],
    "Azure storage key": [f"AccountKey={made(86)}=="],
    "Azure key": [f'AZURE_OPENAI_API_KEY = "{made(32, HEX)}"'],
    "Azure client secret": [f"{made(3)}8Q~{made(34)}"],
    "GitHub token": [f"{kind}_{made(36)}" for kind in ("ghp", "gho", "ghs")]
    + [f"github_pat_{made(22)}_{made(59)}"],
    "GitLab token": [f"glpat-{made(20)}", f"glrt-{made(20)}"],
    "Hugging Face token": [f"hf_{made(34)}"],
    "Slack token": [f"xoxb-{made(11, string.digits)}-{made(12, string.digits)}-{made(24)}"],
    "Slack webhook": [
        "https://hooks.slack.com/services/T" + made(8) + "/B" + made(8) + "/" + made(24)
    ],
    "Stripe key": [f"sk_live_{made(24)}", f"rk_test_{made(24)}"],
    "Groq key": [f"gsk_{made(52)}"],
    "npm token": [f"npm_{made(36)}"],
    "PyPI token": [f"pypi-AgEIcHlwaS5vcmc{made(70)}"],
    "SendGrid key": [f"SG.{made(22)}.{made(43)}"],
    "Telegram token": [f"https://api.telegram.org/bot{made(10, string.digits)}:AA{made(33)}/getMe"],
    "Databricks token": [f"dapi{made(32, HEX)}"],
    "JSON Web Token": [f"eyJ{made(33)}.eyJ{made(60)}.{made(43)}"],
    "private key": [
        PEM,
        PEM.replace("\n", "\\n"),
        PEM.replace("RSA ", "OPENSSH "),
        PEM.replace("KEY--", "KEY BLOCK--").replace("RSA", "PGP"),
        PEM.replace("\n", "\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,A1\n", 1),
        PEM.rpartition("\n")[0],
    ],
}
ALL = [(kind, key) for kind, keys in KEYS.items() for key in keys]
every_key = pytest.mark.parametrize(
    ("kind", "key"), ALL, ids=[f"{kind}-{number}" for number, (kind, _) in enumerate(ALL)]
)


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch):
    monkeypatch.setattr(secrets, "_values", {})
    monkeypatch.setattr(secrets, "_secrets", {})


@every_key
def test_a_key_is_found_in_whatever_stands_around_it(kind, key):
    for text in ("{}", "a = '{}'\n", "a: {}\n", "{}. More.", "x\\n{}", '\\"{}\\"', "?key={}&b=1"):
        assert find_secrets("f", text.format(key)) == [Finding("f", 1, kind)], text


@every_key
def test_nothing_of_a_key_stays_in_a_text_that_is_redacted(kind, key):
    left = redact(f"Failed: {key}, sorry.")
    assert key[-12:] not in left
    assert f"[{kind} removed]" in left
    assert left.startswith("Failed: ")


@pytest.mark.parametrize(
    "text",
    [
        "sk-test",
        "sk-...",
        "sk-proj-...",
        "export OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "task-abcdefghijklmnopqrstuvwxyz0123456789",
        "sk-estimator-doc-link-of-some-length",
        made(32, HEX),
        made(40, HEX),
        f"sha256:{made(64, HEX)}",
        f"{made(8, HEX)}-{made(4, HEX)}-{made(4, HEX)}-{made(12, HEX)}",
        'if text.startswith("-----BEGIN PRIVATE KEY-----"):',
        'a("-----BEGIN PRIVATE KEY-----") and b("-----END PRIVATE KEY-----")',
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "between '-----BEGIN RSA PRIVATE KEY-----' and '-----END RSA PRIVATE KEY-----', that is",
        "-----BEGIN PUBLIC KEY-----\n" + made(64) + "\n-----END PUBLIC KEY-----",
        'os.environ["AWS_SECRET_ACCESS_KEY"]',
        "aws_secret_access_key: ~ENV:AWS_SECRET_ACCESS_KEY~",
        "aws_secret_access_key=os.environ.get('AWS_SECRET_ACCESS_KEY')",
        "api_key: ~ENV:OPENAI_API_KEY~",
        "hf_tokenizer_of_the_large_model",
        "xoxb-your-bot-token-here",
        "https://files.example.com/dataset/AIza/index.html",
        "self.risk-adjusted, disk-image, ask-0123456789012345678901",
        "",
    ],
)
def test_what_only_resembles_a_key_is_not_found(text):
    assert find_secrets("f", text) == []


def test_a_private_key_that_is_cut_off_is_found():
    text = '{"private_key": "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhk...'
    assert find_secrets("f", text) == [Finding("f", 1, "private key")]


def test_base64_and_digests_are_no_keys():
    for _ in range(20):
        data = made(100_000, WORD + "+/")
        assert find_secrets("f", data) == []
    assert find_secrets("f", "\n".join(made(64, HEX) for _ in range(2_000))) == []


def test_each_key_is_found_with_its_line():
    text = f"one\n{KEYS['GitHub token'][0]}\n\nfour {KEYS['OpenAI key'][0]} {KEYS['AWS key'][0]}\n"
    assert find_secrets("f", text) == [
        Finding("f", 2, "GitHub token"),
        Finding("f", 4, "OpenAI key"),
        Finding("f", 4, "AWS key"),
    ]


def test_a_key_of_one_provider_is_not_found_as_that_of_another():
    assert find_secrets("f", f"sk-ant-{made(20)}") == [Finding("f", 1, "Anthropic key")]


def test_what_is_kept_already_is_not_found_again():
    old, new = KEYS["OpenAI key"][:2]
    assert find_secrets("f", f"{old}\n{new}", known=f"x {old}") == [Finding("f", 2, "OpenAI key")]


def test_bytes_are_read_as_text_and_binary_data_are_not():
    key = KEYS["OpenAI key"][0].encode()
    assert find_secrets("f", b"\xff " + key) == [Finding("f", 1, "OpenAI key")]
    assert find_secrets("f", b"\0" + key) == []


def test_the_error_names_places_and_not_the_key():
    key = KEYS["OpenAI key"][0]
    error = secret_error(find_secrets("code/ask.py", f"\n{key}\n" * 7), "Read it from elsewhere.")
    assert str(error) == (
        "What looks like a key would be kept for ever: code/ask.py, line 2 (OpenAI key); "
        "code/ask.py, line 4 (OpenAI key); code/ask.py, line 6 (OpenAI key); "
        "code/ask.py, line 8 (OpenAI key); code/ask.py, line 10 (OpenAI key) and 2 more. "
        "Nothing was written. Read it from elsewhere."
    )
    assert error.facts == {"path": "code/ask.py", "line": 2, "kind": "OpenAI key"}


def test_values_of_environment_variables_are_replaced_by_their_names():
    hide("PASSWORD", "hunter2 & co")
    hide("OLD", "hunter2 & co of old")
    assert redact("no hunter2 & co, no hunter2 & co of old") == "no ~ENV:PASSWORD~, no ~ENV:OLD~"


def test_values_are_found_escaped_and_quoted_too():
    value = 'a"b\nc\\d é/e'
    hide("A", value)
    for text in (repr(value), quote(value, safe=""), f"{[value]}"):
        assert redact(text).strip("'\"[]") == "~ENV:A~"


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "user:x"])
def test_values_are_found_in_base64_as_logins_have_them(before):
    hide("A_KEY", "correct horse battery")
    text = base64.b64encode(f"{before}correct horse battery, and more".encode()).decode()
    assert "~ENV:A_KEY~" in redact(text)
    assert b"horse" not in base64.b64decode(redact(text).split("~")[2] + "====")
    assert leaked(text) == "A_KEY"


def test_short_values_stay_for_they_are_words():
    hide("ONE", "1")
    hide("NONE", "")
    assert redact("row 1 of 11") == "row 1 of 11"


def test_variables_whose_names_tell_a_secret_are_replaced_though_no_builder_reads_them(monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "hunter2 & co")
    monkeypatch.setenv("OPENAI_API_KEY_2", "hunter3 & co")
    monkeypatch.setenv("MY_TOKENIZER", "hunter4 & co")
    monkeypatch.setenv("SHORT_TOKEN", "hunter5")
    monkeypatch.setenv("PWD_KEY", "")
    text = "hunter2 & co, hunter3%20%26%20co, hunter4 & co, hunter5"
    assert redact(text) == "~ENV:DB_PASSWORD~, ~ENV:OPENAI_API_KEY_2~, hunter4 & co, hunter5"


def test_a_value_that_is_no_utf_8_is_replaced(monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "hunter\udcff2")
    assert redact("hunter\udcff2 or hunter%FF2") == "~ENV:DB_PASSWORD~ or ~ENV:DB_PASSWORD~"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("postgresql://ana:hunter2@db:5432/x failed", "postgresql://ana:***@db:5432/x failed"),
        ("Authorization: Bearer abcdefghij0123456789", "Authorization: Bearer ***"),
        ("{'x-api-key': 'abcdefghij0123456789'}", "{'x-api-key': '***'}"),
        ("GET /v1?key=abcdefghij0123456789&n=1", "GET /v1?key=***&n=1"),
        ("https://example.com/a:b@c is no login", "https://example.com/a:b@c is no login"),
        ("basic understanding of bearer instruments", "basic understanding of bearer instruments"),
        ("api_key must be set", "api_key must be set"),
    ],
)
def test_logins_that_exceptions_quote_are_taken_out(text, left):
    assert redact(text) == left


def test_an_exception_itself_stays_as_it_is():
    key = KEYS["OpenAI key"][0]
    error = ValueError(f"Incorrect API key provided: {key}")
    assert text_to_keep(error) == "Incorrect API key provided: [OpenAI key removed]"
    assert key in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----" * 20_000,
        "-----BEGIN PRIVATE KEY-----" + "a " * 300_000,
        "eyJaaaaaaaaaaaaaaaaaa." * 30_000,
        "secret_key=" * 60_000,
        "://a:" * 100_000,
        "0" * 600_000,
    ],
    ids=["begins", "never ends", "half tokens", "names", "addresses", "digits"],
)
def test_no_text_takes_long(text):
    assert redact(text) == text or "removed" in redact(text)
