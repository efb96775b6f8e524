"""Adapter of the LanguageModel port for OpenAI-compatible endpoints."""
