"""The trajectory browser under strain: hostile text, small screens, damage, 10,000 episodes."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browsable import (
    ANSWERS,
    ATTACKS,
    COMPETITIONS,
    MEGABYTE,
    byte_tokenizer,
    episode,
    program,
    turn,
)
from browsing import BASE, HOSTILE, SCREENSHOTS, SIZES, TRAINED, VIEWS, Open, listed
from playwright.sync_api import Browser, expect

from agent.browser.episodes import Episode
from agent.browser.folder import write_browser
from agent.browser.tokens import Tokens


def test_what_a_model_wrote_is_text_and_nothing_else(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, f"#/episode/{HOSTILE}")
    turns = page.locator("#episode .turn")
    expect(turns).to_have_count(4)
    for attack in ATTACKS:
        expect(turns.first.locator(".answer")).to_contain_text(attack)
        expect(turns.first.locator(".observation")).to_contain_text(attack)
    expect(turns.first.locator(".turn-facts")).to_contain_text(f"crashed: {ATTACKS[0]}")
    expect(turns.nth(3).locator(".attempts")).to_contain_text(f"network: {ATTACKS[1]}")
    assert page.locator("main :is(script, img, svg, iframe, style, object)").count() == 0
    assert page.evaluate("window.hacked === undefined && parent.hacked === undefined")


def test_what_hides_in_a_text_is_spelt_out(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, f"#/episode/{HOSTILE}?turn=2")
    spelt = page.locator(".turn").nth(1).locator(".answer .hidden-character").all_inner_texts()
    assert spelt == ["U+202E", "U+202C", "U+200B", "U+00AD", "U+E0041", "U+2028", "U+001B"]
    expect(page.locator(".turn").nth(1).locator(".answer")).to_contain_text(
        "e\u0301 \U0001f600 中文"
    )


def test_a_megabyte_in_one_line_is_shown_piece_by_piece(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder)
    page.goto(f"{(page_folder / 'index.html').as_uri()}#/episode/{HOSTILE}?turn=3")
    observation = page.locator(".turn").nth(2).locator(".observation")
    more = observation.get_by_role("button")
    expect(more).to_have_text("Show more: 980,000 characters left")
    more.click()
    expect(more).to_have_text("Show more: 960,000 characters left")
    assert observation.evaluate("block => block.firstChild.textContent.length") == 20_000
    assert len(MEGABYTE) == 1_000_000


def test_the_policy_of_the_page_stops_a_script_that_gets_in(
    chromium: Browser, page_folder: Path
) -> None:
    """Even if text became markup: no inline script, no handler, no foreign file, no request."""
    page = chromium.new_page()
    page.goto((page_folder / "index.html").as_uri())
    expect(page.locator("#overview h1")).to_be_visible()
    tried = page.evaluate(
        """async () => {
            const tries = {
                markup: () => { document.body.innerHTML = "<img src=x onerror=hacked()>"; },
                handler: () => document.body.setAttribute("onclick", "window.hacked = 1"),
                file: () => { document.createElement("script").src = "other.js"; },
                timer: () => setTimeout("window.hacked = 1"),
                request: () => fetch("https://example.org/"),
            };
            const failed = [];
            for (const [name, attempt] of Object.entries(tries)) {
                try { await attempt(); } catch { failed.push(name); }
            }
            document.body.click();
            return failed;
        }"""
    )
    assert tried == ["markup", "handler", "file", "timer", "request"]
    assert page.evaluate("window.hacked === undefined")
    page.close()


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_the_screen(
    opened: Open, page_folder: Path, view: str, scheme: str, size: str
) -> None:
    """Nothing sticks out to the right. The pictures are for people: they lie in SCREENSHOTS."""
    page = opened(page_folder, VIEWS[view], viewport=SIZES[size], color_scheme=scheme)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{view}_{size}_{scheme}.png")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    beyond = page.evaluate(
        """() => [...document.querySelectorAll("main *")]
            .filter(e => e.checkVisibility() && !e.closest(".table-scroller, .unseen"))
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert beyond == []


def test_filters_unfold_on_a_phone(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, "#/episodes", viewport=SIZES["phone"])
    expect(page.locator("#facets")).to_be_hidden()
    page.get_by_role("button", name="Filters").click()
    page.locator('[data-choice="policy=trained"]').check()
    page.get_by_role("button", name=re.compile("Show 17 episodes")).click()
    expect(page.locator("#facets")).to_be_hidden()
    page.locator("tr[data-at]").nth(1).click()
    expect(page.locator("#episode h1")).to_be_visible()
    page.get_by_role("link", name="List").click()
    expect(page.locator("tr[data-at]").first).to_be_visible()


def luminance(colour: str) -> float:
    channels = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(opened: Open, page_folder: Path, scheme: str) -> None:
    """At least 4.5 to 1 (WCAG 2.2, AA), for every colour of text on every ground it is used on."""
    page = opened(page_folder, color_scheme=scheme)
    names = ["ink", "soft", "accent", "bad", "mild", "keyword", "string", "number"]
    colours = page.evaluate(
        """names => names.map(name => {
            document.body.style.color = `var(--${name})`;
            return getComputedStyle(document.body).color;
        })""",
        [*names, "paper", "panel", "current"],
    )
    light = dict(zip([*names, "paper", "panel", "current"], map(luminance, colours), strict=True))
    for ground in ("paper", "panel", "current"):
        for name in names:
            high, low = sorted([light[name], light[ground]], reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{name} on {ground}"


@pytest.mark.parametrize("address", VIEWS.values(), ids=VIEWS)
def test_everything_has_a_name_and_the_focus_is_seen(
    opened: Open, page_folder: Path, address: str
) -> None:
    page = opened(page_folder, address)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("a, button, input, select, [role=img], table")]
            .filter(e => e.checkVisibility())
            .filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent))
            .filter(e => e.localName !== "table" || !e.closest("[aria-label]"))
            .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    assert page.locator(":is(#overview, #episode, #compare) h1:visible").count() == (
        0 if address == "#/episodes" else 1
    )
    for _ in range(12):
        page.keyboard.press("Tab")
        seen = page.evaluate("getComputedStyle(document.activeElement).outlineStyle !== 'none'")
        assert seen, page.evaluate("document.activeElement.outerHTML.slice(0, 80)")


def test_addresses_that_lead_nowhere_say_so(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, "#/episode/evaluation/seed9/iteration0/held_out/0")
    expect(page.locator("#episode")).to_contain_text("No episode is called “evaluation/seed9")
    page = opened(page_folder, f"#/compare?a={BASE}&b=none")
    expect(page.locator("#compare")).to_contain_text("No episode is called “none”")
    page = opened(page_folder, "#/nonsense?%ZZ=%E0%A4%A&policy=%")
    expect(page.locator("body")).to_have_attribute("data-view", "overview")
    page = opened(page_folder, f"#/episode/yardsticks/dummy/{COMPETITIONS[1]}/0")
    expect(page.locator("#episode")).to_contain_text("No transcript: nobody played this")


def test_a_missing_file_is_named(chromium: Browser, page_folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(page_folder, tmp_path / "page")
    (broken / "episodes/0000.js").write_text('receive("0000", "e30=");\n')
    (broken / "episodes/openings.js").unlink()
    page = chromium.new_page()
    page.goto(f"{(broken / 'index.html').as_uri()}#/episode/{TRAINED}")
    expect(page.locator("#notice")).to_contain_text("episodes/openings.js is missing or damaged")
    page.close()


@pytest.fixture(scope="module")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 episodes of eight turns: two policies, 25 competitions, 10 seeds, 20 numbers."""
    folder = tmp_path_factory.mktemp("large")
    tokenizer = byte_tokenizer(folder / "tokenizer.json")
    rng = np.random.default_rng(0)
    texts = [program(f"x = {number}") for number in range(40)]
    whole = episode(tokenizer, [turn(text, 0.5) for text in texts[:8]])

    def episodes() -> Iterator[Episode]:
        for number in range(10_000):
            policy, competition, seed = number % 2, number // 2 % 25, number // 50 % 10
            yield Episode(
                source="evaluation",
                folder=f"evaluation/seed{seed}/iteration{policy}/held_out",
                number=number // 2,
                group="held_out",
                competition=f"competition-{competition:02}",
                policy=("base", "trained")[policy],
                seed=seed,
                iteration=policy,
                score=round(float(rng.uniform()), 4),
                first_score=0.0,
                trajectory=whole,
                rewards=(0.0,) * 8,
            )

    tokens = Tokens(folder / "tokenizer.json")
    assert write_browser(folder / "page", "large", episodes(), tokens, ANSWERS) == 10_000
    return folder / "page"


def seconds(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def test_ten_thousand_episodes_stay_responsive(opened: Open, large_page: Path) -> None:
    size = sum(path.stat().st_size for path in large_page.rglob("*.*"))
    assert size < 40 * 2**20
    page = opened(large_page, "#/episodes")
    assert listed(page) == 10_000
    files: list[str] = []
    page.on("request", lambda request: files.append(Path(request.url).name))
    assert page.locator("#list tr").count() < 120
    assert page.locator("#list table").get_attribute("aria-rowcount") == "10001"

    def choose() -> None:
        page.evaluate("location.hash = '#/episodes?competition=competition-07&sort=-score'")
        expect(page.locator(".summary b").first).to_have_text("400")

    assert seconds(choose) < 10
    page.evaluate("location.hash = '#/episodes?sort=score'")
    expect(page.locator(".summary b").first).to_have_text("10,000")

    def to_the_end() -> None:
        page.locator(".scroller").evaluate("list => list.scrollTo(0, list.scrollHeight)")
        expect(page.locator('tr[data-at="9999"]')).to_be_visible()

    assert seconds(to_the_end) < 10
    assert page.locator("#list tr").count() < 120
    assert files == []  # so far the index was enough
    page.locator('tr[data-at="9999"]').click()
    expect(page.locator("#episode .turn")).to_have_count(8)
    assert sorted(files)[1:] == ["openings.js"] and len(files) == 2
    page.keyboard.press("k")
    expect(page.locator("#episode .steps")).to_contain_text("9,999 of 10,000")
