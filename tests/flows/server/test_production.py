"""The set-up of deployments/README.md, for real on one machine, and its parts killed during runs.

PostgreSQL, Prefect's server with a login and CSRF protection, nginx with TLS, an S3 server, a work
pool and two workers, with the files that the guide copies: only names, folders and ports differ.
"""

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import fsspec
import httpx
import psutil
import pytest

from tests.acceptance.test_processes import wait_for
from tests.conftest import REPOSITORY, Ran, free_port, small_frame, small_settings
from tests.flows.server.test_server_faults import AWAY_SECONDS, DONE, FINAL, Api, with_model
from tests.postgresql import PASSWORD, USER, running_postgresql

FILES = REPOSITORY / "deployments"
BIN = Path(sys.executable).parent
LOGIN = ("uplift", "wrong-battery-horse")
AWS = {"AWS_ACCESS_KEY_ID": "name", "AWS_SECRET_ACCESS_KEY": "secret"}
DEPLOY = """
from flows import uplift_run
from prefect.types.entrypoint import EntrypointType
for name in ("one", "two"):
    deployment = uplift_run.to_deployment(name, entrypoint_type=EntrypointType.MODULE_PATH)
    deployment.apply(work_pool_name="uplift")
"""


def without_comments(text):
    """The variables in a file of settings."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


class Site(Api):
    """The whole set-up, in a folder; it asks the API as a client behind the proxy does."""

    def __init__(self, folder: Path, processes: ExitStack) -> None:
        self.folder, self.processes = folder, processes
        self.ports = {name: free_port() for name in ("server", "proxy", "s3")}
        for name in ("tls", "server", "worker", "work"):
            (folder / name).mkdir(mode=0o700)
        self.base = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        self.base["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        self.base |= {"PYTHONPATH": str(REPOSITORY), "UPLIFT_IMPORT_ROOTS": "tests"}
        self.workers = {}
        super().__init__(f"https://localhost:{self.ports['proxy']}/api")

    def set_up(self, database) -> None:
        """Do what the guide says, section by section."""
        self._make_database(database)
        self._make_certificate()
        self.authority = ssl.create_default_context(cafile=self.folder / "tls/authority.pem")
        self.server_environment = self.settings("server.env", database.port) | {
            "PREFECT_SERVER_API_AUTH_STRING": ":".join(LOGIN),
            "PREFECT_SERVER_DATABASE_PASSWORD": PASSWORD,
        }
        self.environment = self.settings("worker.env", database.port) | {
            "PREFECT_API_AUTH_STRING": ":".join(LOGIN),
            "UPLIFT_CACHE_KEY": "a secret of the tests",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            **AWS,
        }
        port = str(self.ports["s3"])
        self.start("s3", [sys.executable, "-m", "moto.server", "-p", port], self.base)
        server = [BIN / "prefect", "server", "start"]
        self.server = self.start("server", server, self.server_environment)
        self._start_proxy()
        wait_for(self.answers, 90)
        self._make_bucket()
        pool = self.file("work_pool.json")
        arguments = ["work-pool", "create", "uplift", "--type", "process", "--base-job-template"]
        self.call(BIN / "prefect", *arguments, pool)
        self.call(sys.executable, "-c", DEPLOY)
        small_frame().to_parquet(self.folder / "work/data.parquet")

    def adapted(self, name: str, database_port: int = 0) -> str:
        """A file of the guide with the names, folders and ports of this set-up."""
        text = (FILES / name).read_text()
        for theirs, ours in {
            "https://uplift.example": f"https://localhost:{self.ports['proxy']}",
            "uplift.example": "localhost",
            "https://s3.example": f"http://127.0.0.1:{self.ports['s3']}",
            "listen 443": f"listen {self.ports['proxy']}",
            "4200": str(self.ports["server"]),
            "5432": str(database_port),
            "/etc/uplift/tls": str(self.folder / "tls"),
            "/srv/uplift": str(self.folder / "work"),
            '"."': f'"{self.folder / "work"}"',  # in the work pool, as by the guide's sed
            "/var/lib/uplift-": f"{self.folder}/",
        }.items():
            text = text.replace(theirs, ours)
        return text

    def file(self, name: str) -> Path:
        path = self.folder / Path(name).name
        path.write_text(self.adapted(name))
        return path

    def settings(self, name: str, database_port: int) -> dict[str, str]:
        return self.base | without_comments(self.adapted(f"settings/{name}", database_port))

    def _make_database(self, database) -> None:
        psycopg = pytest.importorskip("psycopg")
        login = {"user": USER, "password": PASSWORD, "autocommit": True}
        with psycopg.connect(database.address, **login) as connection:
            connection.execute(f"CREATE ROLE prefect LOGIN PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE prefect OWNER prefect")

    def _make_certificate(self) -> None:
        how = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        files = ["-keyout", "server-key.pem", "-out", "server.pem"]
        command = ["openssl", *how.split(), *names, *files]
        subprocess.run(command, cwd=self.folder / "tls", check=True, capture_output=True)
        shutil.copy(self.folder / "tls/server.pem", self.folder / "tls/authority.pem")

    def _start_proxy(self) -> None:
        site, here = self.file("nginx/uplift.conf"), self.folder
        temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{name}_temp_path {here}/nginx;" for name in temporary)
        user = "user root;" if os.getuid() == 0 else ""
        (here / "nginx.conf").write_text(
            f"daemon off; {user} pid {here}/nginx.pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {paths} include {site}; }}\n"
        )
        command = [NGINX, "-p", here, "-e", "stderr", "-c", here / "nginx.conf"]
        self.start("proxy", command, self.base)

    def _make_bucket(self) -> None:
        endpoint = self.environment["AWS_ENDPOINT_URL"]
        wait_for(lambda: _opens(endpoint), 60)
        self.bucket = fsspec.filesystem(
            "s3",
            key=AWS["AWS_ACCESS_KEY_ID"],
            secret=AWS["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=endpoint,
            use_listings_cache=False,
        )
        self.bucket.mkdir("uplift")

    def start(self, name: str, command: list, environment: dict[str, str]) -> psutil.Process:
        folder = self.folder / (name if (self.folder / name).is_dir() else "worker")
        with (self.folder / f"{name}.log").open("a") as log:
            process = psutil.Popen(
                list(map(str, command)),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.callback(end_all, process)
        return process

    def start_worker(self, name: str) -> None:
        command = [BIN / "prefect", "worker", "start", "--pool", "uplift", "--type", "process"]
        command += ["--name", name, "--limit", "1", "--no-create-pool-if-not-found"]
        self.workers[name] = self.start(f"worker-{name}", command, self.environment)

    def call(self, *command, folder: str = "worker") -> subprocess.CompletedProcess:
        done = subprocess.run(
            list(map(str, command)),
            cwd=self.folder / folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def answers(self) -> bool:
        assert self.server.poll() is None, (self.folder / "server.log").read_text()
        try:
            return self.ask("GET", "admin/version").status_code == 200
        except httpx.HTTPError:
            return False

    def ask(self, method: str, path: str, token: bool = False, **more) -> httpx.Response:
        """A request of one who has the login, with a CSRF token if asked for."""
        headers = {}
        if token:
            query = {"params": {"client": "tests"}}
            headers["Prefect-Csrf-Token"] = self.ask("GET", "csrf-token", **query).json()["token"]
            headers["Prefect-Csrf-Client"] = "tests"
        more = {"auth": LOGIN, "verify": self.authority, "timeout": 30} | more
        return httpx.request(method, f"{self.address}/{path}", headers=headers, **more)

    def post(self, path, content):
        return self.ask("POST", path, token=True, json=content).raise_for_status().json()

    def trigger(self, name: str, settings: dict, cache: str, deployment: str = "one") -> str:
        path = f"deployments/name/uplift-run/{deployment}"
        deployment = self.ask("GET", path).json()["id"]
        places = {
            "cache": {"storage": f"s3://uplift/{cache}"},
            "registry": {"storage": "s3://uplift/registry"},
        }
        parameters = {"parameters": settings | places | {"name": "shop"}, "name": name}
        return self.post(f"deployments/{deployment}/create_flow_run", parameters)["id"]

    def state(self, run: str) -> dict:
        return self.ask("GET", f"flow_runs/{run}").json()["state"]

    def ended(self, run: str, seconds: float = 120) -> str:
        wait_for(lambda: self.state(run)["type"] in FINAL, seconds)
        state = self.state(run)
        return f"{state['type']} {state['message'] or ''}".strip()

    def ran(self, name: str) -> Ran:
        (folder,) = self.folder.glob(f"work/runs/2*-{name}")
        return Ran(folder)

    def process_of(self, run: str) -> tuple[str, psutil.Process] | None:
        """The worker that has a run, and the run's process."""
        for name, worker in self.workers.items():
            with suppress(psutil.NoSuchProcess):  # one that ends meanwhile
                for child in worker.children(recursive=True):
                    if child.environ().get("PREFECT__FLOW_RUN_ID") == run:
                        return name, child
        return None

    def fits(self, cache: str) -> int:
        return len(self.bucket.glob(f"uplift/{cache}/*/*.fit"))

    def at_work(self, name: str, settings: dict, cache: str, fits: int = 2):
        """A run that has begun to fit: its id, its worker's name and its process."""
        run = self.trigger(name, settings, cache)
        wait_for(lambda: self.fits(cache) >= fits, 90)
        found = self.process_of(run)
        assert found is not None
        return run, *found


def end_all(process: psutil.Process) -> None:
    """End a process and those below it."""
    below = process.children(recursive=True) if process.is_running() else []
    for each in (process, *below):
        if each.is_running():
            each.kill()
    process.wait()


def _opens(address: str) -> bool:
    try:
        return bool(httpx.get(address, timeout=5))
    except httpx.HTTPError:
        return False


NGINX = shutil.which("nginx", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if NGINX is None:
        pytest.skip("needs nginx: apt-get install nginx-light")
    with running_postgresql() as database, ExitStack() as processes:
        site = Site(tmp_path_factory.mktemp("site"), processes)
        site.database = database
        site.set_up(database)
        for name in ("a", "b"):
            site.start_worker(name)
        yield site


@pytest.fixture
def slow_settings():
    """Eight fits or more of a second, two at a time."""
    settings = with_model(small_settings(), "TakesASecond") | {"folds": {"n_folds": 2}}
    settings["evaluation"]["holdout"] = 0.25
    return settings


def assert_whole(ran, kept=0):
    assert ran.fits["reused"] == kept
    assert ran.fits["executed"] == ran.fits["unique"] - kept > 0
    assert ran.fits["retried"] == 0


@pytest.mark.slow
def test_runs_of_two_workers_share_fits_and_a_third_is_cached(site, slow_settings):
    both = [site.trigger(name, slow_settings, "shared", name) for name in ("one", "two")]
    wait_for(lambda: all(map(site.process_of, both)), 60)
    assert {site.process_of(run)[0] for run in both} == {"a", "b"}
    assert [site.ended(run) for run in both] == ["COMPLETED"] * 2
    third = site.trigger("three", slow_settings, "shared")
    assert site.ended(third) == "COMPLETED"

    one, two, three = map(site.ran, ("one", "two", "three"))
    assert one.fits["unique"] == two.fits["unique"] == site.fits("shared")
    assert one.fits["executed"] + two.fits["executed"] == site.fits("shared")
    assert three.fits["executed"] == 0
    assert one.estimates.equals(two.estimates)
    assert one.estimates.equals(three.estimates)
    assert [ran.summary["model"].get("problem") for ran in (one, two, three)] == [None] * 3
    below = {"flow_runs": {"parent_flow_run_id": {"any_": [third]}}}
    ids = [stage["id"] for stage in site.post("flow_runs/filter", below)]

    def tasks():
        return site.post("task_runs/filter", {"flow_runs": {"id": {"any_": ids}}})

    wait_for(lambda: len(tasks()) == three.fits["planned"], 30)  # they come in batches
    wait_for(lambda: {task["state_name"] for task in tasks()} == {"Cached"}, 30)


@pytest.mark.slow
def test_strangers_are_refused_and_our_commands_get_in(site, slow_settings):
    deployment = "deployments/name/uplift-run/one"
    logins = (None, (LOGIN[0], "a guess"), LOGIN)
    assert [site.ask("GET", deployment, auth=login).status_code for login in logins] == [
        401,
        401,
        200,
    ]
    tokens = (False, True)
    tried = [site.ask("POST", "flows/filter", token=token, json={}) for token in tokens]
    assert [answer.status_code for answer in tried] == [403, 200]
    with pytest.raises(httpx.ConnectError, match=r"handshake|unrecognized name"):
        httpx.get(site.address.replace("localhost", "127.0.0.1"), verify=False)

    cache = ["--storage", "s3://uplift/command"]
    said = site.call(BIN / "uplift", "doctor", *cache, folder="work").stdout
    assert f"{site.address} answers" in said
    settings = {"cache": {"storage": cache[1]}, "registry": {"enabled": False}}
    (site.folder / "work/config.yaml").write_text(json.dumps(slow_settings | settings))
    site.call(BIN / "uplift", "run", "config.yaml", folder="work")
    assert_whole(Ran(site.folder / "work/runs/latest"))


@pytest.mark.slow
def test_postgresql_that_is_away_for_half_a_minute_costs_a_run_nothing(site, slow_settings):
    run, *_ = site.at_work("away", slow_settings, "away")
    site.database.kill()
    killed = time.monotonic()
    time.sleep(AWAY_SECONDS)
    site.database.start()
    wait_for(site.answers, 30)

    assert site.ended(run, 150) == "COMPLETED"
    print("ended", time.monotonic() - killed, "s after PostgreSQL was killed")
    ran = site.ran("away")
    assert_whole(ran)
    wait_for(lambda: site.states(run) == DONE, 60)
    below = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}
    ids = [run, *(stage["id"] for stage in site.post("flow_runs/filter", below))]
    every = ran.fits["planned"] + 3  # each fit, and the three sub-flows; they come in batches
    count = partial(site.post, "task_runs/count", {"flow_runs": {"id": {"any_": ids}}})
    wait_for(lambda: count() == every, 30)


@pytest.mark.slow
def test_killed_runs_and_workers_lose_no_fit_and_repeat_none(site, slow_settings):
    # A run's process: its worker says so.
    run, _, process = site.at_work("killed", slow_settings, "kills")
    end_all(process)
    assert site.ended(run).startswith("CRASHED")
    kept = site.fits("kills")
    # A worker alone: its run goes on.
    run, name, _ = site.at_work("orphan", slow_settings, "kills", kept + 1)
    site.workers[name].kill()
    site.workers[name].wait()
    assert site.ended(run) == "COMPLETED"
    assert_whole(site.ran("orphan"), kept)
    # A worker with its run: the next run in the folder marks it.
    (name,) = (name for name, worker in site.workers.items() if worker.is_running())
    run, _, _ = site.at_work("lost", slow_settings, "more-kills")
    end_all(site.workers[name])
    kept = site.fits("more-kills")
    assert site.state(run)["type"] == "RUNNING"
    site.start_worker("c")
    again = site.trigger("again", slow_settings, "more-kills")
    assert site.ended(again) == "COMPLETED"
    assert_whole(site.ran("again"), kept)
    assert site.ended(run, 1) == "CRASHED The process of this run died without reporting an error."


# -- the files of the guide, without a server -----------------------------------------------------


@pytest.mark.parametrize("name", ["server.env", "worker.env"])
def test_variables_of_the_guide_are_settings_that_somebody_reads(name, monkeypatch):
    from prefect.settings import Settings
    from prefect.settings.legacy import _get_valid_setting_names

    known = _get_valid_setting_names(Settings) | {
        *("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "DO_NOT_TRACK", "PYTHONSAFEPATH"),
        "UPLIFT_DATA_ROOTS",
    }
    variables = without_comments((FILES / "settings" / name).read_text())
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)

    assert variables.keys() <= known
    Settings()  # which refuses wrong values


def test_systemd_accepts_the_units(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    units = []
    for path in sorted((FILES / "systemd").glob("*.service")):
        units.append(tmp_path / path.name)
        units[-1].write_text(path.read_text().replace("/opt/uplift/bin", str(BIN)))
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )

    assert len(units) == 2
    assert (done.returncode, done.stderr) == (0, "")
