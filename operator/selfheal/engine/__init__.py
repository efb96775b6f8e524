"""One step function over all incidents: observe, decide, perform one effect, save."""
