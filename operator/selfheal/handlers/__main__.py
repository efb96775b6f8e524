"""Registers on kopf's default registry, for ``kopf run -A --standalone -m`` this module."""

from selfheal.handlers.registration import register

register()
