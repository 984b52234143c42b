"""Events on a real server: the repository's automations pass them on, each to a receiver here."""

import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from socketserver import StreamRequestHandler, ThreadingTCPServer

import httpx
import pytest

from flows.errors import InputError
from tests.acceptance.test_processes import uplift, wait_for
from tests.acceptance.test_run_page import newest_run
from tests.conftest import REPOSITORY, write_config

AUTOMATIONS = REPOSITORY / "deployments" / "automations"


@contextmanager
def listening(server):
    """The port of a server, as long as it listens."""
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


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

    with listening(ThreadingHTTPServer(("127.0.0.1", 0), Receiver)) as port:
        yield f"http://127.0.0.1:{port}/uplift", posted


@pytest.fixture
def mailbox():
    """Address of a mail server as Apprise writes it, and the e-mails that it gets."""
    mails = Queue()

    class Receiver(StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 ready\r\n")
            while command := self.rfile.readline()[:4].upper():
                if command == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    mails.put(message_from_bytes(b"".join(lines), policy=policy.default))
                self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 yes\r\n")

    with listening(ThreadingTCPServer(("127.0.0.1", 0), Receiver)) as port:
        who = "from=uplift@example.com&to=team@example.com"
        yield f"mailto://127.0.0.1:{port}?{who}&format=text", mails


def create(name, block):
    """Create an automation of the repository as its README does; its id."""
    Path(name).write_text((AUTOMATIONS / name).read_text().replace("BLOCK", str(block)))
    command = [sys.executable, "-m", "prefect", "automation", "create", "--from-file", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()[-1]


@pytest.fixture
def automations(api, settings, webhook, mailbox):
    """What the webhook and the mailbox get while all automations of the repository are there."""
    from prefect.blocks.notifications import SlackWebhook
    from prefect.blocks.webhook import Webhook

    block = Webhook(url=webhook[0]).save("uplift", overwrite=True)
    mail = SlackWebhook(url=mailbox[0]).save("uplift-mail", overwrite=True)
    blocks = {"webhook.yaml": block, "died.yaml": block, "email.yaml": mail}
    assert blocks.keys() == {path.name for path in AUTOMATIONS.glob("*.yaml")}
    made = [create(name, of) for name, of in blocks.items()]
    yield webhook[1], mailbox[1]
    for automation in made:
        httpx.delete(f"{api}/automations/{automation}").raise_for_status()


def events(api, run):
    """Names of our events on the server that belong to a flow run."""
    related = {"resources_in_roles": [[f"prefect.flow-run.{run}", "flow-run"]]}
    asked = {"filter": {"event": {"prefix": ["uplift."]}, "related": related}}
    return [one["event"] for one in httpx.post(f"{api}/events/filter", json=asked).json()["events"]]


def kill_a_run(api, settings, monkeypatch):
    """Have a run's process end by SIGKILL while it fits; the run's name on the server."""
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    models = settings["models"] | {"outcome": {"estimator": "tests.faulty.Ends"}}
    config = {**settings, "models": models, "parallelism": {"runner": "serial"}}
    assert uplift("run", write_config(config)).returncode == -signal.SIGKILL
    return httpx.get(f"{api}/flow_runs/{newest_run(api)}").json()["name"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.imghdr. is deprecated:DeprecationWarning")  # Apprise has it
def test_events_and_deaths_of_runs_reach_a_webhook_and_events_a_mailbox(
    api, run, settings, frame, automations, monkeypatch
):
    posted, mails = automations
    dead = kill_a_run(api, settings, monkeypatch)
    settings |= {"name": "shop", "learners": ["SLearner"]}
    assert run({**settings, "date": "2026-01-01"}).summary["events"] == []
    died = "The process of this run died without reporting an error."
    assert posted.get(timeout=60) == {"event": "uplift.died", "run": dead, "sentence": died}

    frame.drop(columns="c").to_parquet("data.parquet")
    second = run({**settings, "date": "2026-02-01"})
    (event,) = second.summary["events"]
    assert event["event"] == "schema-change"
    assert event["sentence"] in (second.folder / "report.html").read_text().replace("&#39;", "'")
    about = {
        "name": "shop",
        "run": second.folder.name,
        "logical_date": second.summary["logical_date"],
    }
    told = {"event": "uplift.schema-change", "sentence": event["sentence"]}
    assert posted.get(timeout=60) == about | told
    mail = mails.get(timeout=60)
    assert mail["Subject"] == "shop: uplift.schema-change"
    assert (mail["From"], mail["To"]) == ("uplift@example.com", "team@example.com")
    text = mail.get_body(("plain",)).get_content()
    assert text.splitlines() == [
        event["sentence"],
        "",
        f"Run: {about['run']}",
        f"Logical date: {about['logical_date']}",
    ]
    wait_for(lambda: events(api, newest_run(api)) == ["uplift.schema-change"], 30)

    frame.to_parquet("data.parquet")
    with pytest.raises(InputError, match="on_schema_change"):
        run({**settings, "date": "2026-03-01", "watch": {"on_schema_change": "refuse"}})
    failure = posted.get(timeout=60)
    assert (failure["event"], failure["name"]) == ("uplift.failed", "shop")
    assert failure["sentence"].startswith(f"The run {failure['run']} failed: InputError.")
    assert mails.get(timeout=60)["Subject"] == "shop: uplift.failed"
    assert posted.empty()
    assert mails.empty()
