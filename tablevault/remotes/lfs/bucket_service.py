"""The service of a bucket: opens its clients with AWS credentials, and explains its errors."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from tablevault.errors import TVCredentialsError, TVRemoteError
from tablevault.lfs.pointer import Pointer
from tablevault.remotes.http.retry import PassingError
from tablevault.remotes.lfs.batch_api import Refusal, refusal_error
from tablevault.remotes.lfs.endpoint import BucketAddress

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from obstore.store import S3Store

T = TypeVar("T")

_CONNECTIONS = 32
_CONNECT_S = 10
_SILENCE_S = 60
# In obstore the silence of a service includes the time in which an object is sent.
_SENDING_S = 300
_TRIES = 3
_STATUS = re.compile(r"status code: ([0-9]{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull"})
_ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect"})
_LONGEST_REASON = 300
_DENIED = frozenset({"", "AccessDenied", "AllAccessDisabled", "AccountProblem"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    """What a service answered instead of a success.

    Attributes
    ----------
    status : int
        HTTP status; 0 if there was no answer.
    code : str
        The error in one word, such as ``NoSuchBucket``.
    message : str
        The error in a sentence; the reason if there was no answer.
    """

    status: int
    code: str
    message: str

    @classmethod
    def of_boto(cls, error: ClientError) -> ErrorAnswer:
        """Return the answer in an error of boto3."""
        found = error.response.get("Error", {})
        return cls(
            status=error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
            code=str(found.get("Code", "")),
            message=str(found.get("Message", ""))[:_LONGEST_REASON],
        )

    @classmethod
    def of_text(cls, text: str) -> ErrorAnswer:
        """Return the answer in the text of an error of obstore."""
        status = int(_first(_STATUS, text) or 0)
        reason = text.partition("\n")[0].rpartition(" - ")[2][:_LONGEST_REASON]
        message = _first(_MESSAGE, text) if status else reason
        return cls(status=status, code=_first(_CODE, text), message=message)

    @property
    def is_passing(self) -> bool:
        """Whether another attempt may succeed."""
        return not self.status or self.status in _PASSING

    def __str__(self) -> str:
        """Return it as text."""
        message = " ".join(self.message.split())
        parts = [str(self.status), self.code, message and f'"{message}"']
        return ", ".join(filter(None, parts))


class Requests:
    """Runs requests so that whoever waits for one can be released.

    Each has a thread of its own, which nobody has to wait for. The coroutines of obstore could be
    cancelled, but tokio's threads then call Python, and the process aborts if it ends meanwhile
    (obstore 0.12).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Future[Any]] = set()
        self._is_closed = False

    def run(self, request: Callable[[], T]) -> T:
        """Return the result of a request; raise PassingError if it is stopped."""
        future: Future[T] = Future()

        def answer() -> None:
            with contextlib.suppress(InvalidStateError):  # it was stopped
                try:
                    future.set_result(request())
                except Exception as error:  # noqa: BLE001 - whoever waits receives it
                    future.set_exception(error)

        with self._lock:
            if self._is_closed:
                raise PassingError("the transfer was stopped")
            self._running.add(future)
        threading.Thread(target=answer, name="tablevault-request", daemon=True).start()
        try:
            return future.result()
        except CancelledError:
            raise PassingError("the transfer was stopped") from None
        finally:
            with self._lock:
                self._running.discard(future)

    def close(self) -> None:
        """Stop all requests, and accept no others."""
        with self._lock:
            self._is_closed = True
            running = list(self._running)
        for future in running:
            future.cancel()


class BucketService:
    """The clients of one bucket.

    Parameters
    ----------
    address : BucketAddress
        The bucket.

    Attributes
    ----------
    store : obstore.store.S3Store
        Sends and receives whole objects, and lists them.
    requests : Requests
        Runs the requests of both clients.

    Raises
    ------
    TVRemoteError
        The packages of the extra ``s3`` are not installed.
    TVCredentialsError
        There are no credentials where the AWS programs look for them.
    """

    def __init__(self, address: BucketAddress) -> None:
        self.address = address
        self.where = f'The bucket "{address.url}"'
        self._session, provider = _open_session(address)
        self._is_public = provider is None
        named = address.region or os.environ.get("AWS_REGION") or self._session.region_name
        self._region = named or "us-east-1"
        variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        urls = (os.environ.get(name, "") for name in variables)
        self._url = address.endpoint or next(filter(None, urls), "")
        self.store = self._open_store(provider)
        self.requests = Requests()

    @functools.cached_property
    def client(self) -> Any:  # noqa: ANN401 - boto3 makes the class when it is needed
        """The client of boto3, for uploads in parts: obstore does not show their ids."""
        from botocore import UNSIGNED
        from botocore.config import Config

        config = Config(
            signature_version=UNSIGNED if self._is_public else None,
            connect_timeout=_CONNECT_S,
            read_timeout=_SILENCE_S,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            s3={"addressing_style": "path"},  # as obstore does
            # Services other than that of AWS lack the checksums that boto3 adds on its own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        url = self._url or None
        return self._session.client("s3", endpoint_url=url, region_name=self._region, config=config)

    def _open_store(self, provider: Any) -> S3Store:  # noqa: ANN401 - obstore has no class for it
        """Return the client of obstore."""
        from obstore.store import S3Store

        if provider is not None:
            provider.config = {}  # it has the region of the session, which is not always the one
        return S3Store(
            self.address.bucket,
            prefix=self.address.prefix or None,
            config={"disable_bulk_delete": True},  # services other than that of AWS lack it
            client_options={
                "allow_http": self._url.startswith("http://"),
                "connect_timeout": timedelta(seconds=_CONNECT_S),
                "read_timeout": timedelta(seconds=_SENDING_S),
                "timeout": timedelta(days=1),
            },
            retry_config={"max_retries": 2, "backoff": {"max_backoff": timedelta(seconds=1)}},
            credential_provider=provider,
            region=self._region,
            **({"endpoint": self._url} if self._url else {}),
        )

    # -- errors -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def explained(self, pointer: Pointer | None = None) -> Iterator[None]:
        """Turn the errors of both clients into ours."""
        from botocore.exceptions import BotoCoreError, ClientError
        from obstore.exceptions import BaseError

        try:
            yield
        except ClientError as error:
            raise self._error(ErrorAnswer.of_boto(error), pointer) from None
        except (BaseError, FileNotFoundError, BotoCoreError) as error:
            raise self._error(ErrorAnswer.of_text(str(error)), pointer) from None

    def _error(self, answer: ErrorAnswer, pointer: Pointer | None) -> Exception:
        """Return the error for an answer."""
        if answer.is_passing:
            return PassingError(
                f"{self.where} answered {answer}"
                if answer.status
                else f"{self.where} did not answer: {answer.message}"
            )
        if answer.code == "NoSuchBucket":
            return TVRemoteError(
                f'There is no bucket "{self.address.bucket}" at {self._url or "AWS"}.',
                "Check its name, or create it.",
            )
        if answer.code in _ELSEWHERE:
            return TVRemoteError(
                f"{self.where} is in another region ({answer}).",
                "Set the variable AWS_REGION, or add ?region=NAME to the URL of the bucket.",
            )
        if answer.status in (401, 403):
            return self._denied(answer)
        refused = 507 if answer.code in _FULL else answer.status
        if pointer is not None and refused in (404, 507):
            refusal = Refusal(code=refused, message=" ".join(answer.message.split()))
            return refusal_error(refusal, pointer, self.where)
        return TVRemoteError(f"{self.where} refuses ({answer}).", "Check the URL of the bucket.")

    def _denied(self, answer: ErrorAnswer) -> TVCredentialsError:
        """Return the error of a service that knows us and denies access, or does not know us."""
        if answer.code in _DENIED:
            return TVCredentialsError(
                f"{self.where} denies access ({answer}).",
                "Ask its owner for permission, or use other AWS credentials: AWS_PROFILE names a "
                "profile.",
            )
        return TVCredentialsError(
            f"{self.where} does not accept the AWS credentials ({answer}).",
            "Check AWS_ACCESS_KEY_ID, AWS_PROFILE and ~/.aws/credentials.",
        )


def _open_session(address: BucketAddress) -> tuple[Any, Any]:
    """Return a session of boto3, and its credentials for obstore; None for a public bucket."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise TVRemoteError(
            f'A bucket needs the package "{error.name}", which is not installed.',
            "Install it: pip install 'tablevault[s3]'.",
        ) from error
    try:
        session = boto3.Session()
        is_public = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true")
        return session, None if is_public else Boto3CredentialProvider(session)
    except (BotoCoreError, ValueError) as error:
        why = str(error).rstrip(".") if isinstance(error, BotoCoreError) else "there are none"
        raise TVCredentialsError(
            f'AWS credentials for the bucket "{address.url}" were not found: {why}.',
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or write them to "
            "~/.aws/credentials with `aws configure`.",
        ) from error


def _first(pattern: re.Pattern[str], text: str) -> str:
    """Return what a pattern finds in a text; "" for nothing."""
    found = pattern.search(text)
    return found[1] if found else ""
