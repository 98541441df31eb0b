"""What a person does with Snakemake's report: opens it, looks at results, reads captions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

from browsing import SCREENSHOTS, SIZES, sums
from playwright.sync_api import Browser, Page, Request, expect

# Snakemake's own page says so, whatever is in it.
EXPECTED = "cdn.tailwindcss.com should not be used in production"
CATEGORIES = ("Behaviour", "Episodes", "Provenance", "Results", "Tables")


def unpack(report: Path, folder: Path) -> Path:
    """The page of a zipped report."""
    with ZipFile(report) as archive:
        archive.extractall(folder)
    [page] = folder.glob("*/report.html")
    return page


@contextmanager
def opened_report(chromium: Browser, file: Path) -> Iterator[Page]:
    """The report's first page; at the end it must not have complained or asked for other files."""
    problems: list[str] = []
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = chromium.new_page(viewport=SIZES["desk"])
    page.on("console", lambda m: None if EXPECTED in m.text else problems.append(m.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.extend(_failure(request)))
    own = (f"{file.parent.as_uri()}/", "data:")
    page.on("request", lambda r: None if r.url.startswith(own) else problems.append(r.url))
    page.goto(file.as_uri())
    page.screenshot(path=SCREENSHOTS / "report_desk.png")
    yield page
    page.close()
    assert not problems, problems


def _failure(request: Request) -> list[str]:
    """Nothing where the next page was asked for before this one had come."""
    told = request.failure
    return [] if told == "net::ERR_ABORTED" else [f"failed: {request.url}: {told}"]


def list_category(page: Page, category: str) -> list[str]:
    """Opens a category from the first page; the labels of its results."""
    page.reload()
    page.locator("nav").get_by_role("link", name=category, exact=True).click()
    rows = page.locator("nav tbody tr")
    expect(rows.first).to_be_visible()
    return [text.strip() for text in rows.all_inner_texts()]


def read_caption(page: Page, label: str) -> str:
    """What the panel about a result of the open category says; its links lead to episodes."""
    page.locator("nav tbody tr", has_text=label).locator("a").nth(1).click()
    panel = page.locator("nav").first
    expect(panel).to_contain_text("Snakemake rule")
    text = panel.inner_text()
    for link in panel.locator("a[href*='#/']").all():
        link.click()
        episodes = page.frame_locator("iframe").locator("body")
        view = "overview" if "#/overview" in str(link.get_attribute("href")) else "episodes"
        expect(episodes).to_have_attribute("data-view", view)
    return text


def see_figure(page: Page, label: str) -> None:
    """Looks at a figure of the open category."""
    page.locator("nav tbody tr", has_text=label).locator("a").first.click()
    image = page.locator("#app img[src$='.svg']")
    expect(image).to_be_visible()
    page.wait_for_function("image => image.complete", arg=image.element_handle())
    assert image.evaluate("image => image.naturalWidth") > 400
    page.screenshot(path=SCREENSHOTS / f"report_{label.replace(' ', '_')}.png")


def follow_number(page: Page, filters: str) -> dict[str, str]:
    """Follows a number of the first page to its episodes; what their list says they amount to."""
    page.reload()
    page.locator(f"#app .prose a[href*='{filters}']").first.click()
    episodes = page.frame_locator("iframe")
    expect(episodes.locator("body")).to_have_attribute("data-view", "episodes")
    return sums(episodes)


def see_on_a_phone(page: Page) -> None:
    """Looks at the first page on a small screen: the menu hides nothing of the text."""
    page.set_viewport_size(SIZES["phone"])
    page.reload()
    # the page styles itself while it runs: until then everything lies where it fell
    page.wait_for_function("""() => {
        const menu = document.querySelector("nav")?.getBoundingClientRect();
        const heading = document.querySelector("#app .prose h1")?.getBoundingClientRect();
        return menu && heading && menu.bottom <= heading.top && heading.top < innerHeight
            && heading.left >= 0 && heading.right <= innerWidth;
    }""")
    page.screenshot(path=SCREENSHOTS / "report_phone.png")
    page.set_viewport_size(SIZES["desk"])
