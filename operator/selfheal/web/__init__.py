"""What the operator serves over HTTP: webhooks in, metrics and health out."""
