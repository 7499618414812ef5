"""The files that the record of a call names."""

from __future__ import annotations

import pytest

from tablevault.engine.calls.records import KeptFile, decode_files, encode_files

OID = "0f" * 32


def test_files_come_back_by_their_names():
    files = {"a.png": KeptFile(OID, 17), "b.sh": KeptFile(OID, 0, executable=True)}
    assert decode_files(encode_files(files)) == files


@pytest.mark.parametrize(
    "text", [None, "", "[]", "{", '{"a":1}', '{"a":["../x",1]}', f'{{"a":["{OID}",-1]}}']
)
def test_text_that_names_no_files_is_none(text):
    assert decode_files(text) == {}
