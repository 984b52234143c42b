"""Makes the pictures of README and docs from a running `uplift serve`, the newest run and a shop.

Usage: make serve, make run, a run of ``uplift-score`` in the UI,
``.venv/bin/python -m benchmarks.shop --seeds 1 --folder shops``, in another terminal
``.venv/bin/python docs/make_pictures.py http://127.0.0.1:4200 shops/shop-0``. Needs Chromium.
"""

import shutil
import sys
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

PICTURES = Path(__file__).with_name("pictures")


def main(address: str, shop: str) -> None:
    """Take each picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        report(page)
        history(page, Path(shop))
        page.set_viewport_size({"width": 1300, "height": 800})
        form(page, address)
        graph(page, address)
        scores(page, address)
        browser.close()


def report(page: Page) -> None:
    """The beginning of the newest report, and its average effects."""
    page.goto((Path("runs") / "latest" / "report.html").resolve().as_uri())
    page.screenshot(path=PICTURES / "report.png", clip=_box(height=860))
    page.locator("#effects .pair").first.screenshot(path=PICTURES / "report-effects.png")


def history(page: Page, shop: Path) -> None:
    """A year of a shop: average effects and events."""
    page.goto((shop / "runs" / "latest" / "history.html").resolve().as_uri())
    page.locator("#effects").screenshot(path=PICTURES / "history-effects.png")
    page.locator("#events").screenshot(path=PICTURES / "history-events.png")


def form(page: Page, address: str) -> None:
    """The form that starts a run."""
    deployment = httpx.get(f"{address}/api/deployments/name/uplift-run/uplift-run").json()
    page.goto(f"{address}/v2/deployments/deployment/{deployment['id']}/run")
    page.get_by_text("Propensity model").first.wait_for()
    page.wait_for_timeout(1000)
    page.screenshot(path=PICTURES / "form.png")


def graph(page: Page, address: str) -> None:
    """The newest run, best one of five learners: its stages as sub-flows."""
    _open_newest(page, address, "uplift-run")
    page.get_by_text("Subflow Runs").first.wait_for()
    page.wait_for_timeout(4000)  # the graph is drawn on a canvas: nothing to wait for
    page.screenshot(path=PICTURES / "graph.png")


def scores(page: Page, address: str) -> None:
    """What the newest scoring says of its rows."""
    _open_newest(page, address, "uplift-score")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("Scores in ").click()
    page.get_by_role("cell", name="model").wait_for()
    page.wait_for_timeout(1000)
    beside_menu = {"x": 256, "y": 0, "width": 1044, "height": 610}
    page.screenshot(path=PICTURES / "scores.png", clip=beside_menu)


def _open_newest(page: Page, address: str, flow: str) -> None:
    """The page of the newest finished run of a flow."""
    query = {
        "sort": "START_TIME_DESC",
        "flows": {"name": {"any_": [flow]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        "limit": 1,
    }
    (run,) = httpx.post(f"{address}/api/flow_runs/filter", json=query).json()
    page.goto(f"{address}/v2/runs/flow-run/{run['id']}")


def _box(height: int) -> dict[str, int]:
    return {"x": 0, "y": 0, "width": 1100, "height": height}


if __name__ == "__main__":
    main(*sys.argv[1:])
