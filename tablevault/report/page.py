"""The page of a report: one HTML file, written whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.queries.lineage import LineageNode
from tablevault.queries.vault_summary import VaultSummary, vault_summary
from tablevault.render import environment, escaped
from tablevault.report.charts import lineage, timeline
from tablevault.report.format import FILTERS, TESTS
from tablevault.secrets import redact
from tablevault.vault import Vault, absolute
from tablevault.wording import Named, Parameter, Wording, written

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


MARK = "<!DOCTYPE html>\n<!-- A report of TableVault -->\n"
"""How each report begins."""


def page(vault: VaultSummary, write: Callable[[Named], str]) -> str:
    """Return the page about a vault, or about one table of it.

    It is one file without links to others: its style and its script are in it, and it forbids the
    browser everything but these two. `write` formats the calls that errors name. What looks like a
    key is redacted.
    """
    style, script = _packaged("page.css"), _packaged("page.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    template = _templates().get_template("page.html.j2")
    return MARK + template.render(
        vault=vault,
        title=f"{vault.table} in {vault.name}" if vault.table else vault.name,
        lineage=lineage(vault),
        neighbours=_neighbours(vault),
        uses=_uses(vault),
        told=lambda text: redact(written(text, write)),
        policy=policy,
        style=style,
        script=script,
    )


@cache
def _templates() -> Environment:
    """Return the templates with their filters."""
    templates = environment(__package__)
    templates.filters.update(FILTERS, text=escaped, timeline=timeline)
    templates.tests.update(TESTS)
    templates.globals["zip"] = zip
    return templates


def _packaged(name: str) -> Markup:
    """Read a file of the package, which is trusted."""
    from markupsafe import Markup

    return Markup((resources.files(__package__) / name).read_text("utf-8"))  # noqa: S704 - ours


def _digest(content: str) -> str:
    """Return the name by which a browser knows the text that it may use."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


@dataclass(frozen=True, slots=True)
class _Neighbours:
    """What each instance was made from and what was made from it, by ids."""

    above: Mapping[str, Mapping[str, tuple[LineageNode, str]]]
    """By id the instances it was made from, with the kind of edge that leads there."""
    below: Mapping[str, Mapping[str, tuple[LineageNode, str]]]
    placed: Collection[str]
    """Ids of the instances that links can lead to."""


def _neighbours(vault: VaultSummary) -> _Neighbours:
    """Look up the neighbours of each instance."""
    above: dict[str, dict[str, tuple[LineageNode, str]]] = defaultdict(dict)
    below: dict[str, dict[str, tuple[LineageNode, str]]] = defaultdict(dict)
    # Where an instance was both read and copied from, reading counts: "depends" sorts first.
    for edge in sorted(vault.edges, key=lambda edge: edge.kind):
        source, target = vault.nodes[edge.source_id], vault.nodes[edge.instance_id]
        above[target.instance_id].setdefault(source.instance_id, (source, edge.kind))
        below[source.instance_id].setdefault(target.instance_id, (target, edge.kind))
    placed = {each.id for table in vault.tables for each in table.instances}
    return _Neighbours(above, below, placed)


def _uses(vault: VaultSummary) -> Mapping[str, Mapping[str, list[str]]]:
    """Return for each text the ids of the instances that it has made, by table, the newest first.

    A table without ids has it in a temporary instance only.
    """
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for table in vault.tables:
        for each in table.instances:
            document = None if each.details is None else each.details.document
            texts = () if document is None else (document.builders, document.code)
            for text_id in {blob for named in texts for blob in named.values()}:
                found[text_id][table.name].append(each.id)
        for text_id in {blob for temp in table.temps for blob in temp.builders.values()}:
            found[text_id][table.name]
    return found


def write_page(
    vault: Vault,
    path: str | os.PathLike[str],
    table: str,
    write: Callable[[Named], str],
    *,
    force: bool = False,
) -> Path:
    """Write the page about a vault, or about one table of it; return its absolute path.

    `write` formats the calls that errors name.

    Raises
    ------
    TVArgumentError
        There is no such table; the folder of `path` does not exist; `path` is a folder, or a file
        that is no report and may not be replaced.
    TVFileError
        The file cannot be written.
    """
    target = absolute(path).resolve()
    _refuse_others(target, force=force)
    text = content(vault, table, write).encode("utf-8", "backslashreplace")
    beside = target.with_name(f".report.{os.urandom(8).hex()}.tmp")
    try:
        beside.write_bytes(text)
        if target.exists():
            beside.chmod(stat.S_IMODE(target.stat().st_mode))
        beside.replace(target)
    except OSError as error:
        raise TVFileError(
            f'The report cannot be written to "{target}": {error.strerror}.',
            "Name a file in a folder that you may write to.",
            path=str(target),
        ) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    return target


def content(vault: Vault, table: str, write: Callable[[Named], str]) -> str:
    """Return the page about the vault, or about one table of it."""
    return page(vault_summary(vault, table), write)


def _refuse_others(target: Path, *, force: bool) -> None:
    """Raise an error for a path that no report may be written to."""
    if not target.parent.is_dir():
        raise TVArgumentError(
            f'There is no folder "{target.parent}".', "Make it first.", path=str(target)
        )
    if not os.path.lexists(target):
        return
    if not target.is_file():
        raise TVArgumentError(
            f'"{target}" is no file.', 'Name a file, such as "report.html".', path=str(target)
        )
    if not (force or _is_report(target)):
        raise TVArgumentError(
            f'"{target}" is there already, and is no report of TableVault.',
            Wording(
                "Choose another name, or have it replaced: ", Parameter("report", "force"), "."
            ),
            path=str(target),
        )


def _is_report(path: Path) -> bool:
    """Return whether a file is a report, or empty."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(MARK))
    except OSError:
        return False
    return not begin or begin == MARK.encode()
