"""A small continuous-delivery stand-in: what is merged is applied to the cluster, as a pipeline would."""
