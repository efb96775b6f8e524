from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import images, reading, reference, registry
from selfheal.diagnosis.evidence import Finding, Item

NOT_FOUND = (
    'Back-off pulling image "{0}": ErrImagePull: rpc error: code = NotFound desc = failed to pull and '
    'unpack image "{0}": failed to resolve reference "{0}": {0}: not found'
)


def pull(image: str, text: str, *more: Item, waiting: str = "ImagePullBackOff") -> Finding:
    failing = make.pod(
        containers=[make.container(image=image)],
        statuses=[make.status(waiting=waiting, message=text.format(image))],
    )
    return registry.diagnose(make.bundle(failing, *more))[0]


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("nginx", "docker.io/library/nginx", None, None),
        ("nginx:1.27", "docker.io/library/nginx", "1.27", None),
        ("bitnami/nginx:1", "docker.io/bitnami/nginx", "1", None),
        ("index.docker.io/library/nginx:1", "docker.io/library/nginx", "1", None),
        ("localhost/a:1", "localhost/a", "1", None),
        ("registry.local:5000/team/web:v1", "registry.local:5000/team/web", "v1", None),
        ("registry.local:5000/web", "registry.local:5000/web", None, None),
        ("ghcr.io/a/b@sha256:ab", "ghcr.io/a/b", None, "sha256:ab"),
        ("ghcr.io/a/b:1@sha256:ab", "ghcr.io/a/b", "1", "sha256:ab"),
    ],
)
def test_references_are_split_as_runtimes_do(text: str, repository: str, tag: str | None, digest: str | None) -> None:
    found = reference.parse(text)
    assert (found.repository, found.tag, found.digest, found.valid) == (repository, tag, digest, True)


@pytest.mark.parametrize("text", ["Nginx:1", "nginx:", "a//b:1", "nginx:-x", ""])
def test_invalid_references_are_told(text: str) -> None:
    assert reference.parse(text).valid == (text == "nginx:")


def test_another_tag_keeps_the_name_as_written() -> None:
    assert reference.parse("nginx:1@sha256:ab").with_tag("2") == "nginx:2"


@pytest.mark.parametrize(
    ("wanted", "tags", "nearest"),
    [
        ("1.99", ["1.25", "1.27", "1.26", "latest"], "1.27"),
        ("1.20", ["1.25", "1.27"], "1.25"),
        ("9.9", ["1.25", "1.27"], "1.27"),
        ("0.1", ["1.25", "1.27"], "1.25"),
        ("1.99-alpine", ["1.27", "1.26-alpine"], "1.26-alpine"),
        ("v1.3", ["1.3", "v1.2"], "v1.2"),
        ("1.27-alpin", ["1.27-alpine", "3"], "1.27-alpine"),
        ("1.72", ["1.27", "1.27.0", "1.26"], "1.27"),
        ("1.27.99", ["1.27", "1.27.0", "1.27.3"], "1.27.3"),
        ("1.27.99", ["1.27", "1.26.1"], "1.27"),
        ("stabel", ["stable", "edge"], "stable"),
        ("stable", ["latest"], None),
        ("1.0", ["latest"], None),
        ("abcd1", ["abcd2", "abcd3"], None),
        ("", [], None),
    ],
)
def test_the_nearest_tag_is_of_the_same_variant_and_never_latest(wanted: str, tags: list[str], nearest: str | None) -> None:
    assert reference.nearest_tag(wanted, tags) == nearest


@hypothesis.given(st.text("lates0123456789.-v", max_size=8), st.lists(st.text("lates0123456789.-v", min_size=1, max_size=8)))
@hypothesis.settings(deadline=None, derandomize=True)
def test_a_nearest_tag_exists_and_is_allowed(wanted: str, tags: list[str]) -> None:
    found = reference.nearest_tag(wanted, [*tags, "latest"])
    assert found is None or (found in tags and found not in reference.FORBIDDEN_TAGS)


def test_majors_are_compared_only_between_versions() -> None:
    assert reference.same_major("1.2", "1.9-alpine")
    assert not reference.same_major("1.2", "2.0")
    assert not reference.same_major("stable", "1.0")
    assert not reference.same_major("1.0", "stable")


def test_a_tag_that_the_registry_does_not_list_is_an_invalid_tag() -> None:
    found = pull("nginx:9.9", NOT_FOUND, make.tags("docker.io/library/nginx", "1.26", "1.27"))
    assert found.class_ is IncidentClass.INVALID_IMAGE_TAG
    assert found.confidence == 0.95
    assert "tags/docker.io/library/nginx" in found.evidence
    assert found.parameters["tags"] == ["1.26", "1.27"]
    assert found.parameters["tags_known"] is True


def test_a_missing_digest_is_an_invalid_tag_too() -> None:
    found = pull("nginx:1.27@sha256:00", NOT_FOUND, make.tags("nginx", "1.27"))
    assert found.class_ is IncidentClass.INVALID_IMAGE_TAG
    assert "digest sha256:00" in found.cause


def test_a_tag_listed_meanwhile_is_not_sure() -> None:
    found = pull("nginx:1.27", NOT_FOUND, make.tags("nginx", "1.27"))
    assert (found.parameters["fault"], found.confidence) == ("ListedNow", 0.5)


def test_without_the_registry_history_tells_a_wrong_tag() -> None:
    history = [make.replica_set(2, [make.container(image="nginx:9")]), make.replica_set(1, [make.container(image="nginx:1.27")], ready=1)]
    found = pull("nginx:9", NOT_FOUND, *history)
    assert (found.class_, found.confidence) == (IncidentClass.INVALID_IMAGE_TAG, 0.8)
    assert found.parameters["ran"] == ["nginx:1.27"]
    assert "replicaset/web-r1" in found.evidence
    assert found.parameters["tags_known"] is False


def test_a_repository_that_never_ran_is_a_wrong_repository() -> None:
    history = [make.replica_set(2, [make.container(image="ngnix:1")]), make.replica_set(1, [make.container(image="nginx:1.27")])]
    with_history, without = pull("ngnix:1", NOT_FOUND, *history), pull("ngnix:1", NOT_FOUND)
    assert with_history.class_ is without.class_ is IncidentClass.IMAGE_PULL_BACK_OFF
    assert (with_history.confidence, without.confidence) == (0.8, 0.6)


def test_a_repository_that_the_registry_lacks_is_a_wrong_repository() -> None:
    found = pull("ngnix:1", NOT_FOUND, make.tags("ngnix", exists=False))
    assert (found.class_, found.confidence) == (IncidentClass.IMAGE_PULL_BACK_OFF, 0.95)
    assert found.parameters["fault"] == "MissingRepository"


def test_a_registry_that_did_not_answer_leaves_it_to_history() -> None:
    found = pull("ngnix:1", NOT_FOUND, make.tags("ngnix", exists=None))
    assert found.confidence == 0.6
    assert found.parameters["tags_known"] is False


@pytest.mark.parametrize(
    ("text", "fault", "class_", "confidence"),
    [
        ("dial tcp: lookup nope.example: no such host", "UnknownHost", IncidentClass.IMAGE_PULL_BACK_OFF, 0.95),
        ("dial tcp 127.0.0.1:1: connect: connection refused", "Unreachable", IncidentClass.IMAGE_PULL_BACK_OFF, 0.7),
        ("unexpected status from HEAD request: 401 Unauthorized", "Refused", IncidentClass.REGISTRY_AUTH, 0.95),
        ("pull access denied, repository does not exist or may require authorization", "Refused", IncidentClass.REGISTRY_AUTH, 0.6),
        ("no match for platform in manifest", "Unknown", IncidentClass.IMAGE_PULL_BACK_OFF, 0.6),
    ],
)
def test_the_kubelets_words_decide(text: str, fault: str, class_: IncidentClass, confidence: float) -> None:
    found = pull("nope.example/web:1", text)
    assert (found.parameters["fault"], found.class_, found.confidence) == (fault, class_, confidence)


def test_an_ambiguous_refusal_is_a_wrong_repository_when_the_registry_says_so() -> None:
    text = "pull access denied, repository does not exist or may require authorization"
    assert pull("ngnix:1", text, make.tags("ngnix", exists=False)).class_ is IncidentClass.IMAGE_PULL_BACK_OFF
    assert pull("ngnix:1", text, make.tags("ngnix", "1")).class_ is IncidentClass.REGISTRY_AUTH


def test_an_invalid_name_is_a_wrong_repository() -> None:
    found = pull("Nginx:1", 'Failed to apply default image tag "Nginx:1": invalid reference format', waiting="InvalidImageName")
    assert (found.class_, found.parameters["fault"]) == (IncidentClass.IMAGE_PULL_BACK_OFF, "InvalidName")


def test_events_of_this_image_are_quoted_and_read() -> None:
    event = make.event("Failed", 'Failed to pull image "nginx:9": 401 Unauthorized')
    other = make.event("Failed", 'Failed to pull image "other:1": 401 Unauthorized')
    found = pull("nginx:9", "", event, other)
    assert found.class_ is IncidentClass.REGISTRY_AUTH
    assert found.evidence == ("pod/web-1", event.id)


def test_two_pods_with_the_same_image_are_one_finding_and_running_ones_are_history() -> None:
    failing = [
        make.pod(name, containers=[make.container(image="nginx:9")], statuses=[make.status(waiting="ErrImagePull", message="not found")])
        for name in ("web-1", "web-2")
    ]
    running = make.pod("web-0", containers=[make.container(image="nginx:1.27")], statuses=[make.status(ready=True)], ready=True)
    found = registry.diagnose(make.bundle(*failing, running))
    assert len(found) == 1
    assert found[0].parameters["ran"] == ["nginx:1.27"]


def test_sibling_images_include_other_containers() -> None:
    view = reading.Reading(bundle=make.bundle(make.sibling("api", "api:1"), make.pod(init=[make.container("i", "busybox:1")])))
    assert list(images.sibling_images(view)) == ["api:1", "busybox:1", "nginx:1.27"]


def test_a_revision_with_the_same_image_is_no_proof_that_it_ran() -> None:
    history = [make.replica_set(2, []), make.replica_set(1, [make.container(image="nginx:9")])]
    assert pull("nginx:9", NOT_FOUND, *history).parameters["ran"] == []


def test_the_newest_plain_version_is_told_from_variants() -> None:
    assert reference.newest_tag(["1.9", "1.27", "1.28-alpine", "stable", "latest"]) == "1.27"
    assert reference.newest_tag(["stable"]) is None


@pytest.mark.parametrize(
    ("wanted", "known", "near"),
    [
        ("docker.io/library/ngnix", ["docker.io/library/nginx", "docker.io/library/redis"], "docker.io/library/nginx"),
        ("docker.io/library/ngnix", ["docker.io/library/redis", "docker.io/nginx"], None),
        ("host/webs", ["host/web1", "host/web2"], None),
    ],
)
def test_repositories_are_compared_part_by_part(wanted: str, known: list[str], near: str | None) -> None:
    assert reference.only_near_repository(wanted, known) == near


def test_the_registry_is_asked_about_what_may_be_meant() -> None:
    def failing(image: str, *more: Item) -> tuple[str, ...]:
        status = make.status(waiting="ImagePullBackOff", message="not found")
        return images.worth_asking(make.bundle(make.pod(containers=[make.container(image=image)], statuses=[status]), *more))

    assert failing("ngnix:1") == ("ngnix:1", "nginx")
    history = [make.replica_set(2, []), make.replica_set(1, [make.container(image="nginx:1.25")])]
    assert failing("ngnix:1", *history, make.sibling("a", "redis:7", "NGNIX")) == ("ngnix:1", "nginx:1.25")
    moved = make.sibling("a", "registry.local:5000/shop/web:1", "registry.local:5000/shop/webs:1")
    assert failing("registry.lokal:5000/shop/web:2", moved) == ("registry.lokal:5000/shop/web:2", "registry.local:5000/shop/web:1", "registry.local:5000/shop/webs:1")
    assert failing("Shop/WEB:2") == ("Shop/WEB:2", "shop/web:2")
    assert failing("ghcr.io/library/nginx:1") == ("ghcr.io/library/nginx:1", "nginx")
    assert images.worth_asking(make.bundle(make.pod())) == ()
    many = [make.sibling(str(n), f"host{n}.example/shop/web:1") for n in range(20)]
    assert len(failing("hostx.example/shop/web:1", *many)) == images.MAX_ASKED


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ("Unable to retrieve some image pull secrets (team-pul, other); attempting to pull the image may not succeed.", ["team-pul", "other"]),
        ("Unable to retrieve", []),
    ],
)
def test_a_pull_secret_that_does_not_exist_is_named(message: str, names: list[str]) -> None:
    event = make.event("FailedToRetrieveImagePullSecret", message)
    found = pull("nginx:9", "401 Unauthorized", event)
    assert found.parameters["secretsMissing"] == names
    assert event.id in found.evidence
    assert ("team-pul, other that the pod names does not exist" in found.cause) is bool(names)


def test_a_login_that_the_registry_refuses_is_named() -> None:
    failing = make.pod(
        containers=[make.container(image="reg.example/web:1")], statuses=[make.status(waiting="ErrImagePull", message="401 Unauthorized")]
    )
    failing.value["spec"]["imagePullSecrets"] = [{"name": "registry-login"}]
    (found,) = registry.diagnose(make.bundle(failing))
    assert "to the login of the pull secret registry-login that the pod names" in found.cause
