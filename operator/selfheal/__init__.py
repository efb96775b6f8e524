"""selfheal: a Kubernetes operator that heals incidents at the source of truth."""
