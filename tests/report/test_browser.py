"""A report in a real Chromium: clicked, filtered, narrow and wide, light and dark."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tablevault import TableVault
from tests.report.chromium import CONTRAST, every, one, show, unfold
from tests.report.conftest import CODE, make_numbers, make_sums, write

with contextlib.suppress(ModuleNotFoundError):  # without it no browser is started
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

HOSTILE = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"
LONG = "a-table-with-a-very-long-name-" + "n" * 60


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Make a vault worth a page: two linked tables, hostile words, a very long name."""
    path = tmp_path_factory.mktemp("story")
    vault = TableVault(path / "v", "Ana Lund", HOSTILE, create=True)
    vault.create_code_module("m", text=f"{CODE}\n# {HOSTILE}\n")
    vault.create_table("numbers", description=HOSTILE)
    vault.create_table("sums")
    vault.create_table(LONG, description="l" * 300)
    for count, factor, description in ((2, 2, "first"), (3, 2, "second"), (3, 3, "third")):
        make_numbers(vault, count, factor, description)
        make_sums(vault)
    write(vault, LONG, {f"{HOSTILE} {n}": [HOSTILE * 20, "x" * 400] for n in range(30)})
    write(vault, LONG, {"z" * 200: [HOSTILE]}, ("sums", vault.get_table_instances("sums")[0]))
    vault.create_instance("numbers", external_edit=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tablevault.queries.vault_summary._MOST_DETAILED", 2)
        return vault, Path(vault.report(path / "page.html"))


@pytest.fixture
def opened(browser, story):
    """Open the page anew: wide, light, nothing unfolded."""
    show(browser, 1280, "light")
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(story[1].as_uri())
    yield browser
    # The log has whatever the policy of the page forbids, and every error of its script.
    assert not browser.get_log("browser")


def in_view(browser, element):
    rect = browser.execute_script("return arguments[0].getBoundingClientRect()", element)
    return 0 <= rect["top"] < 900


def test_a_row_of_the_drawing_leads_to_its_instance(opened, story):
    wanted = story[0].get_table_instances("sums")[-1]
    row = one(opened, f'#lineage svg a[data-node="{wanted}"]')
    row.find_element(By.CSS_SELECTOR, "text").click()
    card = opened.find_element(By.ID, f"i-{wanted}")
    assert card.get_property("open")
    assert in_view(opened, card)
    assert opened.current_url.endswith(f"#i-{wanted}")
    assert "Made from" in card.text or "MADE FROM" in card.text
    # From there on to what it was made from, and to the text of its builder.
    source = card.find_element(By.CSS_SELECTOR, "a.neighbour")
    assert source.text.startswith("numbers base")
    source.click()
    numbers = opened.find_element(By.ID, f"i-{story[0].get_table_instances('numbers')[-1]}")
    assert numbers.get_property("open")
    assert in_view(opened, numbers)
    numbers.find_element(By.LINK_TEXT, "twice").click()
    text = one(opened, "details.text[open]")
    assert in_view(opened, text)
    assert "factor: 3" in text.text


def test_a_link_unfolds_again_what_was_folded(opened):
    bar = every(opened, "#table-numbers .timeline a")[-1]
    bar.find_element(By.CSS_SELECTOR, ".computed").click()
    card = opened.find_element(By.ID, opened.current_url.partition("#")[2])
    card.find_element(By.CSS_SELECTOR, "summary").click()
    assert not card.get_property("open")
    bar.find_element(By.CSS_SELECTOR, ".computed").click()
    assert card.get_property("open")


def test_pointing_at_an_instance_lights_up_what_it_comes_from(opened, story):
    wanted = story[0].get_table_instances("sums")[0]
    row = one(opened, f'#lineage svg a[data-node="{wanted}"]')
    webdriver.ActionChains(opened).move_to_element(row).perform()
    lit = {each.get_attribute("data-to") for each in every(opened, "#lineage path.lit")}
    latest = story[0].get_table_instances(LONG)[-1]
    assert lit == {wanted, latest}


def test_the_filter_keeps_what_fits(opened):
    box = opened.find_element(By.ID, "filter")

    def shown(selector="section.table"):
        return [each.get_attribute("id") for each in every(opened, selector) if each.is_displayed()]

    assert len(shown()) == 3
    box.send_keys("zzzzzz")
    assert shown() == [f"table-{LONG}"]
    assert opened.find_element(By.ID, "found").text == "1 of 3 tables"
    listed = [each.text for each in every(opened, "#tables tbody a") if each.is_displayed()]
    assert listed == [LONG]
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys("numbers_index SECOND")
    assert shown() == ["table-numbers"]
    kept = shown("#table-numbers details.instance")
    assert len(kept) == 2  # the third names it as the description before
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(Keys.DELETE)
    assert len(shown()) == 3


def test_a_link_shows_what_the_filter_hides(opened, story):
    opened.find_element(By.ID, "filter").send_keys("zzzzzz")
    wanted = story[0].get_table_instances("sums")[-1]
    card = opened.find_element(By.ID, f"i-{wanted}")
    assert not card.is_displayed()
    row = one(opened, f'#lineage svg a[data-node="{wanted}"]')
    row.find_element(By.CSS_SELECTOR, "text").click()
    assert card.is_displayed()
    assert in_view(opened, card)


def test_earlier_instances_are_found_and_led_to(opened, story):
    first = story[0].get_table_instances("numbers")[0]
    line = opened.find_element(By.ID, f"i-{first}")
    assert (line.tag_name, line.is_displayed()) == ("li", False)
    one(opened, f'#lineage svg a[data-node="{first}"] text').click()
    assert line.is_displayed()
    one(opened, "#table-numbers .earlier > summary").click()
    assert not line.is_displayed()
    opened.find_element(By.ID, "filter").send_keys(first.rpartition("_")[2][:8])
    assert line.is_displayed()


def test_it_can_be_used_by_keyboard(opened):
    opened.switch_to.active_element.send_keys(Keys.TAB)
    assert opened.switch_to.active_element.get_attribute("class") == "skip"
    summary = one(opened, "details.instance summary")
    opened.execute_script("arguments[0].focus()", summary)
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    assert one(opened, "details.instance").get_property("open")


def test_words_of_users_do_nothing(opened):
    unfold(opened)
    assert opened.execute_script("return window.pwned") is None
    assert len(every(opened, "script")) == 1
    assert not every(opened, "img")
    assert HOSTILE in one(opened, "#table-numbers .description").text
    assert not opened.execute_script("return performance.getEntriesByType('resource').length")


def test_the_policy_of_the_page_holds(browser, story):
    """Even markup that got in would not run, and would load nothing."""
    browser.get(story[1].as_uri())
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.pwned = 1';"
        "document.body.append(s);"
        "const d = document.createElement('div'); document.body.append(d);"
        'd.innerHTML = \'<img src="data:,x" onerror="window.pwned = 1"><b style="top: 1px">\';'
    )
    assert browser.execute_script("return window.pwned") is None
    logged = " ".join(entry["message"] for entry in browser.get_log("browser"))
    assert "Content Security Policy" in logged


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window_and_can_be_read(opened, width, scheme):
    show(opened, width, scheme)
    unfold(opened)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    back = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, back[4:-1].split(","))) > 128) == (scheme == "light")
    found = opened.execute_script(CONTRAST)
    assert len(found) > 200
    assert not [each for each in found if each[0] < 4.5]


def test_it_can_be_read_without_a_script(browser, story):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(story[1].as_uri())
        assert not browser.find_element(By.ID, "filter").is_displayed()
        card = one(browser, "#table-sums details.instance")
        card.find_element(By.CSS_SELECTOR, "summary").click()
        assert card.find_element(By.CSS_SELECTOR, ".body").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
