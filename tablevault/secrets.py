"""Texts that look like keys: found before they are written, and taken out of error texts.

The forms are those that providers publish and scanners such as gitleaks look for: a prefix of their
own, followed by so many characters. A secret without such a form, a password for instance, is
found only in an error text, as the value of an environment variable that a builder has read.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import quote

from tablevault.errors import TVSecretError, message_of


class _Shape(NamedTuple):
    """How one kind of key is written.

    The pattern is tried only where the text has one of the `markers`, in small letters: to look
    for a word costs a fraction of what an expression does. No expression repeats a repetition,
    so that no text takes it more than linear time.
    """

    kind: str
    markers: str
    pattern: str
    is_assigned: bool = False
    """Whether the name that the key is assigned to belongs to the form."""


_PEM = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_PEM_TEXT = r"""(?:[A-Za-z0-9+/=\\\s"',:;]|-(?!-))"""

_FORMS: Final = (
    _Shape("Anthropic key", "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{16,}"),
    _Shape("OpenRouter key", "sk-or-", r"sk-or-v1-[A-Za-z0-9]{20,}"),
    _Shape("Langfuse key", "sk-lf-", r"sk-lf-[0-9a-f]{8}-[0-9a-f-]{27}"),
    _Shape(
        "OpenAI key",
        "sk-",
        r"sk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{20,})",
    ),
    _Shape("Google key", "aiza", r"AIza[A-Za-z0-9_-]{30,45}"),
    _Shape(
        "Google OAuth secret",
        "gocspx- ya29.",
        r"(?:GOCSPX-[A-Za-z0-9_-]{24,}|ya29\.[A-Za-z0-9_-]{30,})",
    ),
    _Shape(
        "AWS key", "a3t akia asia abia acca", r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"
    ),
    _Shape(
        "AWS secret key",
        "secret",
        r"""(?i:secret_?(?:access_?)?key)["']?\s{0,5}[:=]{1,2}>?\s{0,5}["']?"""
        r"(?=[A-Za-z/+]*[0-9])[A-Za-z0-9/+]{40}(?![/+=])",
        is_assigned=True,
    ),
    _Shape(
        "AWS Bedrock key",
        "absk bedrock-api-key-",
        r"(?:ABSK[A-Za-z0-9+/]{100,}|bedrock-api-key-[A-Za-z0-9+/]{40,})",
    ),
    _Shape("Azure storage key", "accountkey=", r"AccountKey=[A-Za-z0-9+/]{80,}", is_assigned=True),
    _Shape(
        "Azure key",
        "azure",
        r"""(?i:azure_?(?:openai_?)?(?:api_?)?key)["']?\s{0,5}[:=]\s{0,5}["']?"""
        r"(?:[A-Za-z0-9]{84}|[0-9a-f]{32})",
        is_assigned=True,
    ),
    _Shape("Azure client secret", "q~", r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}"),
    _Shape(
        "GitHub token",
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        r"(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})",
    ),
    _Shape(
        "GitLab token",
        "glpat- gldt- glrt- glptt- glft- glcbt- glsoat- glagent- gloas- glimt- glffct-",
        r"gl(?:pat|dt|rt|ptt|ft|cbt|soat|agent|oas|imt|ffct)-[A-Za-z0-9_.-]{20,}",
    ),
    _Shape("Hugging Face token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z0-9]{30,}"),
    _Shape(
        "Slack token",
        "xox xapp-",
        r"(?:xox[abeoprs]-(?=[A-Za-z-]*[0-9])[A-Za-z0-9.-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,})",
    ),
    _Shape(
        "Slack webhook",
        "hooks.slack.com/",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,}",
    ),
    _Shape(
        "Discord webhook",
        "/webhooks/",
        r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,}",
    ),
    _Shape(
        "Stripe key",
        "sk_ rk_ whsec_",
        r"(?:[sr]k_(?:live|test|prod)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{32,})",
    ),
    _Shape("Groq key", "gsk_", r"gsk_[A-Za-z0-9]{40,}"),
    _Shape("xAI key", "xai-", r"xai-[A-Za-z0-9]{60,}"),
    _Shape("Perplexity key", "pplx-", r"pplx-[A-Za-z0-9]{40,}"),
    _Shape("Cerebras key", "csk-", r"csk-[a-z0-9]{40,}"),
    _Shape("NVIDIA key", "nvapi-", r"nvapi-[A-Za-z0-9_-]{50,}"),
    _Shape("Replicate token", "r8_", r"r8_[A-Za-z0-9]{37}"),
    _Shape("Fireworks key", "fw_", r"fw_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{22,24}"),
    _Shape("Together key", "tgp_v1_", r"tgp_v1_[A-Za-z0-9_-]{40,}"),
    _Shape("Pinecone key", "pcsk_", r"pcsk_[A-Za-z0-9_]{50,}"),
    _Shape("Tavily key", "tvly-", r"tvly-(?:dev-|prod-)?[A-Za-z0-9]{28,}"),
    _Shape("LangSmith key", "lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),
    _Shape("Weights & Biases key", "wandb_v1_", r"wandb_v1_[A-Za-z0-9_]{40,}"),
    _Shape("Databricks token", "dapi", r"dapi[0-9a-f]{32}(?:-[0-9])?"),
    _Shape("npm token", "npm_", r"npm_[A-Za-z0-9]{30,}"),
    _Shape("PyPI token", "pypi-age", r"pypi-AgE[A-Za-z0-9_-]{30,}"),
    _Shape("Docker token", "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{24,}"),
    _Shape("RubyGems key", "rubygems_", r"rubygems_[0-9a-f]{48}"),
    _Shape("DigitalOcean token", "_v1_", r"do[opr]_v1_[0-9a-f]{64}"),
    _Shape("SendGrid key", "sg.", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{30,}"),
    _Shape("Twilio key", "sk", r"SK[0-9a-f]{32}"),
    _Shape("Telegram token", ":aa", r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}", is_assigned=True),
    _Shape("Notion token", "ntn_", r"ntn_[0-9]{11}[A-Za-z0-9]{35}"),
    _Shape("Linear key", "lin_api_", r"lin_api_[A-Za-z0-9]{40}"),
    _Shape("Airtable token", "pat", r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"),
    _Shape("Shopify token", "shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    _Shape("Supabase key", "sbp_ sb_", r"(?:sbp_[0-9a-f]{40}|sb_secret_[A-Za-z0-9_-]{20,})"),
    _Shape("HashiCorp Vault token", "hvs. hvb. hvr.", r"hv[sbr]\.[A-Za-z0-9_-]{24,}"),
    _Shape("Doppler token", "dp.", r"dp\.(?:pt|st|sa|ct)\.[A-Za-z0-9_.-]{40,}"),
    _Shape("Heroku key", "hrku-", r"HRKU-AA[A-Za-z0-9_-]{50,}"),
    _Shape(
        "Grafana token",
        "glc_ glsa_",
        r"(?:glc_[A-Za-z0-9+/]{32,}|glsa_[A-Za-z0-9]{32}_[0-9A-Fa-f]{8})",
    ),
    _Shape("Postman key", "pmak-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    _Shape("age key", "age-secret-key-", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    _Shape(
        "JSON Web Token",
        ".eyj",
        r"eyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}",
    ),
    _Shape(
        "private key",
        "private key",
        rf"{_PEM}(?:{_PEM_TEXT}{{1,50000}}?{_PEM.replace('BEGIN', 'END')}"
        rf"|(?:\\[nr]|[\s\"'])*[A-Za-z0-9+/]{{16}}{_PEM_TEXT}*)",
    ),
)

IN_BUILDER: Final = "Write ~ENV:NAME~ in its place, and set the environment variable NAME."
IN_CODE: Final = 'Read it from the environment instead: os.environ["NAME"].'
IN_DESCRIPTION: Final = "Leave it out."
"""What to do about a key in each of these."""

_BODY: Final = re.compile(r"[A-Za-z0-9+/]{12}")
_BREAKS: Final = ("\\n", "\\r", "\\t")
"""Escaped breaks: the letter is no part of the word that follows."""
_SHORTEST: Final = 6
"""Values of environment variables that are shorter stay in error texts, as most words would go."""
_SHORTEST_SECRET: Final = 8
_NAMED_SECRET: Final = re.compile(
    r"(?i)(?:key|token|password|passwd|passphrase|credentials?|dsn)(?:_|[0-9]|$)|secret"
)
_SHOWN: Final = 5

_LOGINS: Final = (
    (re.compile(r"(?i)\b(bearer|basic)\s+(?=[^\s0-9]*[0-9])[A-Za-z0-9._~+/=-]{16,}"), r"\1 ***"),
    (re.compile(r"(://[^/\s:@\"']{0,100}:)[^/\s@\"']{1,200}@"), r"\1***@"),
    (
        re.compile(
            r"""(?i)((?:api[-_]?key|(?:access|auth)[-_]?token|[?&](?:key|token|sig))["']?"""
            r"""\s{0,3}[:=]\s{0,3}["']?)[A-Za-z0-9._~+/=%-]{16,}"""
        ),
        r"\1***",
    ),
)
"""Headers, addresses and queries that exceptions of HTTP clients and databases quote."""

_values: dict[str, str] = {}
"""Values that builders have read from environment variables, with what stands for them."""
_secrets: dict[str, str] = {}
"""Those among them that are secrets, with the names of the variables."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A text that looks like a key.

    Attributes
    ----------
    place : str
        The file that it stands in, or what else the text is.
    line : int
        Its line there, the first is 1.
    kind : str
        What it looks like, for instance "OpenAI key".
    """

    place: str
    line: int
    kind: str

    def __str__(self) -> str:
        """Return place, line and kind in one line."""
        return f"{self.place}:{self.line} {self.kind}"


def find_secrets(place: str, text: str | bytes, known: str = "") -> list[Finding]:
    """Return what looks like a key in a text, by line.

    Parameters
    ----------
    place : str
        What the text is called in findings.
    text : str or bytes
        The text. Bytes are read as UTF-8; those with a NUL are no text.
    known : str, default ""
        A text that is kept already: what stands in it is not found again.
    """
    now = _decoded(text)
    found = sorted(
        (start, kind) for start, end, kind in _matches(now) if now[start:end] not in known
    )
    return [Finding(place, now.count("\n", 0, start) + 1, kind) for start, kind in found]


def secret_error(findings: Sequence[Finding], hint: str) -> TVSecretError:
    """Make the error for what was found; it names each place, and never the text itself."""
    shown = [f"{each.place}, line {each.line} ({each.kind})" for each in findings[:_SHOWN]]
    more = f" and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    return TVSecretError(
        f"What looks like a key would be kept for ever: {'; '.join(shown)}{more}. "
        "Nothing was written.",
        hint,
        path=findings[0].place,
        line=findings[0].line,
        kind=findings[0].kind,
    )


def redact(text: str) -> str:
    """Return a text without what looks like a key.

    Values that builders have read from environment variables, and of all variables whose names
    tell a secret, are replaced by ``~ENV:NAME~``, also where they are escaped or quoted. A text
    without keys is returned itself.
    """
    given = text
    values = _values.copy()
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and _NAMED_SECRET.search(name):
            values.update(dict.fromkeys(_spellings(value), f"~ENV:{name}~"))
    for value, name in sorted(values.items(), key=lambda item: -len(item[0])):
        text = text.replace(value, name)
    found = sorted(_matches(text))
    for start, end, kind in reversed(found):
        text = f"{text[:start]}[{kind} removed]{text[end:]}"
    for pattern, instead in _LOGINS:
        text = pattern.sub(instead, text)
    return given if text == given else text


def text_to_keep(error: BaseException) -> str:
    """Return the text of an exception as it may be written: without keys."""
    return redact(message_of(error))


def is_secret(name: str, value: str) -> bool:
    """Return whether an environment variable holds a secret, by its name or the form of it."""
    is_long = len(value) >= _SHORTEST_SECRET
    return is_long and bool(_NAMED_SECRET.search(name) or find_secrets(name, value))


def has_secrets() -> bool:
    """Return whether a builder has read a secret."""
    return bool(_secrets)


def leaked(text: str) -> str:
    """Return the name of the secret that a builder has read and a text holds; "" if none does."""
    if not _secrets:  # asked for each call
        return ""
    return next((name for value, name in _secrets.copy().items() if value in text), "")


def hide(name: str, value: str) -> None:
    """Let `redact` replace the value of an environment variable from now on."""
    instead = f"~ENV:{name}~"
    if is_secret(name, value):
        _secrets.update(dict.fromkeys(_spellings(value), name))
    _values.update((form, instead) for form in _spellings(value) if len(form) >= _SHORTEST)


def _spellings(value: str) -> set[str]:
    """Return a value as it is, escaped by Python and JSON, quoted for an address, and in base64."""
    data = value.encode("utf-8", "surrogateescape")
    found = {value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(data, safe="")}
    if len(data) >= _SHORTEST_SECRET:
        found.update(_base64_within(data, offset) for offset in range(3))
    return found


def _base64_within(data: bytes, offset: int) -> str:
    """Return what base64 makes of data that begin at an offset: without bits of its neighbours."""
    text = base64.b64encode(bytes(offset) + data).decode("ascii")
    end = (offset + len(data)) * 8 // 6
    return text[-(-offset * 8 // 6) : end]


def _matches(text: str) -> Iterator[tuple[int, int, str]]:
    """Walk what looks like a key: start, end and kind; a text is of the first kind that it fits."""
    lowered = text.lower()
    taken: set[int] = set()
    for form in _FORMS:
        if not any(marker in lowered for marker in form.markers.split()):
            continue
        for match in re.finditer(form.pattern, text):
            start, end = match.span()
            if start in taken or not _is_whole(text, start, end, form) or _is_blank(match[0]):
                continue
            taken.add(start)
            yield start, end, form.kind


def _is_whole(text: str, start: int, end: int, form: _Shape) -> bool:
    """Return whether a match is no part of a longer word, as in a digest or in base64."""
    if _is_letter(text[end : end + 1]):
        return False
    before = text[max(0, start - 2) : start]
    is_inside = _is_letter(before[-1:]) or before.endswith("_")
    return form.is_assigned or not is_inside or before in _BREAKS


def _is_letter(text: str) -> bool:
    """Return whether a text is a letter or digit that keys are made of."""
    return text.isascii() and text.isalnum()


def _is_blank(key: str) -> bool:
    """Return whether it is blanked out, as in ``sk-xxxxxxxxxxxxxxxxxxxxxxxx``, or lacks a body."""
    is_empty = key.startswith("-----") and _BODY.search(key) is None
    return is_empty or any(2 * key.count(letter) > len(key) for letter in "xX0")


def _decoded(text: str | bytes) -> str:
    """Return bytes as text; "" for what is none."""
    if isinstance(text, str):
        return text
    return "" if b"\0" in text else text.decode("utf-8", "replace")
