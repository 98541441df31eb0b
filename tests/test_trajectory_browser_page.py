"""The trajectory browser as a person meets it: in Chromium, from a folder, without a network.

Skipped where there is no Chromium: install Debian's `chromium`, or `playwright install chromium`.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browsable import (
    ATTACKS,
    COMPETITIONS,
    MEGABYTE,
    build,
    byte_tokenizer,
    episode,
    program,
    turn,
    write_study,
)
from checkout import ROOT
from playwright.sync_api import Browser, Page, expect, sync_playwright

from agent.browser.episodes import Episode
from agent.browser.folder import write_browser
from agent.browser.tokens import Tokens

SIZES = {"phone": {"width": 390, "height": 844}, "desk": {"width": 1440, "height": 900}}
SCREENSHOTS = ROOT / "results/screenshots"
BASE, TRAINED = (f"evaluation/seed0/iteration{k}/held_out/3" for k in (0, 2))
HOSTILE = "training/seed0/iteration2/shard0/4"
VIEWS = {
    "overview": "#/overview",
    "episodes": "#/episodes",
    "episode": f"#/episode/{TRAINED}",
    "compare": f"#/compare?a={BASE}&b={TRAINED}",
}
MINUS = "\N{MINUS SIGN}"
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    installed = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    with sync_playwright() as playwright:
        path = next(filter(None, installed), playwright.chromium.executable_path)
        if not Path(path).exists():
            pytest.skip("no Chromium here: see the first lines of this file")
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    build(folder, folder / "page")
    return folder / "page"


@pytest.fixture
def opened(chromium: Browser) -> Iterator[Open]:
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
    assert problems == []


def hash_of(page: Page) -> str:
    return page.evaluate("decodeURIComponent(location.hash)")


def listed(page: Page) -> int:
    """How many episodes the list says it holds."""
    return int(page.locator(".summary b").first.inner_text().replace(",", ""))


def test_every_number_leads_to_the_episodes_behind_it(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder)
    cells = page.locator("#overview .cell")
    told = [(cell.get_attribute("href"), cell.get_attribute("aria-label")) for cell in cells.all()]
    assert len(told) > 40
    for href, words in told:
        page.evaluate("address => { location.hash = address; }", href)
        expect(page.locator("body")).to_have_attribute("data-view", "episodes")
        episodes = int(re.search(r"([\d,]+) episode", words)[1])
        expect(page.locator(".summary b").first).to_have_text(str(episodes))
        mean = re.match(r"(\d\.\d\d),", words)
        if mean:
            shown = page.locator(".summary b").all_inner_texts()[1:]
            assert any(abs(float(text) - float(mean[1])) < 0.0051 for text in shown if "." in text)


def test_means_are_those_of_the_scores(opened: Open, page_folder: Path) -> None:
    files = page_folder.parent.glob("evaluation/seed*/iteration2/held_out/scores.csv")
    scores = pd.concat(map(pd.read_csv, files))
    page = opened(page_folder, "#/episodes?source=evaluation&policy=trained")
    assert listed(page) == len(scores)
    mean = page.locator(".summary b").nth(1).inner_text()
    assert mean == f"{scores['score'].mean():.3f}"
    valid = page.locator(".summary b").nth(3).inner_text()
    assert valid == f"{scores['valid_submissions'].sum() / scores['executions'].sum():.0%}".replace(
        "%", " %"
    )


def test_filters_combine_count_and_can_be_dropped(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, "#/episodes")
    assert listed(page) == 39
    page.get_by_label("base 16", exact=True).check()
    expect(page.locator(".summary b").first).to_have_text("16")
    page.locator('[data-choice="outcome=crashed"]').check()
    expect(page.locator(".summary b").first).to_have_text("4")
    assert hash_of(page) == "#/episodes?policy=base&outcome=crashed"
    # The counts of a facet ignore its own choice, and heed all others.
    texts = page.locator("#facets li", has=page.locator('[data-choice^="policy="]'))
    assert [re.sub(r"\s+", " ", text) for text in texts.all_inner_texts()][:2] == [
        "base 4",
        "dummy 0",
    ]
    page.get_by_role("link", name="Remove filter Policy: base").click()
    expect(page.locator(".summary b").first).to_have_text("5")
    page.go_back()
    expect(page.locator(".summary b").first).to_have_text("4")
    page.get_by_role("link", name="Clear all").click()
    expect(page.locator(".summary b").first).to_have_text("39")


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ("source=evaluation", 24),
        ("policy=base,trained&source=training", 9),
        ("flag=any", 1),
        ("flag=network", 1),
        ("flag=none", 32),
        ("valid=none", 0),
        ("stop=max_turns&competition=wine-macro-f1-unit-errors", 8),
        ("score=0.5..", 12),
        ("score=..0.2&iteration=0", 4),
        ("text=trained%203", 2),
        ("text=no%20such%20words", 0),
        ("seed=1&iteration=2", 6),
        ("competition=nothing", 0),
    ],
)
def test_a_filter_is_an_address(opened: Open, page_folder: Path, filters: str, count: int) -> None:
    page = opened(page_folder, f"#/episodes?{filters}")
    assert listed(page) == count
    if not count:
        expect(page.get_by_text("No episode passes these filters")).to_be_visible()


def test_the_list_is_sorted_by_its_heads(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, "#/episodes?source=evaluation")

    def scores() -> list[float]:
        return [float(text) for text in page.locator("#list td.score").all_inner_texts()]

    page.get_by_role("link", name="Score").click()
    expect(page.locator("th.score")).to_have_attribute("aria-sort", "descending")
    assert scores() == sorted(scores(), reverse=True) and len(set(scores())) > 5
    page.get_by_role("link", name="Score").click()
    expect(page.locator("th.score")).to_have_attribute("aria-sort", "ascending")
    assert scores() == sorted(scores())
    assert hash_of(page).endswith("sort=score")


def test_an_episode_is_read_turn_by_turn(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, f"#/episode/{BASE}?turn=2&policy=base")
    pane = page.locator("#episode")
    expect(pane.get_by_role("heading", level=1)).to_have_text(COMPETITIONS[0])
    expect(pane).to_contain_text("predict the target")
    expect(pane.locator(".turn.current h2")).to_have_text("Turn 2")
    first, second = pane.locator(".turn").all()
    expect(first.locator(".turn-facts")).to_contain_text("crashed: KeyError")
    expect(first.locator(".turn-facts")).to_contain_text(f"reward {MINUS}0.0500")
    expect(second.locator(".turn-facts")).to_contain_text("position 0.2500 raw 2.5")
    expect(second.locator(".answer")).to_contain_text("model = 'base 3'")
    expect(second.locator(".line.new")).to_have_text("model = 'base 3'\n", use_inner_text=False)
    expect(second.locator(".observation")).to_have_text("position: 0.25")
    terms, values = (pane.locator(tag).all_inner_texts() for tag in ("dt", "dd"))
    facts = dict(zip(terms, values, strict=True))
    assert facts["Score"] == "0.2600" and facts["Feedback"] == "0.2500"
    assert facts["Reward"] == "+0.2000" and facts["Temperature"] == "0.5"


def test_searched_words_are_marked_where_they_are(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, f"#/episode/{BASE}?text=MODEL+%3D+'base")
    marked = "[...CSS.highlights.get('found')].map(range => range.toString())"
    assert page.evaluate(marked) == ["model = 'base"]
    page = opened(page_folder, f"#/episode/{BASE}")
    assert page.evaluate("CSS.highlights.has('found')") is False


def test_tokens_are_shaded_by_their_probability(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, f"#/episode/{TRAINED}")
    answer = page.locator("#episode .answer").first
    text = answer.evaluate("block => block.textContent")
    assert text == program("model = 'first'")
    tokens = answer.locator("[data-token]")
    shades = tokens.evaluate_all(
        "spans => spans.map(s => [+s.dataset.token, +s.style.getPropertyValue('--surprise')])"
    )
    # One byte is one token here; the first is the fourth of the context, -3/4 nats likely.
    assert all(shade == pytest.approx((token + 3) % 7 / 4 / 5, abs=6e-4) for token, shade in shades)
    tokens.nth(0).hover()
    expect(page.locator("#probe")).to_contain_text(f"p 0.47 · log p {MINUS}0.75")
    shaded = answer.locator("[data-token]").first
    colour = shaded.evaluate("span => getComputedStyle(span).backgroundColor")
    page.keyboard.press("p")
    assert shaded.evaluate("span => getComputedStyle(span).backgroundColor") != colour


def test_base_and_trained_stand_side_by_side(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, f"#/episode/{TRAINED}")
    page.get_by_role("link", name="Compare with base").click()
    assert hash_of(page) == f"#/compare?a={BASE}&b={TRAINED}"
    pane = page.locator("#compare")
    expect(pane.locator(".side h2.who")).to_have_text(["base", "trained, 2 updates"])
    expect(pane.locator("header")).to_contain_text("Score 0.2600 → 0.6600, +0.4000")
    answers = pane.locator(".answer")
    expect(answers).to_have_count(4)
    left, right = answers.nth(2), answers.nth(3)
    expect(left.locator(".line.new")).to_contain_text("model = 'base 3'")
    expect(right.locator(".line.new")).to_contain_text("model = 'trained 3'")
    boxes = [answers.nth(at).bounding_box() for at in (2, 3)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]
    page.keyboard.press("j")
    expect(pane.get_by_role("heading", level=1)).to_have_text(COMPETITIONS[1])


def test_compare_opens_on_its_own_and_in_an_order(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, "#/compare")
    expect(page.locator("#compare .steps")).to_contain_text("pair 1 of 12")
    page.get_by_label("Order of pairs").select_option("largest gain first")
    expect(page.locator("#compare header")).to_contain_text("+0.4000")
    page = opened(page_folder, "#/compare?policy=base")
    expect(page.locator("#compare")).to_contain_text("No trained episode with a base")


def test_the_keyboard_alone_is_enough(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder)
    press = page.keyboard.press
    press("j")
    expect(page.locator("body")).to_have_attribute("data-view", "episodes")
    for key in "jjjk":
        press(key)
    expect(page.locator('tr[aria-selected="true"]')).to_have_attribute("data-at", "2")
    press("Enter")
    expect(page.locator("#episode h1")).to_have_text(COMPETITIONS[1])
    press("ArrowDown")
    expect(page.locator("#episode .steps")).to_contain_text("4 of 39")
    press("ArrowRight")
    press("ArrowRight")
    expect(page.locator("#episode .turn.current h2")).to_have_text("Turn 2")
    press("ArrowLeft")
    expect(page.locator("#episode .turn.current h2")).to_have_text("Turn 1")
    press("c")
    expect(page.locator("body")).to_have_attribute("data-view", "compare")
    press("Escape")
    expect(page.locator("body")).to_have_attribute("data-view", "episodes")
    expect(page.locator('tr[aria-selected="true"]')).to_have_attribute("data-at", "3")
    press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("trained 3")
    press("Enter")
    expect(page.locator(".summary b").first).to_have_text("2")
    press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    press("Escape")
    expect(page.locator("body")).to_have_attribute("data-view", "overview")


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
    started = time.monotonic()
    page.goto(f"{(page_folder / 'index.html').as_uri()}#/episode/{HOSTILE}?turn=3")
    observation = page.locator(".turn").nth(2).locator(".observation")
    more = observation.get_by_role("button")
    expect(more).to_have_text("Show more: 980,000 characters left")
    assert time.monotonic() - started < 10
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
    assert write_browser(folder / "page", "large", episodes(), tokens) == 10_000
    return folder / "page"


def seconds(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def test_ten_thousand_episodes_stay_responsive(opened: Open, large_page: Path) -> None:
    size = sum(path.stat().st_size for path in large_page.rglob("*.*"))
    assert size < 40 * 2**20
    started = time.monotonic()
    page = opened(large_page, "#/episodes")
    assert listed(page) == 10_000
    assert time.monotonic() - started < 10
    files: list[str] = []
    page.on("request", lambda request: files.append(Path(request.url).name))
    assert page.locator("#list tr").count() < 120
    assert page.locator("#list table").get_attribute("aria-rowcount") == "10001"

    def choose() -> None:
        page.evaluate("location.hash = '#/episodes?competition=competition-07&sort=-score'")
        expect(page.locator(".summary b").first).to_have_text("400")

    assert seconds(choose) < 2
    page.evaluate("location.hash = '#/episodes?sort=score'")
    expect(page.locator(".summary b").first).to_have_text("10,000")

    def to_the_end() -> None:
        page.locator(".scroller").evaluate("list => list.scrollTo(0, list.scrollHeight)")
        expect(page.locator('tr[data-at="9999"]')).to_be_visible()

    assert seconds(to_the_end) < 2
    assert page.locator("#list tr").count() < 120
    assert files == []  # so far the index was enough
    page.locator('tr[data-at="9999"]').click()
    expect(page.locator("#episode .turn")).to_have_count(8)
    assert sorted(files)[1:] == ["openings.js"] and len(files) == 2
    page.keyboard.press("k")
    expect(page.locator("#episode .steps")).to_contain_text("9,999 of 10,000")
