"""A small real model and its server, put together from package parts, for evals without the internet."""
