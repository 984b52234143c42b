"""Events on a real server: the repository's automation passes them on to a webhook."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import httpx
import pytest

from flows.errors import InputError
from tests.acceptance.test_processes import wait_for
from tests.acceptance.test_run_page import newest_run
from tests.conftest import REPOSITORY

AUTOMATIONS = REPOSITORY / "deployments" / "automations"


@pytest.fixture
def webhook():
    """Address of a receiver, and what is posted to it."""
    posted = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *about):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/uplift", posted
    server.shutdown()
    thread.join()
    server.server_close()


def create(name, block, **more):
    """Create an automation of the repository as its README does; its id."""
    text = (AUTOMATIONS / name).read_text().replace("BLOCK", str(block))
    Path(name).write_text(text + "".join(f"{key}: {value}\n" for key, value in more.items()))
    command = [sys.executable, "-m", "prefect", "automation", "create", "--from-file", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()[-1]


def events(api, run):
    """Names of our events on the server that belong to a flow run."""
    related = {"resources_in_roles": [[f"prefect.flow-run.{run}", "flow-run"]]}
    asked = {"filter": {"event": {"prefix": ["uplift."]}, "related": related}}
    return [one["event"] for one in httpx.post(f"{api}/events/filter", json=asked).json()["events"]]


@pytest.mark.slow
def test_events_of_runs_reach_a_webhook(api, run, settings, frame, webhook):
    from prefect.blocks.webhook import Webhook

    address, posted = webhook
    block = Webhook(url=address).save("uplift", overwrite=True)
    made = [
        create("webhook.yaml", block),
        create("died.yaml", block),
        create("email.yaml", block, enabled="false"),  # nobody is there who takes e-mails
    ]
    try:
        settings |= {"name": "shop", "learners": ["SLearner"]}
        assert run({**settings, "date": "2026-01-01"}).summary["events"] == []
        frame.drop(columns="c").to_parquet("data.parquet")
        second = run({**settings, "date": "2026-02-01"})
        (event,) = second.summary["events"]
        assert event["event"] == "schema-change"
        assert event["sentence"] in (second.folder / "report.html").read_text().replace(
            "&#39;", "'"
        )
        about = {
            "name": "shop",
            "run": second.folder.name,
            "logical_date": second.summary["logical_date"],
        }
        told = {"event": "uplift.schema-change", "sentence": event["sentence"]}
        assert posted.get(timeout=60) == about | told
        wait_for(lambda: events(api, newest_run(api)) == ["uplift.schema-change"], 30)

        frame.to_parquet("data.parquet")
        with pytest.raises(InputError, match="on_schema_change"):
            run({**settings, "date": "2026-03-01", "watch": {"on_schema_change": "refuse"}})
        failure = posted.get(timeout=60)
        assert (failure["event"], failure["name"]) == ("uplift.failed", "shop")
        assert failure["sentence"].startswith(f"The run {failure['run']} failed: InputError.")
        assert posted.empty()
    finally:
        for automation in made:
            httpx.delete(f"{api}/automations/{automation}").raise_for_status()
