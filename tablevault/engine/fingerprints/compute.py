"""Computes the fingerprint of a function: a digest of all code that can change its results.

Starting at the function, every name is resolved to its possible definitions (`reach`) in modules
of the vault and outside of it (`program`). Statements that imports execute are added, and files
that are opened beside modules (`paths`). Each definition is encoded in a normal form (`normalise`)
and hashed by itself, so that two fingerprints can be compared (`fingerprint`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from tablevault.engine.fingerprints.fingerprint import (
    DIGEST_SIZE,
    CodePart,
    Fingerprint,
    OutsideModule,
    PartKind,
    TextConstant,
)
from tablevault.engine.fingerprints.modules import Unit
from tablevault.engine.fingerprints.normalise import WORDS_OF_A_TEXT, encode
from tablevault.engine.fingerprints.paths import FilesBeside
from tablevault.engine.fingerprints.program import TOO_DEEP, Key, Loaded, Program
from tablevault.engine.fingerprints.reach import ImportEffects, Reach
from tablevault.engine.syntax import resting_collector
from tablevault.errors import TVFileError
from tablevault.wording import did_you_mean

_HINT: Final = "Check python_function and code_module."


class _Piece(NamedTuple):
    """A part of a fingerprint with its sort key, the bytes that are hashed, and its texts."""

    sort_key: str
    data: bytes
    part: CodePart
    texts: tuple[TextConstant, ...]


_Pieces: TypeAlias = dict[tuple[object, ...], _Piece]
"""Pieces of definitions, by the result of `Reach.meaning`."""


class Fingerprints:
    """Computes the fingerprints of functions of a vault.

    Resolved names are cached: use one object for an execution, not one for each function. Modules
    are parsed once for each source in a Python process.

    Parameters
    ----------
    program : Program
        The modules of the vault.

    Examples
    --------
    >>> program = Program({"score.py": b"def score(text): return len(text)"})
    >>> Fingerprints(program).of("score", "score").parts[0].kind
    'function'
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._effects = ImportEffects(program)
        self._files = FilesBeside(program)
        self._pieces: _Pieces = {}

    def of(self, module: str, function: str) -> Fingerprint:
        """Return the fingerprint of a function.

        Parameters
        ----------
        module : str
            Dotted name of a module of the vault, or of one of those that come with TableVault
            (``tablevault.engine.functions.random_string``).
        function : str
            A global name in it: a function, a class, a partial, an import of one.

        Raises
        ------
        TVFileError
            There is no such module or name, or the module is no Python.
        """
        loaded = self._program.find(module)
        if loaded is None or loaded.source.is_outside:
            raise TVFileError(
                f'There is no code module "{module}".',
                did_you_mean(module, self._program.names()) or _HINT,
                module=module,
            )
        if loaded.problem not in {"", TOO_DEEP}:
            raise TVFileError(
                f'Code module "{module}" cannot be loaded: {loaded.problem}.',
                "Correct the module and run again.",
                module=module,
            )
        names = loaded.module.bindings
        if not (loaded.problem or {function, "*", "__getattr__"} & names.keys()):
            raise TVFileError(
                f'Function "{function}" of code module "{module}" is not there.',
                did_you_mean(function, names) or _HINT,
                module=module,
                function=function,
            )
        with resting_collector():
            reach = Reach(self._program, self._effects, self._files)
            reach.follow(loaded, function)
            assembly = _Assembly(self._program, self._effects, reach, self._pieces)
            return assembly.fingerprint(module, function)


class _Assembly:
    """Hashes the code that a function reaches."""

    def __init__(
        self, program: Program, effects: ImportEffects, reach: Reach, pieces: _Pieces
    ) -> None:
        self._pieces = pieces
        self._program = program
        self._effects = effects
        self._reach = reach

    def fingerprint(self, module: str, function: str) -> Fingerprint:
        """Return the fingerprint of a function from all code that it reaches."""
        found = sorted(
            [*self._definitions(), *self._statements(), *self._modules(), *self._files()],
            key=itemgetter(0),
        )
        return Fingerprint(
            module=module,
            function=function,
            digest=_digest(b"".join([piece.data for piece in found])),
            parts=tuple([piece.part for piece in found]),
            texts=tuple(text for piece in found for text in piece.texts),
            outside=self._outside(),
            dynamic=tuple(self._reach.dynamic),
        )

    def _definitions(self) -> Iterator[_Piece]:
        """Yield a part for each name that is reached."""
        for key, loaded in self._reach.names.items():
            if loaded.name not in self._reach.whole:
                meaning = self._reach.meaning(key)
                if meaning not in self._pieces:
                    units = self._reach.units(key)
                    kind = units[0].kind if units else "import"
                    digest, texts = self._hash(key, loaded, units)
                    self._pieces[meaning] = self._piece(
                        key, loaded, "constant" if kind == "statement" else kind, digest, texts
                    )
                yield self._pieces[meaning]

    def _statements(self) -> Iterator[_Piece]:
        """Yield a part for the statements of each module that no name refers to.

        Their order is hashed if they affect each other: a list may be filled before or after it is
        copied.
        """
        for name, statements in self._reach.statements.items():
            if name in self._reach.whole or not statements:
                continue
            loaded = self._reach.executed[name]
            digest = blake2b(digest_size=DIGEST_SIZE)
            for group in self._groups(loaded, list(statements)):
                ordered = sorted(group, key=lambda unit: unit.order)
                digest.update(self._hash((name, ""), loaded, ordered)[0])
            _, texts = self._hash((name, ""), loaded, statements)
            yield self._piece((name, ""), loaded, "statements", digest.digest(), texts)

    def _groups(self, loaded: Loaded, statements: list[Unit]) -> Iterator[set[Unit]]:
        """Yield groups of statements, with constants, whose order among each other is hashed.

        If one has an effect outside the module, such as ``os.environ["A"] = "b"`` before or after
        ``MODEL = load()``, all executed statements are one group. Else there is a group for each
        name: the statements that bind or use its object.
        """
        touched = {unit: self._effects.touched(loaded, unit) for unit in statements}
        keys = sorted(self._reach.names.keys() & set[Key]().union(*touched.values()))
        if any(self._effects.is_outward(loaded, unit) for unit in statements):
            active = set(self._effects.candidates(loaded))
            run = active & {*self._constants(loaded, self._reach.names)}
            yield {*statements, *run, *self._constants(loaded, keys)}
            return
        for key in keys:
            group = {unit for unit in statements if key in touched[unit]}
            yield group | {*self._constants(loaded, [key])}

    def _constants(self, loaded: Loaded, keys: Iterable[Key]) -> Iterator[Unit]:
        """Yield the statements of a module that bind constants."""
        for key in keys:
            if self._reach.names[key] is loaded:
                units = self._reach.units(key)
                yield from (unit for unit in units if unit.kind == "constant")

    def _hash(self, key: Key, loaded: Loaded, units: Iterable[Unit]) -> tuple[bytes, list[str]]:
        """Return the digest of statements, and the texts in them."""
        digest = blake2b(digest_size=DIGEST_SIZE)
        texts: list[str] = []
        for unit in units:
            full = self._reach.in_full(key, unit)
            data, found = self._program.digest(loaded, unit, full=full)
            digest.update(data)
            texts += found
        return digest.digest(), texts

    def _modules(self) -> Iterator[_Piece]:
        """Yield a part for each whole module."""
        for loaded in self._reach.whole.values():
            data, texts = loaded.source.data, list[str]()
            if not loaded.problem:
                data, texts = encode(loaded.module.tree, lambda _: True, full=True)
            yield self._piece((loaded.name, ""), loaded, "module", _digest(data), texts)

    def _files(self) -> Iterator[_Piece]:
        """Yield a part for each file that is no module."""
        for path, name in self._reach.opened.items():
            data = self._program.files.get(path) or self._program.paths.get(path, b"")
            part = CodePart(
                kind="file",
                module="",
                name=path,
                used_by=name,
                is_outside=False,
                digest=_digest(data),
            )
            text = data.decode("utf-8", "replace")
            yield _piece(part, [text] if len(text.split()) >= WORDS_OF_A_TEXT else [])

    def _piece(
        self, key: Key, loaded: Loaded, kind: PartKind, digest: bytes, texts: list[str]
    ) -> _Piece:
        """Return a part of a module."""
        part = CodePart(
            kind=kind,
            module=key[0],
            name=key[1],
            used_by=self._reach.used_by.get(key, ""),
            is_outside=loaded.source.is_outside,
            digest=digest,
        )
        return _piece(part, texts)

    def _outside(self) -> tuple[OutsideModule, ...]:
        """Return the modules outside the vault of which a part is included."""
        reach = self._reach
        filled = [reach.executed[name] for name, units in reach.statements.items() if units]
        found = {
            (each.name, each.source.path)
            for each in [*reach.names.values(), *reach.whole.values(), *filled]
            if each.source.is_outside
        }
        return tuple(OutsideModule(module=name, path=path) for name, path in sorted(found))


def _piece(part: CodePart, texts: list[str]) -> _Piece:
    """Return the piece of a part."""
    return _Piece(
        sort_key=f"{part.module}\0{part.name}\0{part.kind}",
        data=f"{part.kind}\0{part.module}\0{part.name}\0".encode() + part.digest,
        part=part,
        texts=tuple(
            TextConstant(module=part.module, name=part.name, value=value) for value in texts
        ),
    )


def _digest(data: bytes) -> bytes:
    """Return a digest of some bytes."""
    return blake2b(data, digest_size=DIGEST_SIZE).digest()
