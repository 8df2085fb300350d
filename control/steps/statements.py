"""What statements and roles cost."""

STEP: tuple[str, ...] = ()
