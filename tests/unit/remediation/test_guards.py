from __future__ import annotations

from typing import Any

import pytest
from tests.unit.remediation import fix_factory as repo

from selfheal.api.policy import GuardsSpec
from selfheal.remediation import diff, guards
from selfheal.remediation.edits import Edit, Proposal, Refusal


def proposal(*edits: Edit, **files: bytes) -> Proposal:
    """Build a proposal from files alone: the guard must not trust the stated edits."""
    content = {name.replace("__", "/"): text for name, text in files.items()}
    return Proposal(
        summary="", edits=edits or (repo.edit(repo.APP, None, None),), files=content, diff=diff.render_diff(repo.FILES, content),
        risk="Low", risk_reason="", rollback="", arithmetic="", checks=(),
    )  # fmt: skip


def check(new: str | bytes, *edits: Edit, file: str = repo.FILE, files: dict[str, bytes] | None = None, path: str = repo.PATH, **settings: Any) -> str | None:
    content = new.encode() if isinstance(new, str) else new
    found = proposal(*edits, **{file: content})
    try:
        guards.check_proposal(found, guards=GuardsSpec(**settings), namespace="shop", mapped_path=path, files=files or repo.FILES)
    except Refusal as refused:
        return refused.reason
    return None


def replaced(old: str, new: str, **settings: Any) -> str | None:
    assert old in repo.TEXT
    return check(repo.TEXT.replace(old, new), **settings)


PROBE = repo.TEXT[repo.TEXT.index("        readinessProbe:") : repo.TEXT.index("        env:")]
LIMITS = "          limits:\n            memory: 64Mi\n            cpu: 0.5\n"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        # what a fix may do
        ("64Mi", "128Mi", None),
        ("nginx:9.9", "nginx:1.27", None),
        ("nginx:9.9", "nginx@sha256:ab", None),
        ("port: 8081", "port: 8080", None),
        ("path: /healthz", "path: /ready", None),
        ("            port: 8081\n", "            port: 8081\n            scheme: HTTPS\n", None),
        ("requests: {memory: 32Mi}", "requests: {memory: 32Mi, cpu: 10m}", None),
        ("cpu: 0.5", "cpu: 1", None),
        # probes are never removed or weakened
        (PROBE, "", "WeakensProbe"),
        ("          httpGet:\n            path: /healthz\n            port: 8081\n", "          tcpSocket:\n            port: 8081\n", "WeakensProbe"),
        ("periodSeconds: 2", "periodSeconds: 20", "WeakensProbe"),
        ("periodSeconds: 2", "periodSeconds: 2\n          failureThreshold: 30", "WeakensProbe"),
        ("path: /healthz", 'path: ""', "WeakensProbe"),
        # limits are never removed
        (LIMITS, "", "RemovesLimit"),
        ("            cpu: 0.5\n", "", "RemovesLimit"),
        ("requests: {memory: 32Mi}", "requests: {}", "RemovesLimit"),
        ("requests: {memory: 32Mi}", "requests: {memory: 32Mi, nvidia.com/gpu: 1}", "RemovesLimit"),
        # caps and quantities
        ("64Mi", "8Gi", "CapExceeded"),
        ("cpu: 0.5", "cpu: 5", "CapExceeded"),
        ("64Mi", "much", "UnreadableQuantity"),
        # images
        ("nginx:9.9", "nginx:latest", "LatestTag"),
        ("nginx:9.9", "nginx", "LatestTag"),
        ("nginx:9.9", "NGINX:1", "LatestTag"),
        ('        image: "nginx:9.9"   # bumped on Monday\n', "", "LatestTag"),
        # privileges
        ("      initContainers:", "      securityContext: {runAsUser: 0}\n      initContainers:", "WeakensSecurityContext"),
        ("      initContainers:", "      hostNetwork: true\n      initContainers:", "WeakensSecurityContext"),
        ("        image: busybox:1.36\n", "        image: busybox:1.36\n        securityContext: {privileged: true}\n", "WeakensSecurityContext"),
        ("      initContainers:", "      serviceAccountName: admin\n      initContainers:", "WidensRBAC"),
        # scale, data, other objects
        ("replicas: 2", "replicas: 0", "ScaleToZero"),
        ("replicas: 2", "replicas: 2\n  paused: true", "ScaleToZero"),
        ("      initContainers:", "      volumes: [{name: d, emptyDir: {}}]\n      initContainers:", "DeletesData"),
        ("kind: Deployment\nmetadata:\n  name: web", "kind: Deployment\nmetadata:\n  name: other", "AnotherApplication"),
        ("    matchLabels: {app: web}\n", "    matchLabels: {app: api}\n", "AnotherApplication"),
        ("kind: Deployment", "kind: Secret", "AnotherApplication"),
        # anything else
        ('value: "1"', 'value: "postgres://app:pw@db/x"', "TouchesSecret"),
        ("        env:", "        command: [rm, -rf, /data]\n        env:", "HidesFailure"),
        ("      - name: setup\n", "      - name: evil\n        image: a:1\n      - name: setup\n", "ChangeNotAllowed"),
        ("      - name: setup\n", "      - name: app\n", "ChangeNotAllowed"),
        ("  labels: {app: web}\nspec", "  labels: {app: web, x: y}\nspec", "ChangeNotAllowed"),
        ("spec: {selector: {app: web}", "spec: {selector: {app: api}", "AnotherApplication"),
        ("# the shop's front", "# another word", "NothingChanged"),
    ],
)  # fmt: skip
def test_the_gate_refuses_by_default(old: str, new: str, reason: str | None) -> None:
    assert replaced(old, new) == reason


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_lines": 1}, "TooManyLines"), ({"max_lines": 2}, None),
        ({"kinds": ["Job"]}, "KindNotAllowed"),
        ({"namespaces": ["other"]}, "NamespaceNotAllowed"), ({"namespaces": ["shop"]}, None),
        ({"max_memory": "100Mi"}, "CapExceeded"),
        ({"protected_paths": ["apps/shop/*"]}, "ProtectedPath"),
        ({"protected_paths": ["apps/"]}, "ProtectedPath"),
        ({"protected_paths": ["**/web.yaml"]}, "ProtectedPath"),
        ({"protected_paths": ["web.yaml", "app"]}, None),
        ({"path": "apps/other"}, "OutsidePath"),
        ({"path": "apps/sho"}, "OutsidePath"),
        ({"path": ""}, None), ({"path": "./"}, None), ({"path": repo.FILE}, None),
    ],
)  # fmt: skip
def test_the_policy_bounds_a_fix(settings: dict[str, Any], reason: str | None) -> None:
    assert replaced("64Mi", "128Mi", **settings) == reason


@pytest.mark.parametrize(
    ("file", "reason"),
    [("../x.yaml", "OutsidePath"), ("/x.yaml", "OutsidePath"), ("a/./x.yaml", "OutsidePath"), (".github/workflows/x.yaml", "ProtectedPath")],
)
def test_paths_that_leave_the_root_or_reach_pipelines_are_refused(file: str, reason: str) -> None:
    assert check("kind: Deployment\n", file=file, path="") == reason


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("ResourceQuota", "WeakensQuota"), ("LimitRange", "WeakensQuota"), ("NetworkPolicy", "WeakensNetworkPolicy"), ("ClusterRole", "WidensRBAC"),
        ("ClusterRoleBinding", "WidensRBAC"), ("Secret", "TouchesSecret"), ("ConfigMap", "KindNotAllowed"),
    ],
)  # fmt: skip
def test_guarding_kinds_are_never_changed_even_if_listed(kind: str, reason: str) -> None:
    file = f"{repo.PATH}/x.yaml"
    before = {file: f"kind: {kind}\nmetadata: {{name: x}}\nspec: {{a: 1}}\n".encode()}
    kinds = ["Deployment", *([kind] if kind != "ConfigMap" else [])]
    assert check(before[file].replace(b"a: 1", b"a: 2"), file=file, files=before, kinds=kinds) == reason


def test_documents_are_neither_removed_nor_added() -> None:
    assert check(repo.TEXT[: repo.TEXT.index("---")]) == "DeletesData"
    assert check(f"{repo.TEXT}---\nkind: Job\nmetadata: {{name: x}}\n") == "NewDocument"
    assert check("kind: Job\nmetadata: {name: x}\n", file=f"{repo.PATH}/new.yaml") == "NewDocument"
    assert check(f"{repo.TEXT}---\n- a\n") == "KindNotAllowed"


def test_another_namespace_is_refused() -> None:
    other = repo.TEXT.replace("  labels: {app: web}\nspec", "  namespace: bank\nspec")
    files = {repo.FILE: other.encode()}
    assert check(other.replace("64Mi", "128Mi"), files=files) == "AnotherNamespace"


def test_one_fix_touches_one_application() -> None:
    api = repo.TEXT.replace("web", "api")
    files = {repo.FILE: repo.FILES[repo.FILE], f"{repo.PATH}/api.yaml": api.encode()}
    both = {name: text.replace(b"64Mi", b"128Mi") for name, text in files.items()}
    edits = [repo.edit(repo.APP, 1, 2, file=name) for name in files]
    found = proposal(*edits, **both)

    def outcome(**settings: Any) -> str | None:
        try:
            guards.check_proposal(found, guards=GuardsSpec(**settings), namespace="shop", mapped_path=repo.PATH, files=files)
        except Refusal as refused:
            return refused.reason
        return None

    assert outcome() == "AnotherApplication"
    assert outcome(max_files=1) == "TooManyFiles"


def test_a_name_stands_for_the_application_where_no_label_does() -> None:
    bare = repo.TEXT.replace("  labels: {app: web}\nspec", "spec")
    files = {repo.FILE: bare.encode()}
    assert check(bare.replace("64Mi", "128Mi"), files=files) is None


def test_a_change_that_no_edit_names_is_refused() -> None:
    assert check(repo.TEXT.replace("64Mi", "128Mi"), repo.edit(repo.APP, 1, 2, document=0)) == "UndeclaredChange"


def test_a_line_of_image_automation_is_left_to_its_owner() -> None:
    marked = repo.TEXT.replace("# bumped on Monday", '# {"$imagepolicy": "flux-system:web"}')
    files = {repo.FILE: marked.encode()}
    assert check(marked.replace("nginx:9.9", "nginx:1.27"), files=files) == "FieldOwned"


def test_nothing_is_not_a_fix() -> None:
    assert check(repo.TEXT) == "NothingChanged"
