"""Uploads large objects to a bucket in parts, and continues interrupted uploads.

The service keeps and lists the parts of an upload until it is completed or aborted (multipart
uploads of the S3 API). So nothing is kept here, and any vault can continue the upload.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from tablevault.remotes.http.retry import PassingError
from tablevault.remotes.lfs.bucket_service import BucketService, ErrorAnswer
from tablevault.remotes.lfs.transport import TransferMeter

_PARTS_AT_ONCE = 4
# Some services know the condition for whole objects only.
_CONDITION_FAILED = frozenset({HTTPStatus.PRECONDITION_FAILED, HTTPStatus.NOT_IMPLEMENTED})
_GONE = frozenset({"NoSuchUpload", "InvalidPart"})
# Settings of obstore that boto3 does not read.
_ENCRYPTION = {
    "AWS_SERVER_SIDE_ENCRYPTION": "ServerSideEncryption",
    "AWS_SSE_KMS_KEY_ID": "SSEKMSKeyId",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedUpload:
    """An upload that was begun, and neither completed nor aborted."""

    key: str
    upload_id: str
    begun_at: float
    """Seconds since 1970, by the clock of the service."""
    has_checksums: bool
    """Whoever began it wants checksums of its parts, which not every service knows."""


class BucketUploads:
    """Uploads in parts to one bucket; threads may share it."""

    def __init__(self, service: BucketService) -> None:
        self._service = service
        self._prefix = f"{service.address.prefix}/" if service.address.prefix else ""
        self._bucket = {"Bucket": service.address.bucket}
        if os.environ.get("AWS_REQUEST_PAYER", "").lower() in ("1", "true", "requester"):
            self._bucket["RequestPayer"] = "requester"

    def unfinished(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """List uploads whose keys have a prefix; none where the service does not list them."""
        request = {**self._bucket, "Prefix": self._prefix + prefix}
        for page in self._pages("list_multipart_uploads", request):
            for found in page.get("Uploads", ()):
                yield UnfinishedUpload(
                    key=found["Key"].removeprefix(self._prefix),
                    upload_id=found["UploadId"],
                    begun_at=found["Initiated"].timestamp(),
                    has_checksums=bool(found.get("ChecksumAlgorithm")),
                )

    def abort(self, key: str, upload_id: str) -> None:
        """Delete the parts of an upload; ignore it if it is already gone."""
        client = self._service.client
        with contextlib.suppress(client.exceptions.NoSuchUpload):
            client.abort_multipart_upload(**self._place(key), UploadId=upload_id)

    def send(
        self,
        key: str,
        parts: Iterable[bytes],
        meter: TransferMeter,
        *,
        is_there: Callable[[], bool],
    ) -> None:
        """Send the parts of an object that the service lacks, and have all of them joined.

        Parameters
        ----------
        parts : iterable of bytes
            All parts; whoever makes them has checked the hash of all before the last one.
        is_there : callable
            Asked if something has the key already: whether that is the object.

        Raises
        ------
        PassingError
            Others completed or aborted the upload, or changed a part of it.
        """
        try:
            upload_id = self._begun(key)
            tags = self._send_parts(key, upload_id, parts, meter)
            self._complete(key, upload_id, tags, is_there)
        except self._service.client.exceptions.ClientError as error:
            if (answer := ErrorAnswer.of_boto(error)).code in _GONE:
                raise PassingError(f"{self._service.where} answered {answer}") from None
            raise

    def _begun(self, key: str) -> str:
        """Return the id of the newest unfinished upload of a key, or of a new one."""
        found = [
            each for each in self.unfinished(key) if each.key == key and not each.has_checksums
        ]
        if found:
            return max(found, key=lambda each: each.begun_at).upload_id
        named = {name: os.environ.get(variable) for variable, name in _ENCRYPTION.items()}
        options = {name: value for name, value in named.items() if value}
        created = self._service.client.create_multipart_upload(**self._place(key), **options)
        return str(created["UploadId"])

    def _tags_there(self, key: str, upload_id: str) -> dict[int, str]:
        """Return the tags of the parts that the service has, by number.

        A tag is the md5 of the bytes, except where a key of the owner encrypts the bucket: there
        all parts are sent again.
        """
        found: dict[int, str] = {}
        for page in self._pages("list_parts", {**self._place(key), "UploadId": upload_id}):
            found |= {part["PartNumber"]: part["ETag"] for part in page.get("Parts", ())}
        return found

    def _send_parts(
        self, key: str, upload_id: str, parts: Iterable[bytes], meter: TransferMeter
    ) -> Mapping[int, str]:
        """Send parts, several at once; return the tags of all."""
        there = self._tags_there(key, upload_id)
        tags: dict[int, str] = {}
        running: deque[tuple[int, int, Future[str]]] = deque()

        def collect(left: int) -> None:
            while len(running) > left:
                number, size, future = running.popleft()
                tags[number] = future.result()
                meter.add(size)

        meter.start(0)
        with ThreadPoolExecutor(_PARTS_AT_ONCE, "tablevault-parts") as pool:
            for number, content in enumerate(parts, 1):
                md5 = hashlib.md5(content, usedforsecurity=False)
                if there.get(number, "").strip('"') == md5.hexdigest():
                    tags[number] = there[number]
                    meter.skip(len(content))
                    continue
                collect(_PARTS_AT_ONCE - 1)
                request = {
                    **self._place(key),
                    "UploadId": upload_id,
                    "PartNumber": number,
                    "ContentMD5": base64.b64encode(md5.digest()).decode("ascii"),
                }
                future = pool.submit(self._send_part, content, request)
                running.append((number, len(content), future))
            collect(0)
        return tags

    def _send_part(self, content: bytes, request: Mapping[str, Any]) -> str:
        """Send one part; return the tag that the service gives it."""
        client = self._service.client
        answer = self._service.requests.run(lambda: client.upload_part(**request, Body=content))
        return str(answer["ETag"])

    def _complete(
        self, key: str, upload_id: str, tags: Mapping[int, str], is_there: Callable[[], bool]
    ) -> None:
        """Join the parts to an object where there is none, or another one."""
        client = self._service.client
        listed = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(tags.items())]
        request = {
            **self._place(key),
            "UploadId": upload_id,
            "MultipartUpload": {"Parts": listed},
        }
        try:
            client.complete_multipart_upload(**request, IfNoneMatch="*")
        except client.exceptions.ClientError as error:
            if ErrorAnswer.of_boto(error).status not in _CONDITION_FAILED:
                raise
            if is_there():
                self.abort(key, upload_id)
            else:
                client.complete_multipart_upload(**request)

    def _pages(self, listing: str, request: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """Return the pages of a list; none where the service, or a permission, refuses it."""
        client = self._service.client
        try:
            yield from client.get_paginator(listing).paginate(**request)
        except client.exceptions.ClientError as error:
            if ErrorAnswer.of_boto(error).is_passing:
                raise

    def _place(self, key: str) -> dict[str, str]:
        """Return bucket and key as parameters of a request."""
        return {**self._bucket, "Key": self._prefix + key}
