from __future__ import annotations

import importlib
import linecache
import pickle
import sys
import threading
import traceback

import pytest

from tablevault.engine.code import Code, home_of, path_and_tree, plain_name
from tablevault.errors import TVFileError


def load(sources, module, function, paths=None):
    return Code(sources, paths).load_function(module, function, is_custom=True)


def test_a_module_has_proper_attributes():
    text = "def f():\n    return __name__, __file__"
    name, file = load({"metrics": text}, "metrics", "f")()
    assert (plain_name(name), file) == ("metrics", "code/metrics.py")
    assert name in sys.modules
    named = load({"metrics": text}, "metrics", "f", {"metrics": "vault/code/metrics.py"})
    assert named()[1] == "vault/code/metrics.py"


def test_modules_import_each_other_and_take_no_plain_names():
    sources = {
        "outer": "import inner_part\nfrom inner_part import VALUE\ndef f():\n    import late_part\n"
        "    return inner_part.VALUE + VALUE + late_part.VALUE",
        "inner_part": "VALUE = 1",
        "late_part": "VALUE = 10",
    }
    before, finders = set(sys.modules), list(sys.meta_path)
    assert load(sources, "outer", "f")() == 12
    assert all(name.startswith("tablevault.code") for name in set(sys.modules) - before)
    assert sys.meta_path == finders


def test_modules_of_two_vaults_do_not_clash():
    text = "import shared_name\ndef f():\n    return shared_name.VALUE"
    first = Code({"m": text, "shared_name": "VALUE = 1"})
    second = Code({"m": text, "shared_name": "VALUE = 2"})
    functions = [each.load_function("m", "f", is_custom=True) for each in (first, second)]
    assert [function() for function in functions] == [1, 2]


def test_a_module_may_have_the_name_of_one_of_the_library():
    import json  # the point is that it stays what it is

    text = "import json\ndef f():\n    return json.VALUE"
    assert load({"m": text, "json": "VALUE = 3"}, "m", "f")() == 3
    assert sys.modules["json"] is json


def test_modules_that_import_each_other_in_a_circle_work_as_in_python():
    sources = {
        "one": "import two\ndef f():\n    return two.g()",
        "two": "import one\ndef g():\n    return one.__name__",
    }
    assert plain_name(load(sources, "one", "f")()) == "one"


def test_a_module_is_executed_once_also_by_threads():
    sources = {
        "m": "def f():\n    import slow_part\n    return slow_part.TOKEN",
        "slow_part": "import time\ntime.sleep(0.01)\nTOKEN = object()",
    }
    function = load(sources, "m", "f")
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(function())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(map(id, seen))) == 1


def test_builders_do_not_share_the_state_of_a_module():
    code = Code({"m": "COUNT = []\ndef f():\n    COUNT.append(1)\n    return len(COUNT)"})
    functions = [code.load_function("m", "f", is_custom=True) for _ in range(2)]
    assert [function() for function in functions] == [1, 1]


def test_functions_of_open_modules_can_be_pickled_side_by_side():
    code = Code({"m": "class A: ...\ndef f():\n    return A()"}, home=home_of("/v", "1" * 40))
    functions = [code.load_function("m", "f", is_custom=True) for _ in range(2)]
    for function in functions:
        assert pickle.loads(pickle.dumps(function)) is function
        made = function()
        assert type(pickle.loads(pickle.dumps(made))) is type(made)
    code.close()
    assert pickle.loads(pickle.dumps(functions[0])) is functions[0]


def test_modules_have_the_same_name_in_the_next_execution():
    names = []
    for _ in range(2):
        code = Code({"m": "def f():\n    return __name__"}, home=home_of("/next", "2" * 40))
        names.append(code.load_function("m", "f", is_custom=True)())
        code.close()
    assert names == ["tablevault.code./next@222222222222+f.m"] * 2


@pytest.mark.parametrize("path", ["/home/a.b/v", "/a@b+c~d/%41", "/\udcff/\n", "/日本/v"])
def test_a_name_leads_back_to_any_path(path):
    home = home_of(path, "0123456789abcdef")
    assert home.isascii()
    assert "." not in home
    assert path_and_tree(f"{home}+f~2") == (path, "0123456789ab")


def test_modules_of_no_vault_are_not_found_by_others():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("tablevault.code.nothing+f.m")


def test_dataclasses_with_postponed_annotations_work():
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: int\ndef f():\n    return A(1).x"
    )
    assert load({"m": text}, "m", "f")() == 1


def test_annotations_of_the_package_do_not_leak_into_modules():
    text = "def f():\n    def g(x: int): ...\n    return g.__annotations__['x']"
    assert load({"m": text}, "m", "f")() is int


def test_a_traceback_shows_the_line():
    function = load({"m": "def f():\n    return 1 / 0  # here"}, "m", "f")
    with pytest.raises(ZeroDivisionError) as caught:
        function()
    shown = "".join(traceback.format_exception(caught.value))
    assert 'File "code/m.py", line 2, in f' in shown
    assert "# here" in shown
    linecache.checkcache()
    assert "# here" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("sources", "module", "function", "said"),
    [
        ({"metrics": ""}, "metric", "f", 'Did you mean "metrics"?'),
        ({}, "m", "f", "create_code_module"),
        ({"m": "def score():\n    pass"}, "m", "scor", 'Did you mean "score"?'),
        ({"m": "f = 1"}, "m", "f", "is int, no function"),
        ({"m": "x = 1\ndef f(:\n"}, "m", "f", "SyntaxError: invalid syntax in code/m.py, line 2"),
        (
            {"m": "x = 1\n\nimport nowhere_at_all"},
            "m",
            "f",
            "No module named 'nowhere_at_all' in code/m.py, line 3",
        ),
        ({"m": "x = 1\nraise ValueError('no')"}, "m", "f", "ValueError: no in code/m.py, line 2"),
        ({"m": "import n", "n": "\n1 / 0"}, "m", "f", "code/n.py, line 2"),
        ({"m": "import n", "n": "a b"}, "m", "f", "code/n.py, line 1"),
        ({"m": "import n.o", "n": ""}, "m", "f", "'n' is not a package"),
        ({"m": "from n import o", "n": ""}, "m", "f", "cannot import name 'o'"),
        ({"m": "import sys; sys.exit(3)"}, "m", "f", "SystemExit: 3"),
        ({"m": "x = '\x00'"}, "m", "f", "null bytes"),
    ],
)
def test_the_error_gives_the_real_cause(sources, module, function, said):
    with pytest.raises(TVFileError) as caught:
        load(sources, module, function)
    assert said in str(caught.value)


def test_the_cause_is_chained():
    with pytest.raises(TVFileError) as caught:
        load({"m": "1 / 0"}, "m", "f")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_module_that_failed_can_be_asked_for_again():
    code = Code({"m": "1 / 0"})
    for _ in range(2):
        with pytest.raises(TVFileError, match="ZeroDivisionError"):
            code.load_function("m", "f", is_custom=True)


def test_functions_of_the_package_are_found_by_name():
    function = Code({}).load_function("random_string", "random_row_string", is_custom=False)
    assert len(function(["a", "b"])) == 2


@pytest.mark.parametrize(
    ("module", "function", "said"),
    [
        ("random_strings", "f", 'Did you mean "random_string"?'),
        ("os", "system", "is_custom: true"),
        ("random_string", "random_rows_string", 'Did you mean "random_row_string"?'),
        ("random_string", "_text", "is not there"),
        ("table_generation", "pd", "is not there"),
        ("table_generation", "Path", "is not there"),
    ],
)
def test_only_functions_of_the_package_are_found(module, function, said):
    with pytest.raises(TVFileError) as caught:
        Code({}).load_function(module, function, is_custom=False)
    assert said in str(caught.value)
