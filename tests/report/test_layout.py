"""How a report looks, in a real Chromium: what aligns, what is clamped, what scrolls, in print."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from pathlib import Path

import pytest

from tablevault import TableVault
from tests.report.chromium import CONTRAST, every, one, show, unfold
from tests.report.conftest import write

with contextlib.suppress(ModuleNotFoundError):  # without it no browser is started
    from selenium.webdriver.common.keys import Keys

CODE = '''"""Functions of the tests."""
import pandas as pd


def rows(count):
    return pd.DataFrame({"n": range(count)})


def ask(n, prompt, model, stop):
    if n == stop:
        raise TimeoutError("no answer\\n" * 6)
    return f"{model}: {n}"


def count(frame):
    return pd.DataFrame({"rows": [len(frame)]})
'''
INDEX = """builder_type: IndexBuilder
changed_columns: [n]
primary_key: [n]
python_function: rows
code_module: m
is_custom: true
arguments: {{count: {count}}}
"""
ASK = """builder_type: ColumnBuilder
changed_columns: [mood]
python_function: ask
code_module: m
is_custom: true
return_type: row-wise
arguments:
  n: <<self.n[index]>>
  model: small-1
  stop: {stop}
  prompt: |
    Read the text with care.

      Then say in one word how it feels:
    happy, sad, or bored.
    Answer in lower case.
"""
COUNT = """builder_type: IndexBuilder
changed_columns: [rows]
python_function: count
code_module: m
is_custom: true
arguments: {frame: "<<stories>>"}
"""
LONG_AUTHOR = "Bartholomäus Óskar von Württemberg-Hohenstein-Sigmaringen"
WIDTHS = [320, 360, 768, 1200, 1920]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Make tables of two authors, in every state, with names and texts of all lengths."""
    path = tmp_path_factory.mktemp("layout")
    ana = TableVault(path / "v", "Ana Lund", create=True)
    bo = TableVault(path / "v", f"{LONG_AUTHOR} <bo@example.org>")
    ana.create_code_module("m", text=CODE)
    ana.create_table("stories", description="A description of this table. " * 40)
    ana.create_table("counts")
    ana.create_table("waiting")
    ana.create_table("wide")
    execute(ana, 1)
    execute(ana, 758)
    execute(bo, 759, description="One more row")
    execute(ana, 3, version="a-version-with-a-long-name-" + "v" * 40, description="d" * 300)
    ana.delete_instance(execute(ana, 2, version="other"), "stories")
    for vault in (ana, bo):
        vault.create_instance("counts", builders={"counts_index": COUNT})
        vault.execute_instance("counts")
    with pytest.raises(TimeoutError):
        execute(bo, 5, stop=4, version="new")
    ana.create_instance("waiting", external_edit=True)
    for number in range(2):
        write(ana, "wide", {f"column_{each}": ["日本語の長い値" * 9, number] for each in range(30)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tablevault.queries.vault_summary._MOST_DETAILED", 4)
        return ana, Path(ana.report(path / "page.html"))


def execute(vault, count, *, stop=-1, version="base", description=""):
    builders = {"stories_index": INDEX.format(count=count), "mood": ASK.format(stop=stop)}
    vault.create_instance("stories", version, builders=builders, description=description)
    vault.execute_instance("stories", version)
    return vault.get_table_instances("stories", version)[-1]


@pytest.fixture
def opened(browser, story):
    """Open the page anew."""
    show(browser, 1200, "light")
    browser.get("about:blank")
    browser.get(story[1].as_uri())
    return browser


def text_of(browser, selector):
    return one(browser, selector).text


def settle(browser):
    """Wait until all that is observed was measured."""
    browser.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done));"
    )


# -- lines of instances -------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_fields_of_instances_align(opened, width):
    show(opened, width, "light")
    unfold(opened)
    lefts = opened.execute_script(
        """const found = {};
        for (const field of document.querySelectorAll("#table-stories .field")) {
          const box = field.getBoundingClientRect();
          if (!box.width) continue;
          const name = field.className;
          (found[name] ??= []).push(box.left);
        }
        return found;"""
    )
    assert len(lefts) == 8
    for name, found in lefts.items():
        assert max(found) - min(found) < 0.5, name


@pytest.mark.parametrize("width", WIDTHS)
def test_fields_of_an_instance_do_not_overlap(opened, width):
    show(opened, width, "light")
    unfold(opened)
    overlapping = opened.execute_script(
        """const found = [];
        for (const line of document.querySelectorAll(".line")) {
          const boxes = [...line.children].map((each) => [each, each.getBoundingClientRect()]);
          for (const [a, one] of boxes) for (const [b, other] of boxes) {
            if (a !== b && one.width && other.width && one.left < other.right - 1
                && other.left < one.right - 1 && one.top < other.bottom - 1
                && other.top < one.bottom - 1) found.push([a.outerHTML, b.outerHTML]);
          }
          const whole = line.getBoundingClientRect();
          for (const [a, one] of boxes) if (one.right > whole.right + 1) found.push(a.outerHTML);
        }
        return found;"""
    )
    assert overlapping == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(opened, width):
    show(opened, width, "light")
    unfold(opened)
    settle(opened)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_line_counts_what_was_computed_and_reused(opened, story):
    ids = story[0].get_table_instances("stories", "base")[1:]
    first, second = (f"#i-{each} .field" for each in ids)
    assert text_of(opened, f"{second}.results") == "1 computed, 758 reused"
    assert text_of(opened, f"{first}.results") == "757 computed, 1 reused"
    assert text_of(opened, f"{second}.rows") == "759 +1"
    assert text_of(opened, f"{second}.id") == ids[1].rpartition("_")[2][:8]
    assert len(text_of(opened, f"{second}.made")) == len("2026-01-01 10:00:00")


def test_a_line_is_heard_with_the_names_of_its_fields(opened, story):
    instance = story[0].get_table_instances("stories", "base")[-1]
    nodes = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    names = [
        node["name"]["value"]
        for node in nodes
        if node["role"]["value"] in ("DisclosureTriangle", "button") and node.get("name")
    ]
    short = instance.rpartition("_")[2][:8]
    (line,) = [name for name in names if short in name]
    for words in (
        "made",
        f"id {short}",
        "version base",
        "rows 759",
        "results 1 computed",
        "by Bart",
    ):
        assert words in line
    assert "took" in line
    assert "state current" in line


# -- the state of a table -----------------------------------------------------------------------


def test_a_table_begins_with_its_state(opened):
    states = every(opened, "#table-stories .now > li")
    assert [each.text.split()[0] for each in states] == ["current", "current", "failed"]
    failed = states[2].text
    assert "new execute instance started" in failed
    assert ", ran " in failed
    assert f"by {LONG_AUTHOR}" in failed
    assert "TimeoutError: no answer" in failed
    assert "stories_index 5 of 5 rows" in failed
    assert "mood 4 of 5 rows" in failed
    assert "in preparation" in text_of(opened, "#table-waiting .now")


def test_all_states_are_in_the_overview(opened):
    found = {
        one(row, "th").text: [each.text for each in row.find_elements("css selector", ".badge")]
        for row in every(opened, "#tables tbody tr")
    }
    assert found["stories"] == ["current", "failed"]
    assert found["waiting"] == ["in preparation"]


def test_the_arguments_that_count_now_are_shown(opened):
    terms = [each.text for each in every(opened, "#table-stories .builder dt")]
    # Index builders of two versions and of a temporary instance, which has another `ask`, too.
    ask = ["model", "stop", "prompt"]
    assert terms == ["count"] * 3 + ask * 2
    values = [each.text for each in every(opened, "#table-stories .builder dd")]
    assert values[:3] == ["3", "759", "5"]


# -- long texts ---------------------------------------------------------------------------------


def lines_of(browser, element):
    return browser.execute_script(
        """const style = getComputedStyle(arguments[0]);
        return Math.round(arguments[0].clientHeight / parseFloat(style.lineHeight));""",
        element,
    )


def test_a_long_text_shows_three_lines_until_it_is_clicked(opened):
    prompt = one(opened, "#table-stories .builder dd .clamp")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", prompt)
    settle(opened)
    button = opened.execute_script("return arguments[0].nextElementSibling", prompt)
    assert (button.text, button.get_attribute("aria-expanded")) == ("Show all", "false")
    assert lines_of(opened, prompt) == 3
    prompt.click()
    assert (button.text, button.get_attribute("aria-expanded")) == ("Show less", "true")
    assert lines_of(opened, prompt) == 5
    assert "\n  Then say" in prompt.text
    button.send_keys(Keys.ENTER)
    assert lines_of(opened, prompt) == 3


def test_a_text_that_fits_a_wider_window_loses_its_button(opened):
    fits = "#table-stories .now .problem"
    for width, is_cut in ((320, True), (1920, False), (320, True)):
        show(opened, width, "light")
        opened.execute_script(
            """const text = document.querySelector(arguments[0]);
            text.textContent = "some words ".repeat(14);
            text.scrollIntoView({block: "center"});""",
            fits,
        )
        settle(opened)
        assert bool(every(opened, f"{fits} + .unfold")) == is_cut


def test_without_a_script_all_text_is_there(browser, story):
    show(browser, 1200, "light")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(story[1].as_uri())
        assert lines_of(browser, one(browser, "#table-stories .builder dd .clamp")) == 5
        assert not every(browser, ".unfold")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_text_that_fits_has_no_button(opened):
    show(opened, 1200, "light")
    settle(opened)
    assert not every(opened, "#table-stories .builder dd:nth-of-type(1) button")
    texts = every(opened, "#table-stories .clamp")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", texts[0])
    settle(opened)
    cut = opened.execute_script(
        """return arguments[0].map((each) => [
          each.classList.contains("cut"), each.scrollHeight > each.clientHeight + 1])""",
        [each for each in texts if each.is_displayed()],
    )
    assert all(is_cut == is_long for is_cut, is_long in cut)
    assert [True, True] in cut


# -- wide boxes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_box_that_scrolls_has_an_edge_and_can_be_reached(opened, scheme):
    show(opened, 360, scheme)
    unfold(opened)
    boxes = every(opened, "#lineage .scroll, #table-wide .scroll, #tables .scroll")
    scrolling = 0
    for box in boxes:
        opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
        settle(opened)
        is_wider, name, edge = opened.execute_script(
            """const box = arguments[0], style = getComputedStyle(box);
            return [box.scrollWidth > box.clientWidth, box.getAttribute("aria-label"),
              parseFloat(style.borderRightWidth)];""",
            box,
        )
        scrolling += is_wider
        assert (box.get_attribute("tabindex"), box.get_attribute("role")) == (
            ("0", "group") if is_wider else (None, None)
        )
        assert bool(name) == bool(edge) == is_wider
    assert scrolling >= 3


# -- charts -------------------------------------------------------------------------------------


def test_bars_stand_above_their_dates(opened, story):
    chart = one(opened, "#table-stories .timeline svg")
    assert chart.get_attribute("role") == "group"  # an image has no links to screen readers
    words = [each.text for each in every(opened, "#table-stories .timeline text")]
    assert words[0] == "759 rows"
    made = text_of(opened, "#table-stories .instances .made time")
    assert words[1] == made[:10]
    bar, tick = (
        opened.execute_script(
            "return document.querySelector(arguments[0]).getBoundingClientRect().left", selector
        )
        for selector in (
            "#table-stories .bar rect:not(.space)",
            "#table-stories .timeline text:not(:first-child)",
        )
    )
    assert abs(bar - tick) < 2


def test_an_index_builder_has_not_the_colour_of_calls(opened):
    fills = opened.execute_script(
        """const fills = (selector) => [...document.querySelectorAll(selector)]
          .map((each) => getComputedStyle(each).fill);
        return [fills("#table-stories .computed"), fills("#table-counts .bar rect:not(.space)")];"""
    )
    assert fills[1]
    assert not set(fills[0]) & set(fills[1])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_drawings_can_be_told_from_what_is_behind_them(opened, scheme):
    show(opened, 1200, scheme)
    colours = opened.execute_script(
        """const style = (selector, property) =>
          getComputedStyle(document.querySelector(selector))[property];
        return [style(".card", "backgroundColor"), style(".bar .computed", "fill"),
          style(".bar .reused", "fill"), style("#table-counts .bar .plain", "fill"),
          style(".curves path", "stroke"), style(".dot", "stroke")];"""
    )
    behind, *shown = [luminance(each) for each in colours]
    for light in shown:
        one, other = sorted((light, behind))
        assert (other + 0.05) / (one + 0.05) >= 3


def luminance(colour):
    """Return the relative luminance of a colour, as WCAG 2.2 has it."""
    parts = [int(each) / 255 for each in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (
        each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_states_can_be_read(opened, scheme):
    show(opened, 1200, scheme)
    unfold(opened)
    found = opened.execute_script(CONTRAST)
    assert len(found) > 100
    assert [each for each in found if each[0] < 4.5] == []


# -- keyboard, print ----------------------------------------------------------------------------


def test_the_keyboard_goes_from_top_to_bottom(opened):
    opened.execute_script("document.body.focus()")
    order = []
    for _ in range(40):
        opened.switch_to.active_element.send_keys(Keys.TAB)
        element = opened.switch_to.active_element
        order.append(
            opened.execute_script(
                """const all = [...document.querySelectorAll("*")];
                const style = getComputedStyle(arguments[0]);
                return [all.indexOf(arguments[0]), parseFloat(style.outlineWidth) > 0
                  || arguments[0].closest("svg") !== null];""",
                element,
            )
        )
    places = [place for place, _ in order]
    assert places == sorted(places)
    assert len(set(places)) == 40
    assert all(is_seen for _, is_seen in order)


def test_bars_do_not_stop_the_keyboard(opened):
    assert {each.get_attribute("tabindex") for each in every(opened, ".bar")} == {"-1"}


def test_in_print_long_texts_are_whole(opened):
    prompt = one(opened, "#table-stories .builder dd .clamp")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", prompt)
    settle(opened)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert lines_of(opened, prompt) == 5
        shown = opened.execute_script(
            """return [...document.querySelectorAll("nav, .filter, .unfold")].filter((each) =>
              getComputedStyle(each).display !== "none").length"""
        )
        assert shown == 0
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    settle(opened)
    assert lines_of(opened, prompt) == 3
    assert one(opened, "#table-stories .builder dd .clamp + .unfold").is_displayed()


def test_it_is_a_document_with_landmarks_and_headings(opened):
    nodes = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {node["role"]["value"] for node in nodes}
    assert {"main", "banner", "contentinfo", "navigation", "searchbox", "table"} <= roles
    levels = opened.execute_script(
        "return [...document.querySelectorAll('h1, h2, h3')].map((each) => Number(each.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    unnamed = [
        node
        for node in nodes
        if node["role"]["value"] in ("link", "button", "region", "searchbox", "image")
        and not node.get("ignored")
        and not node.get("name", {}).get("value")
    ]
    assert unnamed == []
