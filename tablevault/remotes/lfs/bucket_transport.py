"""Transfers objects to and from a bucket of an S3-compatible service."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tablevault.errors import TVTransferError
from tablevault.lfs.drafts import Partial
from tablevault.lfs.pointer import Pointer
from tablevault.names import ObjectId
from tablevault.remotes.http.retry import PassingError, TransferLimits
from tablevault.remotes.lfs.batch_api import Offer, Operation, offer_by_presence
from tablevault.remotes.lfs.bucket_service import BucketService
from tablevault.remotes.lfs.bucket_uploads import BucketUploads
from tablevault.remotes.lfs.endpoint import BucketAddress
from tablevault.remotes.lfs.transport import (
    StoredObject,
    TransferMeter,
    blocks_of,
    counted_blocks,
    opened,
)

_OBJECTS = "lfs/objects"
_PAGE = 1000
_BLOCK = 1 << 20
_PART = 8 << 20
_MOST_PARTS = 10_000
_KEY = re.compile(rf"{_OBJECTS}/([0-9a-f]{{2}})/([0-9a-f]{{2}})/(\1\2[0-9a-f]{{60}})")


class BucketTransport:
    """Transfers objects to or from a bucket; threads may share it.

    An object is at ``lfs/objects/<aa>/<bb>/<sha256>`` below the prefix, unchanged. A small one is
    put at once; of a large one the service joins the parts when all have arrived. Both happen on
    the condition that nothing is there: only an object of a wrong size is replaced, and nobody sees
    a part of an object.

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
        self._service = BucketService(address)
        self.where = self._service.where
        self._store = self._service.store
        self._uploads = BucketUploads(self._service)
        self._requests = self._service.requests
        self._part_size = part_size
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
        """Send an object, or the rest of it; its hash is checked before its last bytes leave."""
        pointer = offer.pointer
        with opened(source, pointer) as file, self._service.explained(pointer):
            if pointer.size <= self._part_size:
                self._put_whole(pointer, b"".join(counted_blocks(file, pointer, meter)))
                return
            size = max(self._part_size, -(-pointer.size // _MOST_PARTS))
            self._uploads.send(
                _key(pointer.oid),
                blocks_of(file, pointer, size),
                meter,
                is_there=lambda: self._size(pointer) == pointer.size,
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
        return "" if is_sound else f"s3://{self._service.address.place}/{_key(pointer.oid)}"

    def every(self) -> Iterator[StoredObject]:
        """List the objects of the bucket, and unfinished uploads; keys of other forms are none."""
        yield from self._objects()
        with self._service.explained():
            for upload in self._uploads.unfinished(f"{_OBJECTS}/"):
                if key := _KEY.fullmatch(upload.key):
                    yield StoredObject(
                        oid=ObjectId(key[3]),
                        size=0,
                        modified_at=upload.begun_at,
                        upload_id=upload.upload_id,
                    )

    def delete(self, stored: StoredObject) -> None:
        """Delete an object, or the parts of an unfinished upload."""
        key = _key(stored.oid)
        with self._service.explained():
            if stored.upload_id:
                self._uploads.abort(key, stored.upload_id)
                return
            with contextlib.suppress(FileNotFoundError):
                self._requests.run(lambda: self._store.delete(key))

    def close(self) -> None:
        """Cut all connections, also those in use."""
        self._requests.close()

    # -- requests -----------------------------------------------------------------------------

    def _objects(self) -> Iterator[StoredObject]:
        """List the objects of the bucket, page by page."""
        pages = self._store.list(_OBJECTS, chunk_size=_PAGE)
        while True:
            with self._service.explained():
                page = self._requests.run(lambda: next(pages, None))
            if page is None:
                return
            for found in page:
                if key := _KEY.fullmatch(found["path"]):
                    yield StoredObject(
                        oid=ObjectId(key[3]),
                        size=found["size"],
                        modified_at=found["last_modified"].timestamp(),
                    )

    def _list(self) -> None:
        """Read the first page of the list of objects, once."""
        if self._listed is not None:
            return
        first = []
        for found in self._objects():
            first.append(found)
            if len(first) == _PAGE:
                break
        self._listed = {each.oid: each.size for each in first}
        self._is_whole = len(first) < _PAGE

    def _size(self, pointer: Pointer) -> int | None:
        """Return the size of an object there; None if there is none."""
        with self._service.explained(pointer):
            try:
                found = self._requests.run(lambda: self._store.head(_key(pointer.oid)))
            except FileNotFoundError:
                return None
            return found["size"]

    def _put_whole(self, pointer: Pointer, content: bytes) -> None:
        """Put an object where none is, or one of a wrong size."""
        from obstore.exceptions import AlreadyExistsError

        key = _key(pointer.oid)
        try:
            self._requests.run(lambda: self._store.put(key, content, mode="create"))
        except AlreadyExistsError:
            if self._size(pointer) != pointer.size:
                self._requests.run(lambda: self._store.put(key, content, use_multipart=False))

    def _read(self, pointer: Pointer, start: int) -> Iterator[memoryview]:
        """Return the bytes of an object from byte `start` on."""
        if start == pointer.size:
            return
        with self._service.explained(pointer):
            found = self._requests.run(
                lambda: self._store.get(
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
            blocks = iter(found.stream(_BLOCK))
            while (block := self._requests.run(lambda: next(blocks, None))) is not None:
                yield memoryview(block)


def _key(oid: ObjectId) -> str:
    """Return the key of an object below the prefix."""
    return f"{_OBJECTS}/{oid[:2]}/{oid[2:4]}/{oid}"
