"""Completion by a shell: commands, options, tables, instances, modules, processes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from tablevault.cli.command import ASK, GLOBAL_OPTIONS, Argument, Command, Completes
from tablevault.cli.context import CommandContext

if TYPE_CHECKING:
    from tablevault.vault import Vault

_FILES = ":files"
"""Answer that leaves it to the shell to complete the name of a file."""


def answer(words: Sequence[str], commands: Mapping[str, Command], stream: TextIO) -> int:
    """Print completions of the last word, one a line; errors are not printed."""
    try:
        offered = list(offers(list(words), commands))
    except Exception:  # noqa: BLE001 - after an error nothing is offered
        offered = []
    stream.writelines(f"{each}\n" for each in offered)
    return 0


def offers(words: list[str], commands: Mapping[str, Command]) -> Iterable[str]:
    """Return the completions of the last of `words`."""
    *before, last = words or [""]
    name, options, values = _read(before, commands)
    if before and GLOBAL_OPTIONS.get(before[-1]):
        return [] if before[-1] == "--author" else [_FILES]
    command = commands.get(name)
    if command is None:
        known = [*commands, *GLOBAL_OPTIONS] if last.startswith("-") else commands
        return [] if name else _beginning(last, known)
    by_name = {each: found for found in command.arguments for each in found.names}
    if before and before[-1] in by_name and by_name[before[-1]].takes_value:
        return _values(by_name[before[-1]].completes, last, options, values)
    if last.startswith("-"):
        return _beginning(
            last, [each for each in by_name if each.startswith("-")] + [*GLOBAL_OPTIONS]
        )
    positionals = [each for each in command.arguments if not each.is_option]
    if positionals and positionals[-1].options.get("nargs") == "*":
        positionals += [positionals[-1]] * len(values)
    if len(values) < len(positionals):
        return _values(positionals[len(values)].completes, last, options, values)
    return []


def _read(
    before: list[str], commands: Mapping[str, Command]
) -> tuple[str, dict[str, str], list[str]]:
    """Sort words into the command, the values of options, and positional values."""
    name = ""
    options: dict[str, str] = {}
    values: list[str] = []
    by_name: dict[str, Argument] = {}
    at = 0
    while at < len(before):
        word = before[at]
        has_value = GLOBAL_OPTIONS.get(word) or (word in by_name and by_name[word].takes_value)
        if has_value and at + 1 < len(before):
            options[word] = before[at + 1]
            at += 1
        elif word.startswith("-"):
            key, _, value = word.partition("=")
            options[key] = value
        elif not name:
            name = word
            arguments = commands[word].arguments if word in commands else ()
            by_name = {each: found for found in arguments for each in found.names}
        else:
            values.append(word)
        at += 1
    return name, options, values


def _beginning(start: str, words: Iterable[str]) -> list[str]:
    """Keep the words that begin with `start`."""
    return [word for word in words if word.startswith(start)]


def _values(kind: Completes, start: str, options: dict[str, str], values: list[str]) -> list[str]:
    """Return the values that an argument may have."""
    if kind == "path":
        return [_FILES]
    if not kind:
        return []
    context = CommandContext(db_dir=options.get("--db-dir", ""), is_quiet=True)
    vault = context.inspect()
    table = options.get("--table-name", "") or (values[0] if values else "")
    return _beginning(start, _things(kind, vault, table))


def _things(kind: Completes, vault: Vault, table: str) -> list[str]:
    """Return the names of things in the vault."""
    from tablevault.queries import describe, processes
    from tablevault.remotes import clone

    ask = {
        "table": lambda: describe.table_instances(vault, "", ""),
        "instance": lambda: describe.table_instances(vault, table, "", include_temp=True),
        "module": lambda: describe.code_modules(vault),
        "builder": lambda: describe.builders_list(vault, table, "", "base", is_temp=True),
        "process": lambda: list(processes.active(vault)),
        "remote": lambda: list(clone.list_remotes(vault)),
    }
    return ask[kind]()


_BASH = r"""_tablevault() {
    local -a words answer
    words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    local last=${COMP_WORDS[COMP_CWORD]-} each
    words=("${words[@]//[\\\"\']/}")
    mapfile -t answer < <(tablevault %(ask)s "${words[@]}" 2>/dev/null)
    COMPREPLY=()
    if [[ ${answer[0]-} == :files ]]; then
        compopt -o default
        return 0
    fi
    for each in ${answer[@]+"${answer[@]}"}; do
        case $last in
            [\"\']*) COMPREPLY+=("$each") ;;
            *) COMPREPLY+=("$(printf %%q "$each")") ;;
        esac
    done
}
complete -F _tablevault tablevault
"""
_ZSH = r"""#compdef tablevault
_tablevault() {
    local -a answer
    answer=("${(@f)$(tablevault %(ask)s "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ ${answer[1]-} == :files ]]; then
        _files
    else
        compadd -- ${answer:#}
    fi
}
if (( ! ${+functions[compdef]} )); then
    autoload -Uz compinit && compinit
fi
compdef _tablevault tablevault
"""
_FISH = """function __tablevault
    set -l words (commandline -opc) (commandline -ct)
    set -l answer (tablevault %(ask)s $words[2..] 2>/dev/null)
    if test "$answer[1]" = :files
        __fish_complete_path (commandline -ct)
    else
        printf '%%s\\n' $answer
    end
end
complete -c tablevault -f -a '(__tablevault)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def _script(context: CommandContext, given: argparse.Namespace) -> object:
    """Return the script for a shell."""
    del context
    return _SCRIPTS[given.shell] % {"ask": ASK}


COMMANDS = (
    Command(
        name="completion",
        summary="print the script by which a shell completes commands, tables and instances",
        run=_script,
        details='In ~/.bashrc: eval "$(tablevault completion bash)"; in ~/.zshrc: zsh.',
        arguments=(
            Argument(("shell",), {"choices": tuple(_SCRIPTS), "help": "bash, zsh or fish"}),
        ),
    ),
)
