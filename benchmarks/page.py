"""Print how long the report of 2,000 instances takes: ``python benchmarks/page.py``."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import pandas as pd
from selenium import webdriver

from tablevault import TableVault

INSTANCES, TABLES, TURNS = 2_000, 20, 7
AIM_S = 2.0
# Laid out, and painted twice: what a person sees.
PAINTED = """
const done = arguments[0];
document.body.getBoundingClientRect();
requestAnimationFrame(() => requestAnimationFrame(done));
"""


def fill(path: Path) -> TableVault:
    """Make the tables, each from the one before; not durably, to save time."""
    vault = TableVault(path, "ana", create=True)
    synced, os.fsync = os.fsync, lambda _: None
    latest: list[tuple[str, str]] = []
    for number in range(INSTANCES):
        table, rounds = f"t{number % TABLES}", number // TABLES
        if not rounds:
            vault.create_table(table)
        vault.create_instance(table, external_edit=True, description=f"round {rounds}")
        frame = pd.DataFrame({"n": range(rounds + 1), "text": ["some text"] * (rounds + 1)})
        vault.write_instance(frame, table, dependencies=latest if number % TABLES else [])
        latest = [(table, vault.get_table_instances(table)[-1])]
    os.fsync = synced
    return vault


def browser(profile: Path) -> webdriver.Chrome:
    """Start a browser that shows nothing and asks nobody."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    driver = webdriver.ChromeService(shutil.which("chromedriver") or "chromedriver")
    return webdriver.Chrome(options=options, service=driver)


def main() -> None:
    """Write the page, open it in turns, and print the medians."""
    with tempfile.TemporaryDirectory(prefix="benchmark-page-") as folder:
        vault = fill(Path(folder, "vault"))
        start = time.perf_counter()
        page = Path(vault.report(Path(folder, "page.html")))
        print(f"written in {time.perf_counter() - start:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
        driver, opened = browser(Path(folder, "profile")), []
        try:
            for _ in range(TURNS):
                driver.get("about:blank")
                start = time.perf_counter()
                driver.get(page.as_uri())
                driver.execute_async_script(PAINTED)
                opened.append(time.perf_counter() - start)
        finally:
            driver.quit()
        print(f"opened in {statistics.median(opened):.2f} s (aim: {AIM_S} s)")


if __name__ == "__main__":
    main()
