"""What a function reaches: definitions, statements that imports run, whole modules, files."""

from __future__ import annotations

from tablevault.engine.calls.effects import ImportEffects
from tablevault.engine.calls.modules import Unit
from tablevault.engine.calls.paths import FilesBeside
from tablevault.engine.calls.program import Key, Loaded, Meaning, Program
from tablevault.engine.calls.scopes import Facts


class Reach:
    """Follows names from one function, and collects what they reach.

    Attributes
    ----------
    names : dict
        Module of each definition that is reached, by names of module and definition.
    used_by : dict
        Name of the definition that was first to use it, "" for the function itself.
    statements : dict
        By name of a module its statements that count although nobody names them.
    whole : dict
        Modules that count as a whole, by name.
    executed : dict
        Modules that are imported for the function, by name.
    opened : dict
        Path below ``code/`` of files that count, with the name of the definition that opens them.
    dynamic : dict
        Why whole modules count.
    """

    def __init__(self, program: Program, effects: ImportEffects, files: FilesBeside) -> None:
        self._program = program
        self._effects = effects
        self._files = files
        # Definitions by module and name; whether their docstrings count; who was first to use them.
        self.names: dict[Key, Loaded] = {}
        self._full: set[Key] = set()
        self.used_by: dict[Key, str] = {}
        self._queue: list[Key] = []
        # Imports that are meant where `import a.b` and `import a.c` both bind "a".
        self._imports: dict[Key, set[Unit]] = {}
        self.statements: dict[str, dict[Unit, None]] = {}
        self.whole: dict[str, Loaded] = {}
        self.executed: dict[str, Loaded] = {}
        self.opened: dict[str, str] = {}
        self.dynamic: dict[str, None] = {}

    def follow(self, loaded: Loaded, function: str) -> None:
        """Collect what a global name of a module reaches."""
        self._execute(loaded)
        for meaning in self._program.meanings_of(loaded, function):
            self._follow(meaning, "")
        if not self.names and not self.whole:  # it comes by a star import or from __getattr__
            reason = f"`{function}` is made as `{loaded.name}` is imported, so all of it counts"
            if loaded.problem:
                reason = self._why_whole(loaded, function)
            self._take(loaded, function, reason)
        while self._queue or self._find_statements():
            while self._queue:
                self._visit_definition(self._queue.pop())

    # What is reached

    def _visit_definition(self, key: Key) -> None:
        """Follow all names in a definition."""
        loaded = self.names[key]
        for unit in self.units(key):
            self._visit(loaded, unit, key[1], full=self.in_full(key, unit))

    def in_full(self, key: Key, unit: Unit) -> bool:
        """Return whether docstring and annotations count in a statement that defines a name."""
        return unit.kind == "function" and key in self._full

    def meaning(self, key: Key) -> tuple[object, ...]:
        """Return what the part of a definition depends on; equal ones have equal parts."""
        meant = self._imports.get(key)
        imports = None if meant is None else frozenset(meant)
        return key, key in self._full, imports, self.used_by[key]

    def units(self, key: Key) -> list[Unit]:
        """Return the statements that define a name, as far as they are meant."""
        units = self.names[key].module.bindings[key[1]]
        if len(units) == 1 and not units[0].dotted:  # most are
            return units
        meant = self._imports.get(key, ())
        return [unit for unit in units if not unit.dotted or unit in meant]

    def _visit(self, loaded: Loaded, unit: Unit, name: str, *, full: bool) -> None:
        """Follow all names in a statement."""
        facts, meanings, is_plain = self._program.uses(loaded, unit, full=full)
        if facts.imports and unit.runs:
            for imported in self._program.imported(loaded, facts):
                self._execute(imported)
        for meaning in meanings:
            if meaning.key not in self.names or meaning.is_read or meaning.unit is not None:
                self._follow(meaning, name)
        if not is_plain:
            self._take_dynamic(facts, loaded, name)
        if self._files.matter:
            for path in self._files.opened(loaded, unit):
                self.opened.setdefault(path, name)

    def _take_dynamic(self, facts: Facts, loaded: Loaded, name: str) -> None:
        """Take the modules of which a statement hides what it uses."""
        for what, _ in facts.dynamic:
            self._take(loaded, name, f"`{name}` uses `{what}`, so its whole module counts")
        for what in facts.computed_imports:
            reason = f"`{name}` uses `{what}` with a computed name, so all modules count"
            for each in self._program.names():
                if found := self._program.find(each):
                    self._take(found, name, reason)

    def _follow(self, meaning: Meaning, name: str) -> None:
        """Reach what a name can mean."""
        loaded, key, unit, is_read = meaning
        self._execute(loaded)
        if key is None:
            self._take(loaded, name, self._why_whole(loaded, name))
            return
        is_new = key not in self.names
        if is_read and key not in self._full:
            self._full.add(key)
            is_new = True
        if unit is not None and unit not in self._imports.get(key, ()):
            self._imports.setdefault(key, set()).add(unit)
            is_new = True
        if is_new:
            self.names[key] = loaded
            self._take_stars(loaded)
            self.used_by.setdefault(key, name)
            self._queue.append(key)

    def _take_stars(self, loaded: Loaded) -> None:
        """Take the modules that a module imports with a star: any name may be theirs."""
        for star in loaded.module.stars:
            if starred := self._program.find(self._program.absolute(loaded, star)):
                what = f"from {starred.name} import *"
                reason = f"`{loaded.name}` has `{what}`, so all of `{starred.name}` counts"
                self._take(starred, loaded.name, reason)

    def _why_whole(self, module: Loaded, name: str) -> str:
        """Return why a module counts that an expression has as a value."""
        if module.problem:
            return (
                f"module `{module.name}` cannot be loaded ({module.problem}), so all of it counts"
            )
        return f"`{name}` uses the module `{module.name}` as a whole, so all of it counts"

    def _take(self, loaded: Loaded, name: str, reason: str) -> None:
        """Take a whole module, and all that it uses."""
        self.dynamic.setdefault(reason)
        if loaded.name in self.whole:
            return
        self.whole[loaded.name] = loaded
        self.used_by.setdefault((loaded.name, ""), name)
        self._execute(loaded)
        self._take_stars(loaded)
        for unit in loaded.module.units:
            self._visit(loaded, unit, next(iter(unit.binds), loaded.name), full=True)

    # What imports run

    def _execute(self, loaded: Loaded) -> None:
        """Note that a module is executed, with all that it imports."""
        if loaded.name not in self.executed:
            self.executed[loaded.name] = loaded
            for each in self._program.executed_by(loaded):
                self._execute(each)

    def _is_named(self, loaded: Loaded, unit: Unit) -> bool:
        """Return whether a statement counts already, by the names that it binds."""
        return bool(unit.binds) and all((loaded.name, name) in self.names for name in unit.binds)

    def _find_statements(self) -> bool:
        """Reach statements of executed modules that nobody names; return whether there were any."""
        for loaded in list(self.executed.values()):
            for unit in self._effects.candidates(loaded):
                taken = self.statements.setdefault(loaded.name, {})
                if unit in taken or loaded.name in self.whole or self._is_named(loaded, unit):
                    continue
                if self._effects.counts(loaded, unit, self.names.keys()):
                    taken[unit] = None
                    name = next(iter(unit.binds), loaded.name)
                    self._visit(loaded, unit, name, full=False)
        return bool(self._queue)
