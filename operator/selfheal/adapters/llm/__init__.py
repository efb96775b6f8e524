"""Adapter of the LanguageModel port for OpenAI-compatible endpoints."""

from __future__ import annotations

from selfheal.adapters.llm.openai_model import OpenAIModel

__all__ = ["OpenAIModel"]
