"""A server as a host of git repositories runs one: smart HTTP by git, LFS by giftless.

    python -W ignore -m tests.remotes.real_server ROOT [USER:PASSWORD]

Repositories are below ROOT/git, objects below ROOT/lfs. It prints its port.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

from giftless.app import init_app
from giftless.auth.identity import DefaultIdentity, Permission
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response


class Quiet(WSGIRequestHandler):
    """Logs nothing, and keeps connections, as real servers do."""

    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


def somebody(_):
    """Let who passes our door do everything; a token of PyJWT 2.10 cannot be for nobody."""
    user = DefaultIdentity(name="Ana", id="ana")
    user.allow(permissions=Permission.all())
    return user


def lfs(root):
    """Make the LFS server."""
    storage = {"path": str(root / "lfs")}
    return init_app(
        additional_config={
            "LEGACY_ENDPOINTS": False,
            "AUTH_PROVIDERS": ["tests.remotes.real_server:somebody"],
            "TRANSFER_ADAPTERS": {"basic": {"options": {"storage_options": storage}}},
            "PRE_AUTHORIZED_ACTION_PROVIDER": {"options": {"private_key": "k" * 64}},
        }
    )


def smart_http(root, request):
    """Let git answer (git-http-backend(1))."""
    variables = {
        **os.environ,
        "GIT_PROJECT_ROOT": str(root / "git"),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query_string.decode(),
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.content_type or "",
        "REMOTE_USER": "ana",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
    }
    done = subprocess.run(
        ["git", "http-backend"],
        input=request.get_data(),
        env=variables,
        capture_output=True,
        check=True,
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    status = headers.pop("Status", "200 OK")
    return Response(body, status=status, headers=headers)


def application(root, login):
    """Make the whole server."""
    server = lfs(root)
    wanted = base64.b64encode(login.encode()).decode() if login else ""

    def serve(environ, start):
        request = Request(environ)
        given = request.headers.get("Authorization", "")
        has_token = given.startswith("Bearer ") or "jwt" in request.args
        if wanted and given != f"Basic {wanted}" and not has_token:
            refused = Response("who are you?", 401, {"WWW-Authenticate": 'Basic realm="vaults"'})
            request.get_data()
            return refused(environ, start)
        if "/info/lfs/" in request.path:
            if given.startswith("Basic "):
                del environ["HTTP_AUTHORIZATION"]
            return server(environ, start)
        return smart_http(root, request)(environ, start)

    return serve


def main(root, login=""):
    (root / "git").mkdir(parents=True, exist_ok=True)
    served = application(root, login)
    server = make_server("127.0.0.1", 0, served, threaded=True, request_handler=Quiet)
    print(server.port, flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
