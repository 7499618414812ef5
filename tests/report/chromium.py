"""A real Chromium, and what tests ask of it."""

from __future__ import annotations

import contextlib
import os
import shutil

import pytest

from tests.ports import free_port

with contextlib.suppress(ModuleNotFoundError):  # without it no browser is started, see `started`
    from selenium import webdriver
    from selenium.webdriver.common.by import By

# Contrast as WCAG 2.2 has it, of each piece of text with what is behind it.
CONTRAST = """
const numbers = (colour) => colour.match(/[0-9.]+/g).map(Number);
const light = (colour) => {
  const [r, g, b] = numbers(colour).map((c) => c / 255)
    .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if ((numbers(colour)[3] ?? 1) > 0) return colour;
  }
  throw "nothing is behind it";
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || !element.checkVisibility() || ["SCRIPT", "title"].includes(element.tagName)) continue;
  const style = getComputedStyle(element);
  const colour = element instanceof SVGElement ? style.fill : style.color;
  const [one, other] = [light(colour), light(behind(element))].sort();
  found.push([(other + 0.05) / (one + 0.05), element.outerHTML.slice(0, 120)]);
}
return found.sort((one, other) => one[0] - other[0]);
"""


def look_up(name):
    found = shutil.which(name)
    if not found:
        assert "CI" not in os.environ, f"{name} is missing"
        pytest.skip(f"needs {name}")
    return found


@contextlib.contextmanager
def started(profile):
    """Start a headless Chromium that keeps its files in the folder `profile`."""
    program, driver = look_up("chromium"), look_up("chromedriver")
    if "webdriver" not in globals():
        assert "CI" not in os.environ, "selenium is missing"
        pytest.skip("needs selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    service = webdriver.ChromeService(driver, port=free_port())
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        browser = webdriver.Chrome(options=options, service=service)
        try:
            yield browser
        finally:
            browser.quit()


def show(browser, width, scheme):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    # Nobody waits for smooth scrolling.
    wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wanted.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def one(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def every(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def unfold(browser):
    browser.execute_script("for (const e of document.querySelectorAll('details')) e.open = true")
