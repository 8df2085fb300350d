"""Events, webhooks and deliveries."""

STEP: tuple[str, ...] = ()
