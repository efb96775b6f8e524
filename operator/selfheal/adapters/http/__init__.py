"""Plain HTTP counterparts: image registries."""
