"""Real S3 servers, each a process of its own.

    python -W ignore -m tests.remotes.real_bucket localbucket FOLDER
    python -W ignore -m tests.remotes.real_bucket moto FOLDER

The first keeps each bucket as a folder, and asks nobody for credentials. While BUCKET.hold exists
beside a bucket, it answers no request that sends bytes there, and prints "held BUCKET" for each;
with BUCKET.full it takes no object. The second has the buckets `open` and `locked` in memory, and
one user, who may not write to the latter. If the folder has a file `parts` with a number, it takes
so many parts of each object, and holds others until the file is gone; it prints "taken PATH" or
"held PATH" for each. Each prints its port first, moto the user's key, too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections import Counter
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path

from localbucket import S3Error, S3Handler

_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::locked/*"},
    ],
}


def report(*words):
    """Print a line at once: threads that print word by word would mix their lines."""
    sys.stdout.write(f"{' '.join(words)}\n")
    sys.stdout.flush()


class Handler(S3Handler):
    """Waits, and is full, as files beside a bucket say."""

    def log_message(self, format, *args):  # noqa: A002 - the name in the base class
        pass

    def do_PUT(self):  # noqa: N802 - the name in the base class
        if self.flag("hold").exists():
            report("held", self.path.split("/")[1])
            while self.flag("hold").exists():
                time.sleep(0.01)
        super().do_PUT()

    def _read_body(self):
        body = super()._read_body()
        if len(body) < int(self.headers.get("Content-Length") or 0):  # as S3 answers
            raise S3Error(HTTPStatus.BAD_REQUEST, "IncompleteBody", "The body is too short.")
        return body

    def _write_object(self, *arguments):
        if self.flag("full").exists():
            status = HTTPStatus.INSUFFICIENT_STORAGE
            raise S3Error(status, "XMinioStorageFull", "Storage backend is full.")
        return super()._write_object(*arguments)

    def flag(self, name):
        return self.data_root / f"{self.path.split('/')[1]}.{name}"

    def handle(self):
        with contextlib.suppress(ConnectionError):  # a client that was killed
            super().handle()


def localbucket(folder):
    """Serve a folder, whose subfolders are buckets."""
    Handler.data_root = Path(folder).resolve()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)  # noqa: T201
    server.serve_forever()


class Parts:
    """Takes as many parts of an object as a file says, in front of moto."""

    def __init__(self, app, file):
        self.app = app
        self.file = file
        self.begun = Counter()
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
        if "partNumber=" not in query or not self.file.exists():
            return self.app(environ, start_response)
        with self.lock:
            self.begun[path] += 1
            is_taken = self.begun[path] <= int(self.file.read_text())
        if is_taken:
            answer = list(self.app(environ, start_response))
            report("taken", path)
            return answer
        report("held", path)
        while self.file.exists():
            time.sleep(0.01)
        start_response("503 Slow Down", [("Content-Length", "0")])
        return []


def moto(folder):
    """Serve buckets in memory."""
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "100"
    import boto3
    import requests
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Parts(DomainDispatcherApplication(create_backend_app), Path(folder) / "parts")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port
    options = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": "us-east-1",
        "aws_access_key_id": "root",
        "aws_secret_access_key": "root",
    }
    s3, iam = boto3.client("s3", **options), boto3.client("iam", **options)
    for name in ("open", "locked"):
        s3.create_bucket(Bucket=name)
    iam.create_user(UserName="ana")
    iam.put_user_policy(UserName="ana", PolicyName="all", PolicyDocument=json.dumps(_POLICY))
    key = iam.create_access_key(UserName="ana")["AccessKey"]
    requests.post(f"{options['endpoint_url']}/moto-api/reset-auth", data=b"0", timeout=60)
    print(port, key["AccessKeyId"], key["SecretAccessKey"], flush=True)  # noqa: T201
    threading.Event().wait()


if __name__ == "__main__":
    {"localbucket": localbucket, "moto": moto}[sys.argv[1]](*sys.argv[2:])
