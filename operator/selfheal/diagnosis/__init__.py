"""Evidence to findings: pure rules, one module a family of incident classes."""
