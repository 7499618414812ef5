"""What happens as modules are imported, beyond binding names.

A function sees more than the statements that bind the names it uses: ``WORDS.append("x")`` at
module level, a decorator that registers, a loop that fills a dict, ``os.environ["A"] = "b"``. Two
kinds of statements count although nobody names them:

- **outward**: they do something to what is not the module's own (a library, the environment), so
  every function of the module, and of those that import it, may see it;
- **touching**: what they run at import reaches something changeable that the function uses.

A call whose result is bound (``MODEL = load()``) is taken not to do anything to a library, unless
a function of the vault that it runs drops the result of such a call, or sets something there.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tablevault.engine.calls.modules import Unit
from tablevault.engine.calls.program import Definition, Key, Loaded, Program
from tablevault.engine.calls.scopes import Effect, Use

_HARMLESS = {"print", "super", "sleep", "warn"} | {
    *("debug", "info", "warning", "error", "exception", "critical", "log")
}
"""Functions and methods that are called for an effect which no function's result depends on."""


_READING = frozenset({"get", "items", "keys", "values", "copy", "index", "count"})
"""Methods that change nothing."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What an import runs for one statement."""

    reached: frozenset[Key]
    changed: frozenset[Key]
    """Definitions with an attribute or item that is set, or that are bound anew."""
    is_outward: bool


class ImportEffects:
    """Finds the statements that count for a function without being named by it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._executions: dict[Unit, Execution] = {}
        self._candidates: dict[Loaded, list[Unit]] = {}
        self._changeable: dict[Key, bool] = {}

    def candidates(self, loaded: Loaded) -> list[Unit]:
        """Return the statements of a module that do more than bind a name."""
        if loaded not in self._candidates:
            self._candidates[loaded] = [
                unit for unit in loaded.module.units if unit.runs and self._is_active(loaded, unit)
            ]
        return self._candidates[loaded]

    def counts(self, loaded: Loaded, unit: Unit, reached: Collection[Key]) -> bool:
        """Return whether a statement may decide what a function that reaches names returns."""
        execution = self._execution(loaded, unit)
        return (
            execution.is_outward
            or not execution.changed.isdisjoint(reached)
            or any(key in reached and self._is_changeable(key) for key in execution.reached)
        )

    def is_outward(self, loaded: Loaded, unit: Unit) -> bool:
        """Return whether a statement does something to what is not the module's own."""
        return self._execution(loaded, unit).is_outward

    def touched(self, loaded: Loaded, unit: Unit) -> frozenset[Key]:
        """Return the definitions that a statement reaches as it is imported."""
        execution = self._execution(loaded, unit)
        return execution.reached | execution.changed

    def _is_active(self, loaded: Loaded, unit: Unit) -> bool:
        """Return whether an import runs anything for a statement."""
        if unit.kind == "import" or _is_plain(unit.node):
            return False
        facts = self._program.facts(loaded, unit)
        if facts.calls_at_import or any(not effect.layer for effect in facts.effects):
            return True
        if any(not layer for _, layer in facts.dynamic):
            return True
        return isinstance(unit.node, ast.ClassDef) and self._has_subclass_hook(loaded, unit)

    def _has_subclass_hook(self, loaded: Loaded, unit: Unit) -> bool:
        """Return whether a class has a base of the vault's with a say in its subclasses."""
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
        """Return whether a definition holds something that can be changed in place."""
        if key not in self._changeable:
            loaded = self._program.find(key[0])
            self._changeable[key] = loaded is not None and loaded.module.is_changeable(key[1])
        return self._changeable[key]

    def _execution(self, loaded: Loaded, unit: Unit) -> Execution:
        """Return what an import runs for a statement, through all functions of the vault."""
        if unit not in self._executions:
            self._executions[unit] = self._follow(loaded, unit)
        return self._executions[unit]

    def _follow(self, start: Loaded, first: Unit) -> Execution:
        # The body of a function runs (layer 1), and for `@retry(3)` what it returns, too (2).
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
                if not _only_reads(use) or target.module.module.is_kind(target.name, "class"):
                    reached.add(key)
                if key not in seen:
                    seen.add(key)
                    units = target.module.module.bindings[target.name]
                    queue += [(target.module, each, depth) for each in units]
        return Execution(frozenset(reached), frozenset(changed), is_outward)

    def _run(self, loaded: Loaded, unit: Unit, deepest: int) -> Iterator[tuple[Definition, Use]]:
        """Yield the definitions that a statement uses down to a layer."""
        for use in self._program.facts(loaded, unit).uses:
            for target in self._program.targets(loaded, use) if use.layer <= deepest else ():
                if isinstance(target, Definition):
                    module = target.module.module
                    if not (use.is_stored and module.is_kind(target.name, "function")):
                        yield target, use

    def _own(self, loaded: Loaded, effect: Effect) -> list[Definition]:
        """Return the definitions in modules of the vault that an effect is on."""
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
        """Return whether an effect is on something that is not the vault's own."""
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
