"""Adapter of the Renderer port: the real kustomize and helm, confined."""

from selfheal.adapters.render.renderer import ConfinedRenderer

__all__ = ["ConfinedRenderer"]
