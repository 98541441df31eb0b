"""What the tests of the trajectory browser's page share: Chromium, a page to open, and a watch.

Skipped where there is no Chromium: install Debian's `chromium`, or `playwright install chromium`.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from checkout import ROOT
from playwright.sync_api import Browser, FrameLocator, Page, expect, sync_playwright

# For people to look at; git does not see them, and continuous integration keeps them.
SCREENSHOTS = ROOT / "results/screenshots"
SIZES = {"phone": {"width": 390, "height": 844}, "desk": {"width": 1440, "height": 900}}
BASE, TRAINED = (f"evaluation/seed0/iteration{k}/held_out/3" for k in (0, 2))
HOSTILE = "training/seed0/iteration2/shard0/4"
VIEWS = {
    "overview": "#/overview",
    "episodes": "#/episodes",
    "episode": f"#/episode/{TRAINED}",
    "compare": f"#/compare?a={BASE}&b={TRAINED}",
}
Open = Callable[..., Page]
expect.set_options(timeout=20_000)  # the other tests may want the machine's cores, too


@contextmanager
def start_chromium() -> Iterator[Browser]:
    installed = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    with sync_playwright() as playwright:
        path = next(filter(None, installed), playwright.chromium.executable_path)
        if not Path(path).exists():
            pytest.skip(
                "no Chromium: install Debian's chromium, or run playwright install chromium"
            )
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@contextmanager
def watched_pages(chromium: Browser) -> Iterator[Open]:
    """Opens pages of a folder; at the end none may have complained or asked for anything else."""
    problems: list[str] = []
    contexts = []

    def watch(page: Page, folder: Path) -> None:
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        own = (f"{folder.as_uri()}/", "data:,")
        page.on("request", lambda r: None if r.url.startswith(own) else problems.append(r.url))

    def open_page(folder: Path, address: str = "", **options: object) -> Page:
        context = chromium.new_context(**({"viewport": SIZES["desk"]} | options))
        contexts.append(context)
        page = context.new_page()
        watch(page, folder)
        page.goto(f"{(folder / 'index.html').as_uri()}{address}")
        expect(page.locator("body")).not_to_have_attribute("data-view", "loading")
        expect(page.locator("#notice")).to_be_hidden()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems, problems


def sums(page: Page | FrameLocator) -> dict[str, str]:
    """What the list says its episodes amount to, by the words before each number."""
    told = page.locator(".summary span").evaluate_all(
        "all => all.slice(1).map(one => [one.firstChild.data.trim(), one.children[0].innerText])"
    )
    return dict(told)


def listed(page: Page) -> int:
    """How many episodes the list says it holds."""
    return int(page.locator(".summary b").first.inner_text().replace(",", ""))
