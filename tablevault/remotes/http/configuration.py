"""What git's configuration and the environment say about HTTP: proxies, TLS, headers."""

from __future__ import annotations

import logging
import os
import re
import ssl
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from tablevault.errors import TVRemoteError
from tablevault.history.git.git_config import Settings
from tablevault.remotes.http.urls import Origin, origin_of, split_login

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x1f\x7f]*)")
_log = logging.getLogger("tablevault")


def proxy_of(origin: Origin, settings: Settings) -> tuple[Origin | None, dict[str, str]]:
    """Return the proxy for `origin`, None if there is none, and the headers for it.

    Raises
    ------
    TVRemoteError
        It is not an HTTP proxy.
    """
    if urllib.request.proxy_bypass(f"{origin.host}:{origin.port}"):
        return None, {}
    found = urllib.request.getproxies()
    default = found.get(origin.scheme, found.get("all", ""))
    url = _last(settings, "proxy", origin, default)
    if not url:
        return None, {}
    if "://" in url and not url.startswith("http://"):
        raise TVRemoteError(
            f"The proxy for {origin} cannot be used.",
            "Only http:// proxies are supported: set http.proxy in git's configuration.",
        )
    bare, login = split_login(url if "://" in url else f"http://{url}")
    return origin_of(bare), {"Proxy-Authorization": login.basic} if login.username else {}


def tls_context(origin: Origin, settings: Settings) -> ssl.SSLContext:
    """Return a TLS context with the certificates that git uses for `origin`."""
    bundle, folder, certificate, key = (
        _file(settings, name, origin) for name in ("sslcainfo", "sslcapath", "sslcert", "sslkey")
    )
    context = ssl.create_default_context(cafile=bundle, capath=folder)
    is_verified = settings.flag(_last(settings, "sslverify", origin), default=True)
    if not is_verified or os.environ.get("GIT_SSL_NO_VERIFY"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def extra_headers(lines: Iterable[str]) -> dict[str, str]:
    """Parse the values of ``http.extraHeader``; an empty one cancels those before it."""
    found: dict[str, str] = {}
    for line in lines:
        if not line:
            found = {}
        elif parts := _HEADER.fullmatch(line.strip()):
            found[parts[1]] = parts[2]
        else:
            _log.warning("A value of http.extraHeader is not a header, and is not sent.")
    return found


def _last(settings: Settings, name: str, origin: Origin, default: str = "") -> str:
    """Return the value of ``http.<name>`` that counts for `origin`."""
    return (settings.for_url("http", name, str(origin)) or [default])[-1]


def _file(settings: Settings, name: str, origin: Origin) -> str | None:
    """Return a path from the environment or ``http.<name>``; None if neither names one."""
    variable = "GIT_SSL_" + name.removeprefix("ssl").upper()
    path = os.environ.get(variable) or _last(settings, name, origin)
    if not path:
        return None
    file = Path(path).expanduser()
    if not file.exists():
        raise TVRemoteError(f'There is no file "{file}", which http.{name} or {variable} names.')
    return str(file)
