"""The report in a real browser: on a phone, in the dark, without a network."""

import shutil
from html import unescape

import pandas as pd
import pytest

# Each text with the colour of what lies behind it.
_FAINT_TEXTS = """() => {
  const numbers = text => text.match(/[0-9.]+/g).map(Number);
  const light = text => {
    const [r, g, b] = numbers(text).map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(c => c.nodeType === 3 && c.data.trim());
    if (!own || node.closest("svg")) continue;
    const [one, other] = [light(getComputedStyle(node).color), light(behind(node))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5 && node.className !== "mark")
      faint.push(node.textContent.trim().slice(0, 40));
  }
  return faint;
}"""
_LOST_LINKS = """() => [...document.querySelectorAll("a[href^='#']")]
  .map(a => a.getAttribute("href")).filter(id => !document.getElementById(id.slice(1)))"""


@pytest.fixture
def open_page():
    """A function that opens a file in a window, and lists what goes wrong meanwhile."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        def open_file(path, width, scheme):
            size, wrong = {"width": width, "height": 900}, []
            page = browser.new_context(viewport=size, color_scheme=scheme).new_page()
            page.on("console", lambda message: wrong.append(message.text))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            address = path.resolve().as_uri()
            page.on(
                "request",
                lambda one: wrong.append(one.url[:80]) if _leaves(one.url, address) else None,
            )
            page.goto(address)
            return page, wrong

        yield open_file
        browser.close()


def _leaves(url, address):
    return not url.startswith("data:") and url.partition("#")[0] != address


@pytest.mark.slow
def test_a_report_is_read_on_a_phone_in_the_dark_and_on_paper(run, settings, open_page):
    settings["learners"] = ["TLearner", "DRLearner"]
    settings["segments"] = {"positive": "a > 0"}
    settings["data"] |= {
        "outcome": ["y", "c"],
        "outcome_type": "regression",
        "features": ["a", "b"],
    }
    settings["targeting"] = {"outcome": "y", "value": 2.0}
    ran = run(settings)
    path = ran.folder / "report.html"
    text = unescape(path.read_text()).replace("\N{NO-BREAK SPACE}", " ")
    assert all(one["sentence"] in text for one in ran.summary["verdict"] + ran.summary["health"])
    rule = pd.read_parquet(ran.folder / "tables" / "policies.parquet").iloc[0]
    assert rule["estimate"] == ran.summary["targeting"]["chosen"]["gain"]["estimate"]
    assert all(f'<section id="{name}">' in text for name in ("targeting", "outcomes", "glossary"))

    for width, scheme in ((1280, "light"), (390, "light"), (390, "dark")):
        page, wrong = open_page(path, width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(_FAINT_TEXTS) == []
        assert page.evaluate(_LOST_LINKS) == []
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(20, 24, 29)" if scheme == "dark" else "rgb(255, 255, 255)")
        pictures = page.locator("img")
        assert pictures.count() >= 10
        assert pictures.evaluate_all("all => all.every(i => i.naturalWidth > 0 && i.alt)")
        page.locator("a.about").first.click()
        assert "#g-" in page.url
        assert wrong == []
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate(_FAINT_TEXTS) == []
    assert page.pdf(format="A4").startswith(b"%PDF")
