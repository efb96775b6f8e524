"""Images that cannot be pulled: wrong tag, wrong repository, unknown host, refused login."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import reference
from selfheal.diagnosis.evidence import Bundle, Finding, Item, ItemKind
from selfheal.diagnosis.reading import Container, Reading, dig, pod_containers, quote
from selfheal.diagnosis.reference import Reference

RANK = 10
WAITING = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})

_AMBIGUOUS = re.compile(r"repository does not exist or may require", re.IGNORECASE)
_REFUSED = re.compile(
    r"\b401\b|\b403\b|unauthorized|forbidden|authorization failed|access denied|authentication"
    r" required|no basic auth",
    re.IGNORECASE,
)
_MISSING = re.compile(r"not ?found|manifest unknown|name unknown|does not exist", re.IGNORECASE)
_NO_HOST = re.compile(r"no such host|server misbehaving", re.IGNORECASE)
_SECRETS = re.compile(r"pull secrets \(([^)]+)\)")
_UNREACHABLE = re.compile(
    r"connection refused|i/o timeout|no route to host|network is unreachable|deadline exceeded",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pull:
    """One failed pull with everything that is known of its repository."""

    container: Container
    image: Reference
    text: str
    tags: Item | None
    ran: tuple[tuple[Item, str], ...]  # images of this container that ran, most trusted first
    evidence: tuple[str, ...]
    absent: tuple[str, ...] = ()  # pull secrets that the pod names and that do not exist

    def finding(
        self, class_: IncidentClass, cause: str, confidence: float, fault: str, *more: Item
    ) -> Finding:
        """Return a finding of this pull."""
        listed = self.tags.value.get("tags") or [] if self.tags else []
        return Finding(
            class_=class_,
            cause=cause,
            confidence=confidence,
            evidence=tuple(dict.fromkeys((*self.evidence, *(item.id for item in more)))),
            container=self.container.name,
            rank=RANK,
            parameters={
                "image": self.container.image,
                "fault": fault,
                "ran": [image for _, image in self.ran],
                "tags": list(listed),
                "secretsMissing": list(self.absent),
                "tags_known": self.tags is not None and self.tags.value.get("exists") is not None,
            },
        )


WELL_KNOWN = (
    "alpine", "busybox", "caddy", "debian", "eclipse-temurin", "elasticsearch", "golang", "haproxy",
    "httpd", "mariadb", "memcached", "mongo", "mysql", "nginx", "node", "openjdk", "php",
    "postgres", "python", "rabbitmq", "redis", "ruby", "tomcat", "traefik", "ubuntu",
)  # fmt: skip
"""Names of Docker's official images (hub.docker.com/u/library) that typing errors often mean."""

MAX_ASKED = 8
"""Repositories that a registry is asked about for one diagnosis."""


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each container and image that cannot be pulled."""
    seen: set[tuple[str, str]] = set()
    for container in reading.containers:
        key = (container.name, container.image)
        if container.waiting_reason in WAITING and key not in seen:
            seen.add(key)
            yield _classify(_read(reading, container))


def _read(reading: Reading, container: Container) -> Pull:
    image = reference.parse(container.image)
    events = [
        event
        for event in reading.events("Failed", "InspectFailed", about=container.pod_name)
        if container.image in str(event.value.get("message", ""))
    ]
    texts = [container.waiting_message, *(str(event.value["message"]) for event in events)]
    tags = next(
        (
            item
            for item in reading.bundle.of(ItemKind.TAGS)
            if reference.parse(str(item.value["repository"])).repository == image.repository
        ),
        None,
    )
    broken = {entry.image for entry in reading.all_containers if entry.waiting_reason in WAITING}
    past: dict[str, Item] = {}
    for item, spec in reading.past_containers(container.name):
        if spec.get("image") not in (None, container.image, *broken):
            past.setdefault(spec["image"], item)
    retrieving = reading.events("FailedToRetrieveImagePullSecret", about=container.pod_name)
    absent = [name for event in retrieving for name in _absent(str(event.value["message"]))]
    return Pull(
        absent=tuple(dict.fromkeys(absent)),
        container=container,
        image=image,
        text="\n".join(texts),
        tags=tags,
        ran=tuple((item, text) for text, item in past.items()),
        evidence=(container.pod.id, *(event.id for event in (*events, *retrieving))),
    )


def _absent(message: str) -> list[str]:
    """Return the secrets that the kubelet could not get: they stand in brackets."""
    found = _SECRETS.search(message)
    return [name.strip() for name in found[1].split(",")] if found else []


def _classify(pull: Pull) -> Finding:
    if pull.container.waiting_reason == "InvalidImageName" or not pull.image.valid:
        return _invalid_name(pull)
    if _NO_HOST.search(pull.text):
        cause = f"The registry host {pull.image.host} of {pull.container.image} does not exist."
        return pull.finding(
            IncidentClass.IMAGE_PULL_BACK_OFF, cause, 0.95, "UnknownHost", *_history(pull)
        )
    if _AMBIGUOUS.search(pull.text) and pull.tags and pull.tags.value.get("exists") is False:
        return _missing_repository(pull, pull.tags)
    if _REFUSED.search(pull.text):
        return _refused(pull)
    if _MISSING.search(pull.text):
        return _missing(pull)
    if _UNREACHABLE.search(pull.text):
        cause = f"The registry {pull.image.host} of {pull.container.image} cannot be reached."
        return pull.finding(
            IncidentClass.IMAGE_PULL_BACK_OFF, cause, 0.7, "Unreachable", *_history(pull)
        )
    cause = f"{pull.container.image} cannot be pulled: {quote(pull.text)}"
    return pull.finding(IncidentClass.IMAGE_PULL_BACK_OFF, cause, 0.6, "Unknown")


def _history(pull: Pull) -> tuple[Item, ...]:
    return tuple(item for item, _ in pull.ran[:1])


def _invalid_name(pull: Pull) -> Finding:
    cause = f"{pull.container.image} is not a valid image reference."
    return pull.finding(
        IncidentClass.IMAGE_PULL_BACK_OFF, cause, 0.95, "InvalidName", *_history(pull)
    )


def _refused(pull: Pull) -> Finding:
    certain = not _AMBIGUOUS.search(pull.text)
    cause = (
        f"The registry {pull.image.host} refuses to serve {pull.container.image} without a login."
    )
    named = [name for name in _pull_secrets(pull.container) if name not in pull.absent]
    if pull.absent:
        cause += f" The pull secret {', '.join(pull.absent)} that the pod names does not exist."
    elif named:
        cause = (
            f"The registry {pull.image.host} refuses to serve {pull.container.image} to the login "
            f"of the pull secret {', '.join(named)} that the pod names."
        )
    if not certain:
        cause = (
            f"{pull.image.repository} does not exist or needs a login; the registry does not say."
        )
    return pull.finding(IncidentClass.REGISTRY_AUTH, cause, 0.95 if certain else 0.6, "Refused")


def _pull_secrets(container: Container) -> list[str]:
    entries = dig(container.pod.value, "spec").get("imagePullSecrets") or ()
    return [str(entry.get("name")) for entry in entries]


def _missing(pull: Pull) -> Finding:
    if pull.tags is not None and pull.tags.value.get("exists") is False:
        return _missing_repository(pull, pull.tags)
    wanted = pull.image.tag or "latest"
    if pull.tags is not None and pull.tags.value.get("exists"):
        listed = pull.tags.value.get("tags") or []
        if wanted in listed and pull.image.digest is None:
            cause = f"{pull.container.image} was not found, but the registry lists it now."
            return pull.finding(
                IncidentClass.IMAGE_PULL_BACK_OFF, cause, 0.5, "ListedNow", pull.tags
            )
        what = f"digest {pull.image.digest}" if pull.image.digest else f"tag {wanted}"
        cause = f"{pull.image.repository} has no {what} (the registry lists {len(listed)} tags)."
        return pull.finding(
            IncidentClass.INVALID_IMAGE_TAG, cause, 0.95, "MissingTag", pull.tags, *_history(pull)
        )
    for item, image in pull.ran:
        if reference.parse(image).repository == pull.image.repository:
            cause = f"{pull.container.image} was not found; {image} of the same repository ran."
            return pull.finding(IncidentClass.INVALID_IMAGE_TAG, cause, 0.8, "MissingTag", item)
    cause = (
        f"{pull.container.image} was not found, and nothing of {pull.image.repository} ever ran."
    )
    return pull.finding(
        IncidentClass.IMAGE_PULL_BACK_OFF, cause, 0.8 if pull.ran else 0.6, "MissingRepository",
        *_history(pull),
    )  # fmt: skip


def _missing_repository(pull: Pull, tags: Item) -> Finding:
    cause = f"The registry {pull.image.host} has no repository {pull.image.path}."
    return pull.finding(
        IncidentClass.IMAGE_PULL_BACK_OFF, cause, 0.95, "MissingRepository", tags, *_history(pull)
    )


def worth_asking(bundle: Bundle) -> tuple[str, ...]:
    """Return images whose repositories' tags would help, at most 8; failing ones come first.

    Those are the failing images, what ran before them, and near names of siblings and well-known
    images. Pure, may be repeated; nothing of it is proven until the registry has answered.
    """
    reading = Reading(bundle=bundle)
    pulls = [
        _read(reading, entry) for entry in reading.containers if entry.waiting_reason in WAITING
    ]
    known = [*sibling_images(reading), *WELL_KNOWN]
    found = [
        *(pull.container.image for pull in pulls),
        *(pull.container.image.lower() for pull in pulls if not pull.image.valid),
        *(image for pull in pulls for _, image in pull.ran),
        *(image for pull in pulls for image in known if _is_near(pull.image, image)),
    ]
    by_repository: dict[str, str] = {}
    for image in found:
        by_repository.setdefault(reference.parse(image).repository, image)
    return tuple(by_repository.values())[:MAX_ASKED]


def _is_near(wanted: Reference, image: str) -> bool:
    other = reference.parse(image)
    same_path = other.path == wanted.path.lower() and other.host != wanted.host
    near = reference.is_near_repository(wanted.repository.lower(), other.repository)
    return other.valid and (same_path or near)


def sibling_images(reading: Reading) -> Iterator[str]:
    """Iterate over images of the same pods and of other workloads of the namespace."""
    for item in reading.bundle.of(ItemKind.SIBLING):
        yield from item.value.get("images") or ()
    for pod in reading.pods:
        for spec in pod_containers(pod.value.get("spec") or {}):
            yield str(spec.get("image", ""))
