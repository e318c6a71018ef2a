"""What deploy/ says is what the code does: paths, settings, ports, probes, pins, names of metrics.

Nothing is built, started or fetched. hadolint, helm and promtool are asked too where they are installed.
"""

import json
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from acepilot.settings import is_loopback
from dev.lock import pins
from server.app import OPEN_PATHS, create_app
from server.events.database import database_url
from server.metrics import Metrics
from server.settings import ServerSettings
from tests.needs import need_program

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "acepilot"
COMPOSE = [DEPLOY / "compose.yaml", DEPLOY / "compose.cpu.yaml"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
HOME = "/var/lib/acepilot"
EVENTS_HOME = "/var/lib/acepilot-events"
TOOLS = {
    "hadolint": "https://github.com/hadolint/hadolint/releases",
    "helm": "https://helm.sh/docs/intro/install",
    "promtool": "apt-get install prometheus",
}
"""Program -> how to get it."""
PORT = ServerSettings.model_fields["port"].default
VARIABLES = {f"ACEPILOT_{name.upper()}" for name in ServerSettings.model_fields} | {"ACEPILOT_HOME"}


def instructions(name: str) -> list[str]:
    """The arguments of every instruction of that name in the Dockerfile, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return re.findall(rf"^ *{name} (.+)$", joined, re.MULTILINE)


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def chart_templates() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in (CHART / "templates").iterdir()}


def interpolated(value: object) -> str:
    """As compose fills a variable that is not set: its default, or `given` for one that must be."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))
    return re.sub(r"\$\{\w+:\?[^}]*\}", "given", text)


def tool(name: str) -> str:
    return need_program(name, TOOLS[name])


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps `path` out of a build: its last pattern that fits decides."""
    decision = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        parents = [path, *map(str, Path(path).parents)]
        if any(fnmatch(parent, pattern) for parent in parents):
            decision = not line.startswith("!")
    return decision


def routes() -> set[str]:
    app = create_app(ServerSettings(), lambda: pytest.fail("no engine is wanted here"))
    return set(app.openapi()["paths"])


class TestImage:
    def test_what_is_copied_is_there_and_reaches_the_build(self) -> None:
        sources = [
            source
            for arguments in instructions("COPY")
            if not arguments.startswith("--from")
            for source in arguments.split()[:-1]
        ]
        assert "server" in sources
        for source in sources:
            assert (ROOT / source).exists(), source
            assert not ignored(source), source

    @pytest.mark.parametrize(
        "kept_out", [".git", "docs/deploy.md", "tests", "finetune", "artifacts/model.gguf"]
    )
    def test_nothing_else_reaches_the_build(self, kept_out: str) -> None:
        assert ignored(kept_out)

    def test_packages_that_the_server_imports_are_copied(self) -> None:
        contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
            "importlinter"
        ]
        forbidden = {
            module
            for contract in contracts["contracts"]
            if "server" in contract.get("source_modules", [])
            for module in contract["forbidden_modules"]
        }
        ours = {path.parent.name for path in ROOT.glob("*/__init__.py")}
        copied = {arguments.split()[0] for arguments in instructions("COPY")}
        assert ours - forbidden == ours & copied

    def test_settings_in_the_environment_exist_and_are_those_of_the_server(self) -> None:
        pairs = dict(
            pair.split("=", 1)
            for arguments in instructions("ENV")
            for pair in arguments.split()
            if "=" in pair
        )
        ours = {name: value for name, value in pairs.items() if name.startswith("ACEPILOT_")}
        assert ours.keys() <= VARIABLES
        assert ours["ACEPILOT_HOME"] == HOME
        assert ours["ACEPILOT_PORT"] == str(PORT) == instructions("EXPOSE")[0]
        assert not is_loopback(ours["ACEPILOT_HOST"])
        assert instructions("VOLUME") == [HOME]

    def test_is_checked_where_no_token_is_asked(self) -> None:
        check = re.search(rf"http://127\.0\.0\.1:{PORT}(/\w+)", instructions("HEALTHCHECK")[0])
        assert check
        assert check[1] in OPEN_PATHS & routes()

    def test_ends_as_its_process_ends_and_is_not_root(self) -> None:
        assert json.loads(instructions("ENTRYPOINT")[0]) == ["python", "-m", "server"]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", instructions("USER")[0])

    @pytest.mark.parametrize("lock", ["image", "image-cuda"])
    def test_has_a_driver_for_every_database_of_events(self, lock: str) -> None:
        driver = database_url("postgresql://someone@somewhere/events").get_driver_name()
        assert driver in pins(lock)

    def test_its_user_may_write_to_what_is_for_writing(self) -> None:
        made = re.search(
            r"install --directory --owner acepilot --group acepilot (.+)$", DOCKERFILE, re.MULTILINE
        )
        assert made
        assert made[1].split() == [HOME, EVENTS_HOME]

    def test_versions_are_the_locked_ones(self) -> None:
        installs = re.findall(r"pip install (.+)$", DOCKERFILE, re.MULTILINE)
        locks = {name for line in installs for name in re.findall(r"requirements/([\w-]+)\.txt", line)}
        assert locks == {"pip", "image", "image-cuda", "torch"}
        assert "torch" in pins("torch")
        for line in installs:
            assert "--requirement requirements/" in line or line.endswith("--no-deps --no-build-isolation .")
            assert "--require-hashes" in line or "torch.txt" in line or line.endswith(" .")

    def test_cuda_wheels_have_code_for_volta(self) -> None:
        check = (ROOT / "finetune" / "planner" / "cuda_check.py").read_text(encoding="utf-8")
        index = re.search(r'VOLTA_INDEX = "(.+)"', check)
        assert index
        assert f"TORCH_INDEX={index[1]}" in instructions("ARG")

    def test_hadolint_finds_nothing(self) -> None:
        found = subprocess.run([tool("hadolint"), DEPLOY / "Dockerfile"], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


class TestCompose:
    @pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
    def test_the_server_accepts_its_settings(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        service = document(path)["services"]["acepilot"]
        assert service["environment"].keys() <= VARIABLES
        monkeypatch.setenv("ACEPILOT_HOST", "0.0.0.0")
        for name, value in service["environment"].items():
            monkeypatch.setenv(name, interpolated(value))
        settings = ServerSettings.load()
        assert settings.engine in ("openvino", "upstream")
        assert (settings.engine == "upstream") == bool(settings.upstream)

    @pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
    def test_the_server_is_built_published_and_shut_in(self, path: Path) -> None:
        service = document(path)["services"]["acepilot"]
        build = service["build"]
        assert (path.parent / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
        assert f"AS {build['target']}\n" in DOCKERFILE
        assert service["ports"] == [f"${{ACEPILOT_PUBLISH:-127.0.0.1:{PORT}}}:{PORT}"]
        assert all(HOME in volume for volume in service["volumes"])
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]

    @pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
    def test_events_go_to_a_volume_that_can_be_written(self, path: Path) -> None:
        compose = document(path)
        service = compose["services"]["acepilot"]
        given = interpolated(service["environment"].get("ACEPILOT_EVENTS_URL", ""))
        folder = str(Path(database_url(given).database or "").parent) if given else HOME
        (volume,) = [each for each in service["volumes"] if each.split(":")[1:2] == [folder]]
        assert volume.split(":")[0] in compose["volumes"]
        assert not volume.endswith(":ro")

    def test_no_network_leads_out(self) -> None:
        for path in COMPOSE:
            for network in document(path)["networks"].values():
                masquerade = network.get("driver_opts", {}).get(
                    "com.docker.network.bridge.enable_ip_masquerade"
                )
                assert network.get("internal") or masquerade == "false"

    def test_the_server_finds_vllm_and_its_model(self) -> None:
        services = document(COMPOSE[0])["services"]
        ours, vllm = services["acepilot"]["environment"], services["vllm"]
        assert ours["ACEPILOT_UPSTREAM"] == "http://vllm:8000"
        assert ours["ACEPILOT_UPSTREAM_TOKEN"] == vllm["environment"]["VLLM_API_KEY"]
        flags = dict(flag.removeprefix("--").split("=") for flag in vllm["command"] if "=" in flag)
        assert f"{HOME}{flags['model']}" == ours["ACEPILOT_MODEL"]
        assert flags["model"] == "/models/" + flags["served-model-name"]
        cards = vllm["deploy"]["resources"]["reservations"]["devices"][0]["count"]
        assert cards == flags["tensor-parallel-size"]
        assert vllm["volumes"][0].removesuffix("/models:/models:ro") in services["acepilot"]["volumes"][0]

    def test_prometheus_reads_both_and_shows_the_token(self) -> None:
        compose, prometheus = document(COMPOSE[0]), document(DEPLOY / "prometheus.yml")
        jobs = {job["job_name"]: job for job in prometheus["scrape_configs"]}
        assert jobs["acepilot"]["static_configs"] == [{"targets": [f"acepilot:{PORT}"]}]
        assert jobs["vllm"]["static_configs"] == [{"targets": ["vllm:8000"]}]
        assert "/metrics" in routes() - OPEN_PATHS
        secret = Path(jobs["acepilot"]["authorization"]["credentials_file"]).name
        assert compose["secrets"][secret] == {"environment": "ACEPILOT_TOKEN"}
        assert compose["services"]["prometheus"]["secrets"] == [secret]

    def test_promtool_finds_nothing(self, tmp_path: Path) -> None:
        promtool = tool("promtool")
        token = tmp_path / "token"
        token.write_text("token")
        config = (DEPLOY / "prometheus.yml").read_text(encoding="utf-8")
        here = tmp_path / "prometheus.yml"
        here.write_text(config.replace("/run/secrets/acepilot_token", str(token)))
        shutil.copy(DEPLOY / "alerts.yml", tmp_path)
        found = subprocess.run([promtool, "check", "config", here], capture_output=True, text=True)
        assert found.returncode == 0, found.stderr


def property_names(schema: dict[str, Any], before: str = "") -> set[str]:
    found: set[str] = set()
    for name, inner in schema["properties"].items():
        found |= property_names(inner, f"{before}{name}.") if "properties" in inner else {before + name}
    return found


def value_names(values: dict[str, Any], schema: dict[str, Any], before: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in values.items():
        inner = schema["properties"].get(name, {})
        found |= value_names(value, inner, f"{before}{name}.") if "properties" in inner else {before + name}
    return found


class TestChart:
    def test_every_value_is_in_the_schema_and_is_used(self) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
        names = value_names(document(CHART / "values.yaml"), schema)
        assert names == property_names(schema) - {"global"}
        assert set(schema["required"]) == set(document(CHART / "values.yaml"))
        used = set(re.findall(r"\.Values\.([\w.]+)", "\n".join(chart_templates().values())))
        assert {name for name in used if not any(name.startswith(f"{known}.") for known in names)} == {
            *names - {"vllm.resources"},
        }

    def test_settings_and_probes_are_the_servers(self) -> None:
        server = chart_templates()["server.yaml"]
        assert set(re.findall(r"name: (ACEPILOT_\w+)", server)) <= VARIABLES
        assert f"containerPort: {PORT}" in server
        probes = re.findall(r"httpGet: \{ path: (/\w+)", server)
        assert probes == ["/health", "/ready"]
        assert set(probes) <= OPEN_PATHS & routes()
        assert f"port: {PORT}, protocol: TCP" in chart_templates()["networkpolicy.yaml"]

    def test_its_images_and_vllm_flags_are_those_of_compose(self) -> None:
        values, compose = document(CHART / "values.yaml"), document(COMPOSE[0])["services"]
        assert values["vllm"]["image"] == compose["vllm"]["image"]
        assert values["server"]["image"] == compose["acepilot"]["image"]
        flags = re.findall(r"^ +- (--[\w-]+)", chart_templates()["vllm.yaml"], re.MULTILINE)
        assert flags == [flag.split("=")[0] for flag in compose["vllm"]["command"]]

    def test_helm_renders_what_was_meant(self) -> None:
        rendered = render("--set", "vllm.replicas=3", "--set", "vllm.tensorParallel=2")
        server = rendered["Deployment", "x-server"]["spec"]["template"]["spec"]["containers"][0]
        environment = {each["name"]: each.get("value") for each in server["env"]}
        assert environment["ACEPILOT_MODEL"] == f"{HOME}/models/codegen"
        assert environment["ACEPILOT_UPSTREAM"] == ",".join(
            f"http://x-vllm-{number}.x-vllm:8000" for number in range(3)
        )
        vllm = rendered["StatefulSet", "x-vllm"]["spec"]
        assert (vllm["replicas"], vllm["serviceName"]) == (3, "x-vllm")
        container = vllm["template"]["spec"]["containers"][0]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
        assert "--tensor-parallel-size=2" in container["args"]
        assert rendered["NetworkPolicy", "x-vllm"]["spec"]["egress"] == []
        ports = [rule["ports"][0]["port"] for rule in rendered["NetworkPolicy", "x-server"]["spec"]["egress"]]
        assert ports == [8000, 53]

    def test_helm_without_cards_has_no_vllm_and_no_way_out(self) -> None:
        rendered = render("--set", "vllm.enabled=false")
        assert not [name for _, name in rendered if "vllm" in name]
        assert rendered["NetworkPolicy", "x-server"]["spec"]["egress"] == []

    @pytest.mark.parametrize("cards", ["true", "false"])
    def test_helm_without_a_database_keeps_events_off_the_shared_volume(self, cards: str) -> None:
        pod = render("--set", f"vllm.enabled={cards}")["Deployment", "x-server"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        (url,) = [each["value"] for each in container["env"] if each["name"] == "ACEPILOT_EVENTS_URL"]
        folder = str(Path(database_url(url).database or "").parent)
        (mount,) = [each for each in container["volumeMounts"] if each["mountPath"] == folder]
        assert not mount.get("readOnly")
        assert {"name": mount["name"], "emptyDir": {}} in pod["volumes"]

    @pytest.mark.parametrize(("cards", "ports"), [("true", [8000, 5433, 53]), ("false", [5433, 53])])
    def test_helm_lets_servers_reach_the_database_of_events(self, cards: str, ports: list[int]) -> None:
        rendered = render(
            "--set", f"vllm.enabled={cards}",
            "--set", "events.existingSecret=kept",
            "--set", "events.databasePort=5433",
            "--set", "events.databasePeers[0].podSelector.matchLabels.app=postgres",
        )  # fmt: skip
        (container,) = rendered["Deployment", "x-server"]["spec"]["template"]["spec"]["containers"]
        (url,) = [each for each in container["env"] if each["name"] == "ACEPILOT_EVENTS_URL"]
        assert url["valueFrom"]["secretKeyRef"] == {"name": "kept", "key": "url"}
        rules = rendered["NetworkPolicy", "x-server"]["spec"]["egress"]
        assert [rule["ports"][0]["port"] for rule in rules] == ports
        assert rules[-2]["to"] == [{"podSelector": {"matchLabels": {"app": "postgres"}}}]

    def test_helm_refuses_a_misspelt_value(self) -> None:
        assert "replica" in refusal("--set", "server.replica=3")

    def test_helm_refuses_a_database_that_the_policy_keeps_the_servers_from(self) -> None:
        assert "events.databasePeers" in refusal("--set", "events.existingSecret=kept")
        render("--set", "events.existingSecret=kept", "--set", "networkPolicy.enabled=false")
        everywhere = ("--set", "events.existingSecret=kept", "--set-json", "events.databasePeers=[{}]")
        assert "databasePeers" in refusal(*everywhere)


def refusal(*flags: str) -> str:
    """What `helm template` says when it will not."""
    found = subprocess.run([tool("helm"), "template", "x", CHART, *flags], capture_output=True, text=True)
    assert found.returncode != 0
    return found.stderr


def render(*flags: str) -> dict[tuple[str, str], Any]:
    """What `helm template` makes, by kind and name."""
    found = subprocess.run(
        [tool("helm"), "template", "x", CHART, *flags], capture_output=True, text=True, check=True
    )
    return {
        (each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(found.stdout) if each
    }


def test_metrics_in_the_documents_queries_exist() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    known = {sample.name for metric in Metrics().registry.collect() for sample in metric.samples}
    known |= {
        f"{metric.name}{end}" for metric in Metrics().registry.collect() for end in ("_bucket", "_total")
    }
    named = set(re.findall(r"\bacepilot_\w+", text))
    assert named
    assert named <= known
