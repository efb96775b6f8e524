"""Registers on kopf's default registry: ``kopf run -A --standalone -m selfheal.handlers.__main__``."""

from selfheal.handlers.registration import register

register()
