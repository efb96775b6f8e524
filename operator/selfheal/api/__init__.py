"""What users write and read: the kinds of group selfheal.dev, version v1alpha1."""

GROUP = "selfheal.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
