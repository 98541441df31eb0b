"""The trajectory browser as a person uses it: numbers, filters, links, episodes, keys."""

import re
from pathlib import Path

import pandas as pd
import pytest
from browsable import COMPETITIONS, build, program
from browsing import BASE, TRAINED, Open, listed, sums
from playwright.sync_api import Page, expect
from scipy.stats import trim_mean

MINUS = "\N{MINUS SIGN}"


def hash_of(page: Page) -> str:
    return page.evaluate("decodeURIComponent(location.hash)")


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


def test_the_page_says_which_answers_count(opened: Open, page_folder: Path, tmp_path: Path) -> None:
    upstream = tmp_path / "page"
    build(page_folder.parent, upstream, "--told", "upstream", "--scoring", "upstream")
    for folder, told, judging in (
        (page_folder, "the feedback half", "the final half"),
        (upstream, "all answers", "all answers"),
    ):
        page = opened(folder)
        notes = page.locator("#overview .note")
        expect(notes.nth(0)).to_contain_text(f"Score on {judging}, ")
        expect(notes.nth(1)).to_contain_text(f"best position score on {told}, ")
        page = opened(folder, "#/episodes")
        titles = [page.locator(f"#list th.{key} a") for key in ("score", "feedback_score")]
        assert (titles[0].get_attribute("title") or "").endswith(f"on {judging}")
        assert (titles[1].get_attribute("title") or "").endswith(f"on {told}")
        assert ("half" in page.content()) == (folder == page_folder)


def test_means_are_those_of_the_scores(opened: Open, page_folder: Path) -> None:
    files = page_folder.parent.glob("evaluation/seed*/iteration2/held_out/scores.csv")
    scores = pd.concat(map(pd.read_csv, files))
    page = opened(page_folder, "#/episodes?source=evaluation&policy=trained")
    assert listed(page) == len(scores)
    told = sums(page)
    assert told["mean score"] == f"{scores['score'].mean():.3f}"
    assert told["IQM"] == f"{interquartile_mean(scores):.3f}"
    valid = scores["valid_submissions"].sum() / scores["executions"].sum()
    assert told["valid programs"] == f"{valid:.0%}".replace("%", " %")


def interquartile_mean(scores: pd.DataFrame) -> float:
    return float(trim_mean(scores.groupby(["seed", "competition"])["score"].mean(), 0.25))


def test_the_overview_has_the_headline_and_what_each_competition_gained(
    opened: Open, page_folder: Path
) -> None:
    base, trained = (
        pd.concat(
            map(pd.read_csv, page_folder.parent.glob(f"evaluation/*/iteration{k}/*/scores.csv"))
        )
        for k in (0, 2)
    )
    gained = {"held out (3), IQM": interquartile_mean(trained) - interquartile_mean(base)}
    means = trained.groupby("competition")["score"].mean()
    gained |= (means - base.groupby("competition")["score"].mean()).to_dict()
    page = opened(page_folder)
    for title, gain in gained.items():
        row = page.locator("#overview tbody tr", has=page.get_by_role("rowheader", name=title))
        expect(row.locator(".of-gain")).to_have_text(f"{gain:+.2f}")
    row.locator(".of-gain a").click()
    expect(page.locator("body")).to_have_attribute("data-view", "episodes")
    assert hash_of(page).endswith(f"competition={title}&sort=-gain")
    assert sums(page)["over the base"] == f"{gain:+.3f}"


def test_the_gain_of_the_headline_is_found_again_where_it_leads(
    opened: Open, page_folder: Path
) -> None:
    """A difference of interquartile means: the mean of the differences is another number."""
    iqm_gain, mean_gain = 0.3875, (8 * 0.4 + 4 * 0.35) / 12
    page = opened(page_folder)
    for title, gain, words in (
        ("held out (3), IQM", iqm_gain, "in IQM"),
        ("held out (3), mean", mean_gain, "over the base"),
    ):
        page.evaluate("() => { location.hash = '#/overview'; }")
        row = page.locator("#overview tbody tr", has=page.get_by_role("rowheader", name=title))
        expect(row.locator(".of-gain")).to_have_text(f"{gain:+.2f}")
        row.locator(".of-gain a").click()
        expect(page.locator("body")).to_have_attribute("data-view", "episodes")
        assert float(sums(page)[words]) == pytest.approx(gain, abs=0.0006)
    page = opened(page_folder, "#/episodes?policy=base")
    assert "in IQM" not in sums(page)


def test_filters_combine_count_and_can_be_dropped(opened: Open, page_folder: Path) -> None:
    page = opened(page_folder, "#/episodes")
    assert listed(page) == 45
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
    expect(page.locator(".summary b").first).to_have_text("45")


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ("source=evaluation", 24),
        ("policy=base,trained&source=training", 9),
        ("flag=any", 1),
        ("flag=network", 1),
        ("flag=none", 38),
        ("valid=none", 0),
        ("stop=max_turns&competition=wine-macro-f1-unit-errors", 10),
        ("score=0.5..", 12),
        ("score=..0.2&iteration=0", 6),
        ("source=yardsticks&policy=large", 6),
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


def test_what_a_model_behind_an_api_played_is_read_like_any_other(
    opened: Open, page_folder: Path
) -> None:
    page = opened(page_folder, "#/episode/evaluation/api/large/3")
    expect(page.locator("#episode .turn")).to_have_count(2)
    expect(page.locator("#episode")).to_contain_text("model = 'large 3'")


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
    expect(page.locator("#episode .steps")).to_contain_text("4 of 45")
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
