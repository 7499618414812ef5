"""The page of a report, and its file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.cli.errors import at_prompt
from tablevault.errors import TVArgumentError
from tablevault.queries.vault_summary import ProcessSummary, vault_summary
from tablevault.report.page import MARK
from tablevault.report.page import page as made_page
from tests.looking import check_clean, state_of
from tests.report.conftest import CODE, INDEX, TWICE, Elements, check_sound, make_numbers, write

HOSTILE = "<script>alert(1)</script>\"'&<!-- </style></title>"
ATTACK = f"\x1b\u202e\"' onclick=x {{{{ 7 * 7 }}}}{HOSTILE}"


def summary_of(vault: TableVault, table: str = ""):
    return vault_summary(vault._vault, table)


def page_of(summary):
    return made_page(summary, at_prompt())


# -- facts --------------------------------------------------------------------------------------


def test_it_shows_what_calls_have_cost(vault):
    vault.create_table("numbers")
    text = "from tablevault import report_usage\n" + CODE.replace(
        "    return n *", "    report_usage('m', 1200, n, cost=0.25)\n    return n *"
    )
    vault.create_code_module("m", text=text)
    make_numbers(vault, 3, 2, "")
    index, twice = (each.run for each in summary_of(vault).tables[0].instances[0].details.builders)
    assert (index.calls, index.input_tokens, index.cost) == (1, None, None)
    assert (twice.calls, twice.input_tokens, twice.output_tokens, twice.cost) == (3, 3600, 3, 0.75)
    page = page_of(summary_of(vault))
    for name in ("calls", "tokens in + out", "cost"):
        assert f'<th scope="col" class="number">{name}</th>' in page
    assert '<td class="number">3,600 + 3</td><td class="number">0.75</td>' in page
    check_sound(page)


def test_it_shows_which_calls_have_failed(vault):
    vault.create_table("numbers")
    text = CODE.replace(
        "    return n *", "    if n:\n        raise ValueError(f'<b>{n}')\n    return n *"
    )
    vault.create_code_module("m", text=text)
    make_numbers(vault, 60, "2\non_error: keep")
    (instance,) = summary_of(vault).tables[0].instances
    details = instance.details
    assert details.builders[1].run.errors == 59
    assert [call.row for call in details.failures] == list(range(1, 60))
    assert details.failures[0].error == "ValueError: <b>1"
    page = page_of(summary_of(vault))
    assert "ValueError: &lt;b&gt;1<" in page
    assert "9 more errors" in page
    assert page.count('<span class="badge errors">59 errors</span>') == 2
    assert '<span class="badge errors">errors</span>' not in page  # one table has no list of tables
    vault.create_table("other")
    assert '<span class="badge errors">errors</span>' in page_of(summary_of(vault))
    check_sound(page)


def test_it_shows_from_where_calls_were_reused(made):
    latest, before, first = summary_of(made).tables[0].instances
    _, twice = before.details.builders
    assert twice.calls.reused_from == {first.id: 2}
    assert latest.details.builders[1].reused_from == []
    page = page_of(summary_of(made))
    assert '<th scope="col">from</th>' in page
    check_sound(page)


def test_it_shows_which_call_made_which_row_and_where(vault):
    vault.create_table("numbers")
    # Quicker calls have no times.
    text = CODE.replace("    return n *", "    time.sleep(0.002)\n    return n *")
    vault.create_code_module("m", text=f"import time\n{text}")
    first = make_numbers(vault, 6, 2)
    second = make_numbers(vault, 7, 2)
    (latest, earlier) = summary_of(vault).tables[0].instances
    assert [earlier.details.calls, latest.id] == [[], second]
    known = vault.get_calls("numbers").dropna(subset="row").head(5)
    calls = latest.details.calls
    assert [(each.row, each.builder, each.made_in) for each in calls] == [
        (row, "twice", first) for row in range(5)
    ]
    assert [each.code for each in calls] == known["code"].tolist()
    assert [each.duration_s for each in calls] == known["duration_s"].tolist()
    page = page_of(summary_of(vault))
    assert page.count(f'<code title="{calls[0].code}">{calls[0].code[:8]}</code>') == 5
    assert "<caption>Calls of these rows</caption>" in page
    check_sound(page)


def test_tables_that_are_gone_or_renamed_keep_their_place(vault, page):
    for table in ("a", "b"):
        vault.create_table(table)
    first = write(vault, "a", {"x": [1]})
    second = write(vault, "b", {"x": [1]}, ("a", first))
    vault.rename_table("c", "b")
    vault.delete_table("a")
    found = summary_of(vault)
    assert [table.name for table in found.tables] == ["c"]
    assert (found.nodes[first].table_name, bool(found.nodes[first].deleted_at)) == ("a", True)
    assert (found.nodes[second].table_name, found.nodes[second].deleted_at) == ("c", "")
    assert f"#i-{first}" not in page()
    # The name may be used again; the deleted table differs by its instances.
    vault.create_table("a")
    write(vault, "a", {"x": [1]})
    assert [each.rows for each in summary_of(vault).tables[1].instances] == [1]
    assert f"#i-{first}" not in page("a", "other.html")


def test_temporary_instances_have_their_progress_and_error(made):
    made.create_instance("apart", external_edit=True, description="soon")
    made.create_code_module(
        "flaky",
        text="import pandas as pd\n\ndef rows():\n    return pd.DataFrame({'n': range(4)})\n\n"
        "def ask(n):\n    if n == 3:\n        raise TimeoutError('no <answer>')\n    return n\n",
    )
    made.create_table("probe")
    index = (
        "{builder_type: IndexBuilder, changed_columns: [n], python_function: rows, "
        "code_module: flaky, is_custom: true, return_type: dataframe, arguments: {}}"
    )
    ask = (
        "{builder_type: ColumnBuilder, changed_columns: [a], python_function: ask, code_module: "
        "flaky, is_custom: true, return_type: row-wise, arguments: {n: '<<self.n[index]>>'}}"
    )
    made.create_instance("probe", builders={"probe_index": index, "ask": ask})
    with pytest.raises(TimeoutError):
        made.execute_instance("probe", process_id="p1")
    found = summary_of(made)
    (soon,) = found.tables[2].temps
    assert (soon.version, soon.document.description, soon.document.external_edit) == (
        "base",
        "soon",
        True,
    )
    assert soon.process is None
    (probe,) = found.tables[3].temps
    assert [
        (each.builder, each.rows, each.total, each.failed, each.first_failed)
        for each in probe.progress
    ] == [("probe_index", 4, 4, 0, None), ("ask", 3, 4, 1, 3)]
    process = probe.process
    assert (process.process_id, process.state) == ("p1", "paused")
    assert process.error == "TimeoutError: no <answer>"
    assert process.stopped >= process.started
    assert not found.unfinished
    assert [each.name for each in found.tables[3].settings] == ["probe_index", "ask"]
    text = page_of(found)
    check_sound(text)
    assert "TimeoutError: no &lt;answer&gt;" in text
    words = " ".join(re.sub("<[^>]+>", "", text).split())
    assert "ask 3 of 4 rows, 1 failed (row 3)" in words
    assert (
        "Run tablevault execute-instance probe --version base --process-id p1 to go on with it, "
        "or give it up: tablevault stop-process p1." in words
    )
    assert "TimeoutError" not in page_of(summary_of(made, "numbers"))


def test_a_process_without_a_temporary_instance_is_shown_by_itself(made):
    process = ProcessSummary(
        process_id="p2",
        operation="rename_table",
        table="sums",
        version="",
        author="Bo Ek <bo@example.org>",
        started=1.0,
        stopped=None,
        state="running",
        error="",
    )
    text = page_of(replace(summary_of(made), unfinished=(process,)))
    check_sound(text)
    (section,) = re.findall(r'<section id="unfinished".*?</section>', text, re.DOTALL)
    words = " ".join(re.sub("<[^>]+>", " ", section).split())
    assert words == (
        "Not finished running sums rename table since 1970-01-01 00:00:01 , by Bo Ek , process p2"
    )


def test_descriptions_of_tables_have_a_column_where_there_are_any(vault, page):
    for name in ("a", "b"):
        vault.create_table(name)
    assert "what it is" not in page()
    vault.create_table("c", description="The third")
    assert re.search(r'<th scope="col" class="wide">what it is</th>.*The third', page(), re.DOTALL)


def test_builders_that_differ_between_versions_are_shown_with_them(made):
    for version, factor in (("low", 2), ("high", 9)):
        builders = {"numbers_index": INDEX.format(count=3), "twice": TWICE.format(factor=factor)}
        made.create_instance("numbers", version, builders=builders)
        made.execute_instance("numbers", version)
    found = summary_of(made).tables[0]
    assert [(each.name, each.versions, each.arguments) for each in found.settings] == [
        ("numbers_index", (), (("count", "3"),)),
        ("twice", ("high",), (("factor", "9"),)),
        ("twice", ("low",), (("factor", "2"),)),
        ("twice", ("base",), (("factor", "3"),)),
    ]
    text = page_of(summary_of(made, "numbers"))
    check_sound(text)
    assert "<small> in version high</small>" in text


def test_builders_of_a_temporary_instance_can_be_read(made):
    builders = {"numbers_index": INDEX.format(count=4), "twice": TWICE.format(factor=3)}
    made.create_instance("numbers", builders=builders)
    versions = {each.name: each.versions for each in summary_of(made).tables[0].settings[1:]}
    assert versions == {"numbers_index": ("base (in preparation)",), "twice": ()}
    made.create_table("soon")
    made.create_instance("soon", builders={"soon_index": INDEX.format(count=4)})
    summary = summary_of(made, "soon")
    (settings,) = summary.tables[0].settings
    assert (settings.name, settings.versions) == ("soon_index", ())
    assert f'<a href="#text-{settings.text_id}"><code>soon_index' in page_of(summary)
    assert "  count: 4" in summary.texts[settings.text_id].lines


def test_a_text_names_what_it_made(made):
    latest, before, first = (each.id for each in summary_of(made).tables[0].instances)
    made.create_instance("numbers", copy=True)
    text = page_of(summary_of(made, "numbers"))
    check_sound(text)
    found = {
        re.search("<code>(.*?)</code>", each)[1]: each
        for each in re.findall('<details id="text-.*?</details>', text, re.DOTALL)
        if latest in each
    }
    assert found.keys() == {"m.py", "numbers_index.yaml", "twice.yaml"}
    assert [each in found["twice.yaml"] for each in (before, first)] == [False, False]
    assert [each in found["m.py"] for each in (before, first)] == [True, True]
    assert found["m.py"].index(latest) < found["m.py"].index(before) < found["m.py"].index(first)
    assert "<small> numbers</small></summary>" in found["m.py"]


def test_keys_in_cells_are_not_shown(vault, page, monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "correct-horse")
    key = "ghp_" + "k3Zt" * 9
    vault.create_table("t")
    long = "l" * 100 + f" {key} "
    write(vault, "t", {"n": [1, 2], "x": [f"first {key}", "one"], "y": ["", f"{long}1"]})
    rows = {"n": [1, 2, 3], "x": ["a", f"as {key}", "the correct-horse"], "y": ["", f"{long}2", ""]}
    write(vault, "t", rows)
    text = page()
    assert "k3Zt" not in text
    assert "correct-horse" not in text
    assert text.count("as [GitHub token removed]<") == 2  # first rows, changed cells
    assert text.count("first [GitHub token removed]<") == 1
    assert text.count("the ~ENV:SHOP_PASSWORD~<") == 2  # first rows, added rows


def test_keys_in_other_text_are_not_shown(made, repo_path, page):
    key = "ghp_" + "k3Zt" * 9
    ben = TableVault(repo_path, f"Ben {key} <ben@example.org>")
    ben.create_code_module("m", text=f"{CODE}TOKEN = '{key}'\n", allow_secret=True)
    ben.create_table("told", description=f"Read with {key}", allow_secret=True)
    with pytest.raises(TVArgumentError):
        ben.rename_table("none", key, process_id="renaming")
    builders = {"numbers_index": INDEX.format(count=3), "twice": TWICE.format(factor=4)}
    words = f"made with {key}"
    ben.create_instance("numbers", builders=builders, description=words, allow_secret=True)
    ben.execute_instance("numbers", allow_secret=True)
    text = page()
    assert "k3Zt" not in text
    for shown in (
        "Ben [GitHub token removed]",
        "Read with [GitHub token removed]",
        "TOKEN = &#39;[GitHub token removed]&#39;",
        "+TOKEN = &#39;[GitHub token removed]&#39;",
        "made with [GitHub token removed]",
    ):
        assert shown in text, shown


def test_it_shows_what_is_stale_and_why(made):
    make_numbers(made, 5, 3, "two more rows")
    numbers, sums = summary_of(made).tables[:2]
    assert (numbers.states, sums.states) == (["current"], ["current", "stale"])
    text = page_of(summary_of(made))
    check_sound(text)
    assert text.count('<span class="badge stale">stale</span>') == 2  # its line, its section
    assert '<p class="muted">numbers/base is newer.</p>' in text
    made.create_code_module("m", text=CODE.replace("n * factor", "factor * n"))
    numbers, sums = summary_of(made).tables[:2]
    assert (numbers.states, sums.states) == (["current", "stale"], ["current", "stale"])
    assert "twice: <code>twice</code> changed.</p>" in page_of(summary_of(made))


def test_errors_name_commands_of_a_shell(made, page):
    with pytest.raises(TVArgumentError, match=r"create_instance\('apart', version='base'\)"):
        made.execute_instance("apart", process_id="p1")
    text = page()
    assert "`tablevault create-instance apart --version base`" in text
    assert "create_instance(" not in text


def test_what_was_not_counted_does_not_look_written(made, page):
    made.create_code_module(
        "flaky",
        text="def ask(n):\n    if n:\n        raise TimeoutError\n    return n\n",
    )
    ask = (
        "{builder_type: ColumnBuilder, changed_columns: [a], python_function: ask, code_module: "
        "flaky, is_custom: true, return_type: row-wise, arguments: {n: '<<self.n[index]>>'}}"
    )
    builders = {"numbers_index": INDEX.format(count=2), "ask": ask}
    made.create_instance("numbers", builders=builders)
    with pytest.raises(TimeoutError):
        made.execute_instance("numbers", process_id="p1")
    made.stop_process("p1", materialize=True)
    latest = summary_of(made).tables[0].instances[0]
    assert (latest.instance.success, latest.results) == (False, None)
    kinds = [each.get("class") for each in Elements(page("numbers")).named("rect")]
    assert ("unknown" in kinds, "plain" in kinds) == (True, True)
    assert "not counted" in page("numbers")


def test_one_table_comes_with_what_it_is_linked_to(made):
    found = summary_of(made, "sums")
    assert [table.name for table in found.tables] == ["sums"]
    assert {node.table_name for node in found.nodes.values()} == {"numbers", "sums"}
    assert len(found.nodes) == 5
    assert found.current == {made.get_table_instances(table)[-1] for table in ("numbers", "sums")}
    check_sound(page_of(found))
    with pytest.raises(TVArgumentError, match='"sum"'):
        summary_of(made, "sum")


def test_an_empty_vault_has_a_page(vault, page):
    text = page()
    assert "0 tables" in text
    assert "No table yet." in text
    assert 'id="lineage"' not in text


def test_nothing_is_changed_by_it(made, page, repo_path):
    before = state_of(repo_path)
    page()
    assert state_of(repo_path) == before
    check_clean(repo_path)


def test_the_same_vault_gives_the_same_page(made, page):
    assert page() == page(path="other.html")


# -- rendering ----------------------------------------------------------------------------------


def test_each_instance_has_a_place_that_links_lead_to(made, page):
    text = page()
    elements = Elements(text)
    ids = {attributes.get("id") for _, attributes in elements.found}
    for table in ("numbers", "sums"):
        assert f"table-{table}" in ids
        for instance_id in made.get_table_instances(table):
            assert f"i-{instance_id}" in ids
    paths = [each for each in elements.named("path") if "data-from" in each]
    assert len(paths) == 2
    assert {each["data-to"] for each in paths} == set(made.get_table_instances("sums"))


def test_names_that_look_alike_have_places_of_their_own(vault, page):
    for table in ("a", "a-name", "a-b"):
        vault.create_table(table)
    vault.create_instance("a", version="b-c", external_edit=True)
    vault.create_instance("a-b", version="c", external_edit=True)
    page()


def test_texts_keep_their_lines(vault, page):
    vault.create_table("t", description="one\r\ntwo\n<three>")
    write(vault, "t", {"x": ["first\nsecond"]})
    text = page()
    assert "one\ntwo\n&lt;three&gt;" in text
    assert "first\nsecond" in text


def test_words_of_users_are_text(vault, page):
    vault.create_table("t", description=HOSTILE)
    vault.create_code_module("m", text=f"# {HOSTILE}\ndef f():\n    return None\n")
    builder = (
        "{builder_type: IndexBuilder, changed_columns: [a], python_function: f, code_module: m, "
        f"is_custom: true, arguments: {{}}}} # {HOSTILE}\n"
    )
    vault.create_code_module(
        "m",
        text=f"# {HOSTILE}\nimport pandas as pd\ndef f():\n    return pd.DataFrame({{'a': [1]}})\n",
    )
    other = TableVault(vault._vault.path, f"{HOSTILE} <eve@example.org>")
    other.create_instance("t", builders={"t_index": builder}, description=HOSTILE)
    other.execute_instance("t")
    write(other, "t", {HOSTILE: [HOSTILE, None], "k": [HOSTILE * 90, "x"]})
    write(other, "t", {HOSTILE: ["2", HOSTILE], "k": ["x", "y"]})
    text = page()
    assert "<script>alert" not in text
    assert "<!-- </style>" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 10


def hostile(value):
    """Return a value in which every text goes on with an attack, but for words of our own."""
    if isinstance(value, str):
        return f"{value}{ATTACK}" if value else ""
    if isinstance(value, Mapping):
        return {hostile(key): hostile(each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(hostile, value))
    if isinstance(value, list | tuple | set):
        return type(value)(map(hostile, value))
    if is_dataclass(value):
        kept = {"rows_state", "kind", "parts", "catalog"}
        names = [each.name for each in fields(value) if each.name not in kept]
        return replace(value, **{name: hostile(getattr(value, name)) for name in names})
    return value


def test_whatever_a_value_holds_is_text(made):
    made.create_instance("apart", external_edit=True, description="soon")
    made.delete_instance(made.get_table_instances("numbers")[0], "numbers")
    summary = hostile(summary_of(made))
    text = page_of(summary)
    check_sound(text)
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 200
    assert "<script>alert" not in text
    assert not re.search("[\x00-\x08\x1b\u202a-\u202e\ud800-\udfff]", text)
    plain = Elements(page_of(summary_of(made)))
    for name in ("details", "section", "rect", "td", "th", "code", "li"):
        assert len(Elements(text).named(name)) == len(plain.named(name)), name


def test_a_hostile_description_of_the_vault_is_text(tmp_path):
    vault = TableVault(tmp_path / "<b>v", "Ana", HOSTILE, create=True)
    text = Path(vault.report(tmp_path / "r.html")).read_text("utf-8")
    check_sound(text)
    assert "<h1>&lt;b&gt;v</h1>" in text


def test_names_committed_by_hand_are_text(vault, git, repo_path, page):
    """Somebody may commit a table by hand, whatever its name."""
    vault.create_table("t")
    write(vault, "t", {"x": [1]})
    odd = 'x"><img src=x onerror=alert(1)>'
    folder = repo_path / "tables" / odd
    folder.mkdir(parents=True)
    document = (repo_path / "tables/t/table.yaml").read_text("utf-8")
    (folder / "table.yaml").write_text(document.replace("id: ", "id: other-"), "utf-8")
    broken = repo_path / "tables" / "broken"
    broken.mkdir()
    (broken / "table.yaml").write_text("[not a mapping", "utf-8")
    git(repo_path, "add", "tables")
    git(repo_path, "commit", "--no-verify", "-q", "-m", HOSTILE)
    text = page()
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "no readable YAML" in text


def test_characters_that_hide_text_are_spelled_out(vault, page):
    vault.create_table("t", description="a\u202eb\x00c")
    write(vault, "t", {"x": ["\u2066cell\x1b[31m", "日本語 😀"]})
    text = page()
    assert not re.search("[\x00-\x08\x1b\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert "\\u202e" in text
    assert "日本語 😀" in text


def test_only_its_own_script_and_style_may_run(made, page):
    text = page()
    (policy,) = [
        each["content"]
        for each in Elements(text).named("meta")
        if each.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for kind in ("style", "script"):
        content = re.search(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert "http" not in re.sub(r"http://www.w3.org/2000/svg|http-equiv", "", text)


def test_long_things_are_cut_and_say_so(vault, page):
    vault.create_table("n" * 100)
    vault.create_table("t", description="d" * 5000)
    lines = "\n".join(f"# line {number}" for number in range(3000))
    vault.create_code_module(
        "m",
        text="import pandas as pd\ndef f():\n    return pd.DataFrame({'a': range(100)})\n" + lines,
    )
    index = (
        "{builder_type: IndexBuilder, changed_columns: [a], python_function: f, code_module: m, "
        "is_custom: true, return_type: dataframe, arguments: {}}"
    )
    vault.create_instance("t", builders={"t_index": index})
    vault.execute_instance("t")
    columns = {f"c{number}": ["v" * 10_000, "w"] for number in range(250)}
    write(vault, "t", columns)
    text = page()
    assert len(text) < 1_000_000
    assert "d" * 2_001 not in text
    assert "… 1,503 more lines." in text
    assert "… 50 more." in text
    assert "220 more columns" in text
    write(vault, "t", {"a": [1]})
    assert "… 211 more columns." in page()


def test_the_latest_instances_have_details_and_earlier_ones_a_line(vault, page, monkeypatch):
    for name, value in {"DETAILED": 4, "COMPARED": 2, "LISTED": 6}.items():
        monkeypatch.setattr(f"tablevault.queries.vault_summary._MOST_{name}", value)
    vault.create_table("t")
    made = [write(vault, "t", {"x": [number]}) for number in range(8)]
    text = page()
    table = summary_of(vault).tables[0]
    assert [each.id for each in table.instances] == made[:1:-1]
    assert table.more == 2
    assert [each.details is not None for each in table.instances] == [True] * 4 + [False] * 2
    states = [each.details.changes.rows_state for each in table.instances[:4]]
    assert states == ["compared", "compared", "later", "later"]
    assert "Rows are compared for the latest instances only." in text
    assert "2 earlier instances" in text
    assert "2 still earlier instances" in text
    assert "No table was made from another one." in text
    assert [f'id="i-{each}"' in text for each in made] == [False] * 2 + [True] * 6


def test_each_version_has_its_current_instance_in_the_state_of_its_table(vault, page):
    vault.create_table("t")
    write(vault, "t", {"x": [1]})
    base = write(vault, "t", {"x": [2]})
    other = write(vault, "t", {"x": [3]}, version="other")
    (table,) = summary_of(vault).tables
    assert [each.id for each in table.current] == [other, base]
    _, _, listed = page().partition('<ul class="now">')
    states, _, _ = listed.partition("</ul>")
    assert states.count("<li>") == 2
    assert "<b>other</b>" in states
    assert "<b>base</b>" in states


def test_what_is_large_is_not_compared(vault, page, monkeypatch):
    vault.create_table("t")
    for number in range(2):
        write(vault, "t", {"x": [number] * 3, "y": [0] * 3})
    monkeypatch.setattr("tablevault.queries.instance_summary._MOST_CELLS", 11)
    assert summary_of(vault).tables[0].instances[0].details.changes.rows_state == "large"
    assert "too large to be compared here" in page()
    monkeypatch.setattr("tablevault.queries.instance_summary._MOST_CELLS", 12)
    monkeypatch.setattr("tablevault.queries.vault_summary._CELLS_OF_ALL", 11)
    assert summary_of(vault).tables[0].instances[0].details.changes.rows_state == "later"


def test_many_tables_share_the_number_of_details(vault, page, monkeypatch):
    for name, value in {"MOST_TABLES": 2, "DETAILED_OF_ALL": 4, "COMPARED_OF_ALL": 2}.items():
        monkeypatch.setattr(f"tablevault.queries.vault_summary._{name}", value)
    for table in ("a", "b", "c"):
        vault.create_table(table)
        for number in range(3):
            write(vault, table, {"x": [number]})
    found = summary_of(vault)
    assert [table.name for table in found.tables] == ["a", "b"]
    for table in found.tables:
        assert [each.details is not None for each in table.instances] == [True, True, False]
        states = [each.details.changes.rows_state for each in table.instances[:2]]
        assert states == ["compared", "later"]
    assert "… 1 more table." in page()


# -- the drawing --------------------------------------------------------------------------------


def test_curves_pass_beside_the_tables_in_between(vault, page):
    for table in ("a", "b", "c"):
        vault.create_table(table)
    first = write(vault, "a", {"x": [1]})
    second = write(vault, "b", {"x": [1]}, ("a", first))
    write(vault, "c", {"x": [1]}, ("a", first), ("b", second))
    elements = Elements(page())
    paths = [each["d"] for each in elements.named("path") if "data-from" in each]
    assert len(paths) == 3
    boxes = [each for each in elements.named("rect") if each.get("class") == "box"]
    lefts = [int(box["x"]) for box in boxes]
    assert lefts == sorted(lefts)
    assert len(set(lefts)) == 3
    (passing,) = [path for path in paths if "H" in path]
    height = int(re.search(r",(\d+) H", passing)[1])
    top = int(boxes[1]["y"])
    assert not top <= height <= top + int(boxes[1]["height"])


def test_tables_made_from_each_other_are_drawn(vault, page):
    for table in ("a", "b"):
        vault.create_table(table)
    first = write(vault, "a", {"x": [1]})
    second = write(vault, "b", {"x": [1]}, ("a", first))
    write(vault, "a", {"x": [1]}, ("b", second))
    assert len([each for each in Elements(page()).named("path") if "data-from" in each]) == 2


# -- data that are not here ---------------------------------------------------------------------


def test_nothing_is_fetched_for_it(made, tmp_path):
    from tablevault import clone_vault

    clone = clone_vault(made._vault.path, tmp_path / "clone", "Bo")
    objects = tmp_path / "clone/.git/lfs/objects"
    text = Path(clone.report(tmp_path / "clone.html")).read_text("utf-8")
    check_sound(text)
    assert not [each for each in objects.rglob("*") if each.is_file()]
    assert text.count("those of one or both are not in this copy of the vault") == 3
    assert text.count("Its rows are not in this copy of the vault") == 2  # of each current instance
    assert "another factor" in text


def test_a_damaged_dataframe_is_named(made, page, repo_path):
    objects = [each for each in (repo_path / ".git/lfs/objects").rglob("*") if each.is_file()]
    for path in objects:
        path.chmod(0o644)
        content = path.read_bytes()
        path.write_bytes(content[:40] + b"damage" + content[46:])
    text = page()
    assert "cannot be read: see tablevault verify" in text


def test_a_report_is_replaced_and_nothing_else(vault, tmp_path):
    path = tmp_path / "r.html"
    assert vault.report(path) == str(path)
    assert vault.report(str(path)) == str(path)
    assert path.read_text("utf-8").startswith(MARK)
    path.write_text("<!DOCTYPE html>\nmine", "utf-8")
    with pytest.raises(TVArgumentError, match="no report"):
        vault.report(path)
    assert path.read_text("utf-8").endswith("mine")
    vault.report(path, force=True)
    assert path.read_text("utf-8").startswith(MARK)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["r.html"]


def test_who_may_read_it_stays_as_it_was(vault, tmp_path):
    path = tmp_path / ("日本語" * 25 + ".html")
    vault.report(path)
    path.chmod(0o640)
    vault.report(path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_two_may_write_it_at_once(vault, tmp_path):
    path = tmp_path / "r.html"
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: vault.report(path), range(8))) == {str(path)}
    check_sound(path.read_text("utf-8"))
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["r.html"]


def test_a_path_that_cannot_be_is_refused(vault, tmp_path, repo_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(TVArgumentError, match="no file"):
        vault.report(tmp_path / "folder", force=True)
    with pytest.raises(TVArgumentError, match="no folder"):
        vault.report(tmp_path / "nowhere" / "r.html")
    with pytest.raises(TVArgumentError, match="no report"):
        vault.report(repo_path / "vault.yaml")
    with pytest.raises(TVArgumentError, match="too long"):
        vault.report(tmp_path / ("r" * 300))


def test_a_link_stays_a_link(vault, tmp_path):
    link = tmp_path / "link.html"
    link.symlink_to(tmp_path / "target.html")
    assert vault.report(link) == str(tmp_path / "target.html")
    assert link.is_symlink()
    assert link.read_text("utf-8").startswith(MARK)
