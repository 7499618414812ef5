"""Transfers objects to and from a bucket of an S3-compatible service, by obstore."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tablevault.errors import TVCredentialsError, TVRemoteError, TVTransferError
from tablevault.lfs.drafts import Partial
from tablevault.lfs.pointer import Pointer
from tablevault.names import ObjectId
from tablevault.remotes.http.retry import PassingError, TransferLimits
from tablevault.remotes.lfs.batch_api import (
    Offer,
    Operation,
    Refusal,
    offer_by_presence,
    refusal_error,
)
from tablevault.remotes.lfs.endpoint import BucketAddress
from tablevault.remotes.lfs.object_source import blocks_of, opened
from tablevault.remotes.lfs.transfer import StoredObject, TransferMeter

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")

_OBJECTS = "lfs/objects"
_PAGE = 1000
_BLOCK = 1 << 20
_PART = 8 << 20
_MOST_PARTS = 10_000
_PARTS_AT_ONCE = 4
_CONNECT_S = 10
# The silence of a service includes the time in which a part is sent, with others beside it.
_SILENCE_S = 300
_KEY = re.compile(rf"{_OBJECTS}/([0-9a-f]{{2}})/([0-9a-f]{{2}})/(\1\2[0-9a-f]{{60}})")
_STATUS = re.compile(r"status code: ([0-9]{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull"})
_ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect"})
_LONGEST_REASON = 300
_DENIED = frozenset({"", "AccessDenied", "AllAccessDisabled", "AccountProblem"})


class BucketTransport:
    """Transfers objects to or from a bucket; threads may share it.

    An object is at ``lfs/objects/<aa>/<bb>/<sha256>`` below the prefix, unchanged. A small one is
    put on the condition that nothing is there; of a large one the service joins the parts when all
    have arrived. So nobody sees a part of an object. Only an object of a wrong size is replaced.

    Parameters
    ----------
    part_size : int, default 8,388,608
        Size in bytes of the parts of a large object; a smaller object is sent as a whole.
    """

    def __init__(
        self,
        address: BucketAddress,
        operation: Operation,
        limits: TransferLimits,
        *,
        part_size: int = _PART,
    ) -> None:
        self.operation: Operation = operation
        self.limits = limits
        self.where = f'The bucket "{address.url}"'
        self._address = address
        self._part_size = part_size
        self._store = _open_store(address)
        self._requests = _Requests()
        self._listed: Mapping[ObjectId, int] | None = None
        self._is_whole = False

    # -- as of Transport ----------------------------------------------------------------------

    def ask(self, pointers: Sequence[Pointer]) -> list[Offer]:
        """Return which objects are there, by size: one request for each, several at once.

        One page of the list of all objects saves these requests in a small bucket. It also tells a
        missing bucket from a missing object.
        """
        if len(pointers) > 1:
            self._list()
        sizes = dict(self._listed or {})
        unknown = [each for each in pointers if each.oid not in sizes and not self._is_whole]
        if unknown:
            with ThreadPoolExecutor(self.limits.threads, "tablevault-bucket") as pool:
                found = zip(unknown, pool.map(self._size, unknown), strict=True)
                sizes |= {each.oid: size for each, size in found if size is not None}
        if any(each.oid not in sizes for each in pointers):
            self._list()
        return [
            offer_by_presence(self.operation, each, is_there=sizes.get(each.oid) == each.size)
            for each in pointers
        ]

    def put(self, offer: Offer, source: Path, meter: TransferMeter) -> None:
        """Send an object; its hash is checked before its last bytes leave."""
        pointer = offer.pointer
        with opened(source, pointer) as file, self._explained(pointer):
            blocks = blocks_of(file, pointer, meter)
            if pointer.size <= self._part_size:
                self._put_whole(pointer, b"".join(blocks))
                return
            size = max(self._part_size, -(-pointer.size // _MOST_PARTS))
            self._requests.run(
                lambda: self._store.put_async(
                    _key(pointer.oid),
                    blocks,
                    use_multipart=True,
                    chunk_size=size,
                    max_concurrency=_PARTS_AT_ONCE,
                )
            )

    def get(self, offer: Offer, partial: Partial, meter: TransferMeter) -> None:
        """Receive an object, or the rest of it."""
        for block in self._read(offer.pointer, partial.size):
            partial.write(block)
            meter.add(len(block))
        if partial.size < offer.pointer.size:
            raise PassingError(f"{self.where} sent too few bytes")

    def damaged(self, pointer: Pointer) -> str:
        """Return the URL of an object whose hash is not its name; "" if it is sound."""
        found = hashlib.sha256()
        for block in self._read(pointer, 0):
            found.update(block)
        is_sound = found.hexdigest() == pointer.oid
        return "" if is_sound else f"s3://{self._address.place}/{_key(pointer.oid)}"

    def every(self) -> Iterator[StoredObject]:
        """List the objects of the bucket; keys of other forms are none."""
        pages = self._store.list(_OBJECTS, chunk_size=_PAGE)
        while True:
            with self._explained():
                page = self._requests.run(lambda: anext(pages, None))
            if page is None:
                return
            for found in page:
                if key := _KEY.fullmatch(found["path"]):
                    yield StoredObject(
                        oid=ObjectId(key[3]),
                        size=found["size"],
                        modified_at=found["last_modified"].timestamp(),
                    )

    def delete(self, oid: ObjectId) -> None:
        """Delete an object."""
        with self._explained(), contextlib.suppress(FileNotFoundError):
            self._requests.run(lambda: self._store.delete_async(_key(oid)))

    def close(self) -> None:
        """Cut all connections, also those in use."""
        self._requests.close()

    # -- requests -----------------------------------------------------------------------------

    def _list(self) -> None:
        """Read the first page of the list of objects, once."""
        if self._listed is not None:
            return
        first = []
        for found in self.every():
            first.append(found)
            if len(first) == _PAGE:
                break
        self._listed = {each.oid: each.size for each in first}
        self._is_whole = len(first) < _PAGE

    def _size(self, pointer: Pointer) -> int | None:
        """Return the size of an object there; None if there is none."""
        with self._explained(pointer):
            try:
                found = self._requests.run(lambda: self._store.head_async(_key(pointer.oid)))
            except FileNotFoundError:
                return None
            return found["size"]

    def _put_whole(self, pointer: Pointer, content: bytes) -> None:
        """Put an object where none is, or one of a wrong size."""
        from obstore.exceptions import AlreadyExistsError

        key = _key(pointer.oid)
        try:
            self._requests.run(lambda: self._store.put_async(key, content, mode="create"))
        except AlreadyExistsError:
            if self._size(pointer) != pointer.size:
                self._requests.run(lambda: self._store.put_async(key, content, use_multipart=False))

    def _read(self, pointer: Pointer, start: int) -> Iterator[memoryview]:
        """Return the bytes of an object from byte `start` on."""
        if start == pointer.size:
            return
        with self._explained(pointer):
            found = self._requests.run(
                lambda: self._store.get_async(
                    _key(pointer.oid), options={"range": {"offset": start}} if start else None
                )
            )
            if found.meta["size"] != pointer.size:
                raise TVTransferError(
                    f"{self.where} has another size for object {pointer.oid} "
                    f"({pointer.size:,} bytes).",
                    "Push it again from a vault that has it.",
                    oid=pointer.oid,
                )
            blocks = aiter(found.stream(_BLOCK))
            while (block := self._requests.run(lambda: anext(blocks, None))) is not None:
                yield memoryview(block)

    # -- errors -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _explained(self, pointer: Pointer | None = None) -> Iterator[None]:
        """Turn the errors of obstore into ours."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            raise self._error(str(error), pointer) from None

    def _error(self, text: str, pointer: Pointer | None) -> Exception:
        """Return the error for a text of obstore, which has the answer of the service in it."""
        status, code = int(_first(_STATUS, text) or 0), _first(_CODE, text)
        message = " ".join(_first(_MESSAGE, text).split())
        said = ", ".join(filter(None, [str(status or ""), code, message and f'"{message}"']))
        if not status or status in _PASSING:
            return PassingError(f"{self.where} answered {said}" if said else self._silence(text))
        if code == "NoSuchBucket":
            return TVRemoteError(
                f'There is no bucket "{self._address.bucket}" at {_service(self._address)}.',
                "Check its name, or create it.",
            )
        if code in _ELSEWHERE:
            return TVRemoteError(
                f"{self.where} is in another region ({said}).",
                "Set the variable AWS_REGION, or add ?region=NAME to the URL of the bucket.",
            )
        if status in (401, 403):
            return self._denied(code, said)
        refused = 507 if code in _FULL else status
        if pointer is not None and refused in (404, 507):
            return refusal_error(Refusal(code=refused, message=message), pointer, self.where)
        return TVRemoteError(f"{self.where} refuses ({said}).", "Check the URL of the bucket.")

    def _silence(self, text: str) -> str:
        """Return why a request had no answer."""
        line = text.partition("\n")[0].rpartition(" - ")[2]
        return f"{self.where} did not answer: {line[:_LONGEST_REASON]}"

    def _denied(self, code: str, said: str) -> TVCredentialsError:
        """Return the error of a service that knows us and denies access, or does not know us."""
        if code in _DENIED:
            return TVCredentialsError(
                f"{self.where} denies access ({said}).",
                "Ask its owner for permission, or use other AWS credentials: AWS_PROFILE names a "
                "profile.",
            )
        return TVCredentialsError(
            f"{self.where} does not accept the AWS credentials ({said}).",
            "Check AWS_ACCESS_KEY_ID, AWS_PROFILE and ~/.aws/credentials.",
        )


class _Requests:
    """Runs requests in an event loop, where those that wait can be cancelled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Future[Any]] = set()
        self._is_closed = False

    def run(self, start: Callable[[], Awaitable[T]]) -> T:
        """Start a request and return its result; raise PassingError if it is cut off."""

        async def call() -> T:
            return await start()

        with self._lock:
            if self._is_closed:
                raise PassingError("the transfer was stopped")
            future = asyncio.run_coroutine_threadsafe(call(), _loop(os.getpid()))
            self._running.add(future)
        try:
            return future.result()
        except CancelledError:
            raise PassingError("the transfer was stopped") from None
        finally:
            with self._lock:
                self._running.discard(future)

    def close(self) -> None:
        """Cancel all requests, and accept no others."""
        with self._lock:
            self._is_closed = True
            running = list(self._running)
        for future in running:
            future.cancel()


@functools.lru_cache(maxsize=1)
def _loop(process: int) -> asyncio.AbstractEventLoop:
    """Return the event loop of a process, which a thread of its own runs; a fork has none."""
    del process
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="tablevault-bucket-loop", daemon=True).start()
    return loop


def _open_store(address: BucketAddress) -> S3Store:
    """Return the client of a bucket, with credentials from where the AWS programs look for them."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store
    except ImportError as error:
        raise TVRemoteError(
            f'A bucket needs the package "{error.name}", which is not installed.',
            "Install it: pip install 'tablevault[s3]'.",
        ) from error
    try:
        session = boto3.Session()
        is_public = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true")
        provider = None if is_public else Boto3CredentialProvider(session)
    except (BotoCoreError, ValueError) as error:
        why = str(error).rstrip(".") if isinstance(error, BotoCoreError) else "there are none"
        raise TVCredentialsError(
            f'AWS credentials for the bucket "{address.url}" were not found: {why}.',
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or write them to "
            "~/.aws/credentials with `aws configure`.",
        ) from error
    service = _service(address)
    region = address.region or os.environ.get("AWS_REGION") or session.region_name or "us-east-1"
    if provider is not None:
        provider.config = {}  # it has the region of the session, which is not always the one
    return S3Store(
        address.bucket,
        prefix=address.prefix or None,
        config={"disable_bulk_delete": True},  # services other than that of AWS lack it
        client_options={
            "allow_http": service.startswith("http://"),
            "connect_timeout": timedelta(seconds=_CONNECT_S),
            "read_timeout": timedelta(seconds=_SILENCE_S),
            "timeout": timedelta(days=1),
        },
        retry_config={"max_retries": 2, "backoff": {"max_backoff": timedelta(seconds=1)}},
        credential_provider=provider,
        region=region,
        **({"endpoint": service} if service != _AWS else {}),
    )


_AWS = "AWS"


def _service(address: BucketAddress) -> str:
    """Return the URL of the service of a bucket, or "AWS"."""
    variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    named = (os.environ.get(name, "") for name in variables)
    return address.endpoint or next(filter(None, named), _AWS)


def _key(oid: ObjectId) -> str:
    """Return the key of an object below the prefix."""
    return f"{_OBJECTS}/{oid[:2]}/{oid[2:4]}/{oid}"


def _first(pattern: re.Pattern[str], text: str) -> str:
    """Return what a pattern finds in a text; "" for nothing."""
    found = pattern.search(text)
    return found[1] if found else ""
