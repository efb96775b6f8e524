"""manifests/mcp: what is shipped is valid, read-only, without Secrets, and reachable from the operator alone."""

from __future__ import annotations

import json
import pathlib
import re
import tomllib
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from openapi_schema_validator import OAS30Validator

from selfheal.adapters.mcp import build_servers, kubernetes, servers
from selfheal.agents import tools
from selfheal.agents.config import load_config
from selfheal.api.policy import PolicySpec

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "manifests" / "mcp"
PUBLISHED = json.loads((ROOT / "tests" / "contract" / "mcp_tools.json").read_text())
PLACES = ("cloud", "datacenter")
SERVERS = ("kubernetes", "jira-datacenter")
OPERATOR = "selfheal-operator"


def read(name: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text()) if each]


def pick(name: str, kind: str) -> dict[str, Any]:
    (found,) = (each for each in read(name) if each["kind"] == kind)
    return found


def read_policy(place: str) -> dict[str, Any]:
    (found,) = read(f"policy-{place}")
    return found


def find_unknown(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Fields that the API server would prune."""
    if isinstance(value, list):
        return [text for each in value for text in find_unknown(each, schema["items"], path)]
    known = schema.get("properties")
    if not isinstance(value, dict) or known is None:
        return []
    unknown = [f"{path}.{key}" for key in value if key not in known]
    return unknown + [
        text for key in value if key in known for text in find_unknown(value[key], known[key], f"{path}.{key}")
    ]


@pytest.mark.parametrize("place", PLACES)
def test_a_policy_snippet_fits_the_model_and_the_crd(place: str) -> None:
    wire = read_policy(place)
    spec = PolicySpec.model_validate(wire["spec"])
    built = build_servers(spec.agents.mcp_servers, commands={})
    assert [server.name for server in built] == ["kubernetes", "github", "jira"]
    crd = yaml.safe_load((ROOT / "crds" / "selfhealingpolicies.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    OAS30Validator(schema).validate(wire)
    assert find_unknown(wire, schema) == []
    assert find_unknown({"spec": {"agents": {"mcpServers": [{"nmae": "x"}]}}}, schema) == [".spec.agents.mcpServers.nmae"]


@pytest.mark.parametrize("place", PLACES)
def test_every_server_is_one_that_an_agent_uses_and_every_tool_can_be_bound(place: str) -> None:
    used = {name for agent in load_config().agents.values() for name in agent.servers}
    scope = tools.Scope(namespace="shop", repository="acme/gitops", ticket="OPS-1", site="cloud-1")
    arguments = {name: entry["arguments"] for each in PUBLISHED.values() for name, entry in each["tools"].items()}
    for spec in PolicySpec.model_validate(read_policy(place)["spec"]).agents.mcp_servers:
        assert spec.name in used
        assert set(spec.allowed_tools) <= servers.PACKAGED_TOOLS[spec.name]
        pins = scope.find_pins(spec.name)
        assert pins is not None
        for name in spec.allowed_tools:
            if name in arguments:  # the others are asked of the real servers, in tests/contract
                assert any(set(names) <= set(arguments[name]) & set(pins) for names in tools._BINDING[spec.name]), name


def test_tools_of_the_remote_servers_are_published_and_read_only() -> None:
    by_name = {each["name"]: each for each in read_policy("cloud")["spec"]["agents"]["mcpServers"]}
    github, jira = PUBLISHED["github"]["tools"], PUBLISHED["atlassian"]["tools"]
    assert set(by_name["github"]["allowedTools"]) == servers.PACKAGED_TOOLS["github"] == set(github)
    assert all(entry["readOnlyHint"] is True for entry in github.values())
    assert set(by_name["jira"]["allowedTools"]) == set(jira)
    assert all(entry["group"] == "read_jira" for entry in jira.values())
    assert by_name["github"]["url"].endswith("/readonly")


@pytest.mark.parametrize("place", PLACES)
def test_every_credential_of_a_snippet_has_a_template_bound_to_its_host(place: str) -> None:
    templates = {each["metadata"]["name"]: each for each in read(f"credentials-{place}")}
    for spec in PolicySpec.model_validate(read_policy(place)["spec"]).agents.mcp_servers:
        if spec.credentials_ref is None:
            continue
        template = templates.pop(spec.credentials_ref.name)
        assert template["metadata"]["labels"] == {"selfheal.dev/credential": "true"}
        assert template["metadata"]["namespace"] == "selfheal-system"
        assert template["metadata"]["annotations"]["selfheal.dev/hosts"] == urlsplit(spec.url).netloc
        assert template["stringData"] == {"token": ""}  # nothing that could be applied unfilled by mistake
    assert templates == {}


def test_urls_in_the_cluster_lead_to_the_shipped_services() -> None:
    services = {pick(name, "Service")["metadata"]["name"]: pick(name, "Service") for name in SERVERS}
    seen = set()
    for place in PLACES:
        for each in read_policy(place)["spec"]["agents"]["mcpServers"]:
            url = urlsplit(each["url"])
            if url.scheme == "https":
                continue
            name, namespace, _ = str(url.hostname).split(".")
            assert namespace == services[name]["metadata"]["namespace"]
            assert url.port == services[name]["spec"]["ports"][0]["port"]
            seen.add(name)
    assert seen == set(services)


def test_kubernetes_runs_with_our_configuration_and_its_rights_know_no_secret() -> None:
    written = pick("kubernetes", "ConfigMap")["data"]["config.toml"]
    assert tomllib.loads(written) == tomllib.loads(kubernetes.render_config())
    assert {"group": "", "version": "v1", "kind": "Secret"} in tomllib.loads(written)["denied_resources"]
    listed = next(each for each in read_policy("cloud")["spec"]["agents"]["mcpServers"] if each["name"] == "kubernetes")
    assert set(listed["allowedTools"]) == set(tomllib.loads(written)["enabled_tools"])
    for rule in pick("kubernetes", "ClusterRole")["rules"]:
        assert set(rule["verbs"]) <= {"get", "list"}
        assert "*" not in rule["resources"] + rule["apiGroups"]
        assert not {"secrets", "configmaps", "pods/exec", "pods/proxy", "nodes/proxy"} & set(rule["resources"])


@pytest.mark.parametrize("name", SERVERS)
def test_pods_are_restricted(name: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a read-only root on top."""
    pod = pick(name, "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["enableServiceLinks"] is False
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {"configMap", "emptyDir"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    assert re.search(r":v?\d+\.\d+\.\d+$", container["image"])
    assert "memory" in container["resources"]["limits"]
    assert all("valueFrom" not in each for each in container.get("env", []))


@pytest.mark.parametrize("name", SERVERS)
def test_only_the_operator_reaches_a_server(name: str) -> None:
    rules = pick(name, "NetworkPolicy")["spec"]
    deployment = pick(name, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert rules["podSelector"]["matchLabels"] == labels == pick(name, "Service")["spec"]["selector"]
    assert rules["policyTypes"] == ["Ingress", "Egress"]
    (ingress,) = rules["ingress"]
    assert ingress["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": OPERATOR}}}]
    port = deployment["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
    assert [each["port"] for each in ingress["ports"]] == [port]
    base = yaml.safe_load_all((ROOT / "manifests" / "base" / "deployment.yaml").read_text())
    (operator,) = (each for each in base if each["kind"] == "Deployment")
    assert operator["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == OPERATOR
    assert operator["metadata"]["namespace"] == pick(name, "NetworkPolicy")["metadata"]["namespace"]


def test_jiras_server_holds_no_credential_and_is_read_only() -> None:
    deployment = pick("jira-datacenter", "Deployment")["spec"]["template"]["spec"]
    env = {each["name"]: each["value"] for each in deployment["containers"][0]["env"]}
    assert not [name for name in env if "TOKEN" in name or "PASSWORD" in name or "SECRET" in name]
    assert (env["READ_ONLY_MODE"], env["ATLASSIAN_OAUTH_ENABLE"]) == ("true", "true")
    listed = next(each for each in read_policy("datacenter")["spec"]["agents"]["mcpServers"] if each["name"] == "jira")
    assert env["ENABLED_TOOLS"].split(",") == listed["allowedTools"]
    assert deployment["automountServiceAccountToken"] is False
    pins = (ROOT / "hack" / "mcp_atlassian" / "requirements.txt").read_text()
    assert "mcp-atlassian==" + deployment["containers"][0]["image"].rpartition(":")[2] in pins.split()
