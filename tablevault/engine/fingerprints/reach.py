"""Finds the code that a function reaches: definitions, modules, files, and executed statements.

A function depends on more than the statements that bind its names: ``WORDS.append("x")`` at
module level, a decorator that registers, a loop that fills a dict, ``os.environ["A"] = "b"``. Two
kinds of statements are included although no name refers to them:

- **outward**: they have an effect outside the module (a library, the environment), which every
  function of the module, and of modules that import it, may see;
- **touching**: the code that they execute reaches a mutable object that the function uses.

A call whose result is bound (``MODEL = load()``) is assumed to have no effect on a library, unless
a function of the vault within it discards the result of such a call, or sets an attribute there.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tablevault.engine.fingerprints.modules import Unit
from tablevault.engine.fingerprints.paths import FilesBeside
from tablevault.engine.fingerprints.program import Definition, Key, Loaded, Meaning, Program
from tablevault.engine.fingerprints.scopes import Effect, Facts, Use

_HARMLESS = {"print", "super", "sleep", "warn"} | {
    *("debug", "info", "warning", "error", "exception", "critical", "log")
}
"""Functions and methods whose effects cannot change the result of a function."""


_READING = frozenset({"get", "items", "keys", "values", "copy", "index", "count"})
"""Methods that change nothing."""


@dataclass(frozen=True, slots=True)
class Execution:
    """The code that one statement executes when its module is imported."""

    reached: frozenset[Key]
    changed: frozenset[Key]
    """Definitions that are bound again, or whose attributes or items are set."""
    is_outward: bool


class ImportEffects:
    """Finds the statements that a function depends on although it does not name them."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._executions: dict[Unit, Execution] = {}
        self._candidates: dict[Loaded, list[Unit]] = {}
        self._changeable: dict[Key, bool] = {}

    def candidates(self, loaded: Loaded) -> list[Unit]:
        """Return the statements of a module that do more than bind names."""
        if loaded not in self._candidates:
            self._candidates[loaded] = [
                unit for unit in loaded.module.units if unit.runs and self._is_active(loaded, unit)
            ]
        return self._candidates[loaded]

    def counts(self, loaded: Loaded, unit: Unit, reached: Collection[Key]) -> bool:
        """Return whether a statement can change the results of a function that reaches names."""
        execution = self._execution(loaded, unit)
        return (
            execution.is_outward
            or not execution.changed.isdisjoint(reached)
            or any(key in reached and self._is_changeable(key) for key in execution.reached)
        )

    def is_outward(self, loaded: Loaded, unit: Unit) -> bool:
        """Return whether a statement has an effect outside its module."""
        return self._execution(loaded, unit).is_outward

    def touched(self, loaded: Loaded, unit: Unit) -> frozenset[Key]:
        """Return the definitions that a statement reaches at import."""
        execution = self._execution(loaded, unit)
        return execution.reached | execution.changed

    def _is_active(self, loaded: Loaded, unit: Unit) -> bool:
        """Return whether a statement executes code at import, besides binding a name."""
        if unit.kind == "import" or _is_plain(unit.node):
            return False
        facts = self._program.facts(loaded, unit)
        if facts.calls_at_import or any(not effect.layer for effect in facts.effects):
            return True
        if any(not layer for _, layer in facts.dynamic):
            return True
        return isinstance(unit.node, ast.ClassDef) and (
            self._program.lists_subclasses or self._has_subclass_hook(loaded, unit)
        )

    def _has_subclass_hook(self, loaded: Loaded, unit: Unit) -> bool:
        """Return whether a class has a base with ``__init_subclass__`` or the like in the vault."""
        return any(
            target.module.module.is_changeable(target.name)
            for use in self._program.facts(loaded, unit).uses
            if not use.layer
            for target in self._program.targets(loaded, use)
            if isinstance(target, Definition)
            and target.module.module.is_kind(target.name, "class")
            and (target.module, target.name) != (loaded, *unit.binds)
        )

    def _is_changeable(self, key: Key) -> bool:
        """Return whether a definition holds a mutable object."""
        if key not in self._changeable:
            loaded = self._program.find(key[0])
            self._changeable[key] = loaded is not None and loaded.module.is_changeable(key[1])
        return self._changeable[key]

    def _execution(self, loaded: Loaded, unit: Unit) -> Execution:
        """Return the code that a statement executes at import, in all functions of the vault."""
        if unit not in self._executions:
            self._executions[unit] = self._follow(loaded, unit)
        return self._executions[unit]

    def _follow(self, start: Loaded, first: Unit) -> Execution:
        # It runs the body of a function (layer 1), and for `@retry(3)` the returned one (layer 2).
        depth = 2 if _calls_what_is_returned(first.node) else 1
        seen: set[Key] = set()
        reached: set[Key] = set()
        changed: set[Key] = set()
        is_outward = any(not layer for _, layer in self._program.facts(start, first).dynamic)
        queue = [(start, first, 0)]
        while queue:
            loaded, unit, deepest = queue.pop()
            for effect in self._program.facts(loaded, unit).effects:
                if effect.layer <= deepest and (unit is first or effect.layer):
                    own = self._own(loaded, effect)
                    is_outward = is_outward or self._is_outward(effect, own)
                    if effect.kind == "store":
                        changed |= {(each.module.name, each.name) for each in own}
            for target, use in self._run(loaded, unit, deepest):
                key = target.module.name, target.name
                if self._registers(first, unit, use, target):
                    changed.add(key)
                if not _only_reads(use) or target.module.module.is_kind(target.name, "class"):
                    reached.add(key)
                if key not in seen:
                    seen.add(key)
                    units = target.module.module.bindings[target.name]
                    queue += [(target.module, each, depth) for each in units]
        return Execution(frozenset(reached), frozenset(changed), is_outward)

    def _registers(self, first: Unit, unit: Unit, use: Use, target: Definition) -> bool:
        """Return whether a statement may add to a definition: ``@parse.register``, a subclass."""
        module = target.module.module
        is_class = module.is_kind(target.name, "class")
        if is_class and not target.rest:
            return self._program.lists_subclasses and isinstance(first.node, ast.ClassDef)
        if unit is not first and not use.layer:
            return False  # its own decorators run in a statement of their own
        if is_class:
            return target.rest[-1] == "register"  # of abc.ABC
        is_function = module.is_kind(target.name, "function")
        return is_function and not all(name.startswith("__") for name in target.rest)

    def _run(self, loaded: Loaded, unit: Unit, deepest: int) -> Iterator[tuple[Definition, Use]]:
        """Yield the definitions that a statement uses down to a layer."""
        for use in self._program.facts(loaded, unit).uses:
            for target in self._program.targets(loaded, use) if use.layer <= deepest else ():
                if isinstance(target, Definition):
                    module = target.module.module
                    if not (use.is_stored and module.is_kind(target.name, "function")):
                        yield target, use

    def _own(self, loaded: Loaded, effect: Effect) -> list[Definition]:
        """Return the definitions in modules of the vault that an effect changes."""
        if not effect.chain:
            return []
        return [
            target
            for target in self._program.targets(loaded, effect)
            if isinstance(target, Definition)
            and not target.module.module.is_kind(target.name, "import")
        ]

    @staticmethod
    def _is_outward(effect: Effect, own: list[Definition]) -> bool:
        """Return whether an effect changes an object outside the vault."""
        if effect.kind == "call" and not _HARMLESS.isdisjoint(effect.chain[-1:]):
            return False
        if not own or effect.kind == "store":
            return not own
        return any(
            (not effect.layer and not each.rest)  # configure()
            or not (
                each.module.module.is_container(each.name)
                or each.module.module.is_kind(each.name, "function")
                or each.module.module.is_kind(each.name, "class")
            )
            for each in own
        )


def _is_plain(node: ast.AST) -> bool:
    """Return whether a statement is a function without decorators and defaults; most are."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not (
        node.decorator_list or node.args.defaults or node.args.kw_defaults
    )


def _only_reads(use: Use) -> bool:
    """Return whether a value is only read: ``x in WORDS``, ``WORDS.get(x)``."""
    return not use.handed and (len(use.chain) == 1 or use.chain[-1] in _READING)


def _calls_what_is_returned(node: ast.AST) -> bool:
    """Return whether a statement has ``@f(...)`` or ``f(...)(...)``."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return any(isinstance(each, ast.Call) for each in decorators) or any(
        isinstance(each, ast.Call) and isinstance(each.func, ast.Call) for each in ast.walk(node)
    )


class Reach:
    """Follows the names in one function, and collects the code that they reach.

    Attributes
    ----------
    names : dict
        Module of each reached definition, by the names of module and definition.
    used_by : dict
        By definition, the name of the first one that uses it, "" for the function itself.
    statements : dict
        By module, its included statements that no name refers to.
    whole : dict
        Modules that are included as a whole, by name.
    executed : dict
        Modules that are imported for the function, by name.
    opened : dict
        By path below ``code/`` of an included file, the name of the definition that opens it.
    dynamic : dict
        Why whole modules are included.
    """

    def __init__(self, program: Program, effects: ImportEffects, files: FilesBeside) -> None:
        self._program = program
        self._effects = effects
        self._files = files
        # `_full`: definitions whose docstrings are included.
        self.names: dict[Key, Loaded] = {}
        self._full: set[Key] = set()
        self.used_by: dict[Key, str] = {}
        self._queue: list[Key] = []
        # The imports in question where `import a.b` and `import a.c` both bind "a".
        self._imports: dict[Key, set[Unit]] = {}
        self.statements: dict[str, dict[Unit, None]] = {}
        self.whole: dict[str, Loaded] = {}
        self.executed: dict[str, Loaded] = {}
        self.opened: dict[str, str] = {}
        self.dynamic: dict[str, None] = {}

    def follow(self, loaded: Loaded, function: str) -> None:
        """Collect the code that a global name of a module reaches."""
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

    # Definitions

    def _visit_definition(self, key: Key) -> None:
        """Follow all names in a definition."""
        loaded = self.names[key]
        for unit in self.units(key):
            self._visit(loaded, unit, key[1], full=self.in_full(key, unit))

    def in_full(self, key: Key, unit: Unit) -> bool:
        """Return whether docstring and annotations of a definition are included."""
        return unit.kind == "function" and key in self._full

    def meaning(self, key: Key) -> tuple[object, ...]:
        """Return a key of the part of a definition: equal keys have equal parts."""
        meant = self._imports.get(key)
        imports = None if meant is None else frozenset(meant)
        return key, key in self._full, imports, self.used_by[key]

    def units(self, key: Key) -> list[Unit]:
        """Return the statements that define a name, without imports of other submodules."""
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
        """Include whole modules if a statement uses names that cannot be resolved."""
        for what, _ in facts.dynamic:
            self._take(loaded, name, f"`{name}` uses `{what}`, so its whole module counts")
        for what in facts.computed_imports:
            reason = f"`{name}` uses `{what}` with a computed name, so all modules count"
            for each in self._program.names():
                if found := self._program.find(each):
                    self._take(found, name, reason)

    def _follow(self, meaning: Meaning, name: str) -> None:
        """Follow one possible meaning of a name."""
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
        """Include the modules that a module imports with a star: any name may be from them."""
        for star in loaded.module.stars:
            if starred := self._program.find(self._program.absolute(loaded, star)):
                what = f"from {starred.name} import *"
                reason = f"`{loaded.name}` has `{what}`, so all of `{starred.name}` counts"
                self._take(starred, loaded.name, reason)
                for below in self._program.starred_submodules(starred):
                    self._take(below, loaded.name, reason)

    def _why_whole(self, module: Loaded, name: str) -> str:
        """Return why a module that is used as a value is included."""
        if module.problem:
            return (
                f"module `{module.name}` cannot be loaded ({module.problem}), so all of it counts"
            )
        return f"`{name}` uses the module `{module.name}` as a whole, so all of it counts"

    def _take(self, loaded: Loaded, name: str, reason: str) -> None:
        """Include a whole module, and all that it uses."""
        self.dynamic.setdefault(reason)
        if loaded.name in self.whole:
            return
        self.whole[loaded.name] = loaded
        self.used_by.setdefault((loaded.name, ""), name)
        self._execute(loaded)
        self._take_stars(loaded)
        for unit in loaded.module.units:
            self._visit(loaded, unit, next(iter(unit.binds), loaded.name), full=True)

    # Statements that imports execute

    def _execute(self, loaded: Loaded) -> None:
        """Note that a module is executed, with all modules that it imports."""
        if loaded.name not in self.executed:
            self.executed[loaded.name] = loaded
            for each in self._program.executed_by(loaded):
                self._execute(each)

    def _is_named(self, loaded: Loaded, unit: Unit) -> bool:
        """Return whether a statement is included already, by the names that it binds."""
        return bool(unit.binds) and all((loaded.name, name) in self.names for name in unit.binds)

    def _find_statements(self) -> bool:
        """Follow statements that no name refers to; return whether new definitions are reached."""
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
