"""The sandbox's pipeline: which images it builds, and what then names them."""

from __future__ import annotations

import pathlib

from hack.cluster.ui import ClusterError
from hack.sandbox.delivery import builds

FILES = {
    "services/shop/cart/Dockerfile": b"FROM x\n", "services/shop/cart/app/main.py": b"1\n",
    "services/shop/cart/old/Dockerfile": b"FROM y\n", "services/shop/README.md": b"#\n",
}  # fmt: skip


def test_each_folder_with_a_dockerfile_is_a_service() -> None:
    assert builds.find_services(FILES) == ["services/shop/cart"]
    assert builds.name_image("services/shop/cart") == "docker.io/sandbox/shop-cart"
    changed = {**FILES, "services/shop/cart/app/main.py": b"2\n"}
    assert builds.digest(FILES, "services/shop/cart") != builds.digest(changed, "services/shop/cart")
    assert builds.digest(FILES, "services/shop/cart") == builds.digest({**FILES, "apps/x": b""}, "services/shop/cart")


def test_an_image_says_where_it_comes_from() -> None:
    seen = {}

    def run(place: pathlib.Path, image: str, labels: dict[str, str]) -> None:
        seen.update(labels, image=image, files=sorted(str(one.relative_to(place)) for one in place.rglob("*.*")))

    image, problem = builds.build(FILES, "services/shop/cart", "abcdef0123456789", "http://git/acme/shop", run)
    assert (image, problem) == ("docker.io/sandbox/shop-cart:abcdef012345", None)
    assert seen == {
        "image": image, "files": ["app/main.py"], "org.opencontainers.image.source": "http://git/acme/shop",
        "org.opencontainers.image.revision": "abcdef0123456789",
    }  # fmt: skip


def test_a_build_that_fails_is_said() -> None:
    def run(*_: object) -> None:
        raise ClusterError("no space")

    assert builds.build(FILES, "services/shop/cart", "abcdef", "s", run)[1] == "services/shop/cart: no space"


def test_manifests_name_the_new_image_and_nothing_else_changes() -> None:
    text = b"# one\nimage: docker.io/sandbox/shop-cart:unbuilt  # keep\nother: docker.io/sandbox/shop-cart-2:1\n"
    manifests = {"apps/shop/a.yaml": text, "apps/shop/b.yaml": b"image: nginx:1\n", "apps/shop/c.txt": text}
    found = builds.set_image(manifests, "docker.io/sandbox/shop-cart:new")
    assert found == {"apps/shop/a.yaml": text.replace(b"cart:unbuilt", b"cart:new")}
