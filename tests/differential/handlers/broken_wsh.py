"""Raises when it is loaded, so that nothing serves its resource."""

raise RuntimeError("broken on purpose")
