"""What control counts."""

from prometheus_client import Counter, Gauge, Histogram

from dormouse.base.metrics import REGISTRY

HTTP_REQUESTS = Counter(
    "dormouse_control_http_requests_total",
    "API requests by route and status.",
    ["method", "route", "status"],
    registry=REGISTRY,
)

HTTP_SECONDS = Histogram(
    "dormouse_control_http_seconds",
    "How long API requests took, by route.",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)

HTTP_CONNECTIONS = Gauge(
    "dormouse_control_http_connections", "Connections to the API.", registry=REGISTRY
)

HTTP_CUT = Counter(
    "dormouse_control_http_cut_total",
    "Connections to the API that were ended, by reason: handshake, head, bad_request, unread,"
    " evicted, full, address_full.",
    ["reason"],
    registry=REGISTRY,
)

PODS_ISSUED = Counter(
    "dormouse_control_pods_issued_total", "Pod certificates issued.", registry=REGISTRY
)

USAGE_REPORTS = Counter(
    "dormouse_control_usage_reports_total",
    "Usage reports by what became of them: added, repeated, contradicted.",
    ["outcome"],
    registry=REGISTRY,
)

STATEMENT_REPORTS = Counter(
    "dormouse_control_statement_reports_total",
    "Reports of what statements cost by what became of them: added, repeated.",
    ["outcome"],
    registry=REGISTRY,
)

QUOTAS_TOLD = Counter(
    "dormouse_control_quotas_told_total",
    "Times storage was told how much tenants may store, by outcome: heard, unavailable.",
    ["outcome"],
    registry=REGISTRY,
)

TENANTS_TO_PURGE = Gauge(
    "dormouse_control_tenants_to_purge",
    "Deleted tenants whose data is not gone yet.",
    registry=REGISTRY,
)

WATCHERS = Gauge(
    "dormouse_control_watchers",
    "Roles that follow the tenants' changes now.",
    registry=REGISTRY,
)

WATCHERS_CUT = Counter(
    "dormouse_control_watchers_cut_total",
    "Streams of tenants' changes that were ended or not begun, by reason: too_slow, too_many.",
    ["reason"],
    registry=REGISTRY,
)

TENANT_CHANGES = Counter(
    "dormouse_control_tenant_changes_total",
    "Changes of tenants that were told to the watchers: settings, deleted.",
    ["kind"],
    registry=REGISTRY,
)

SETTINGS_CHANGES = Counter(
    "dormouse_control_settings_changes_total",
    "Changes of tenants' settings, by setting.",
    ["setting"],
    registry=REGISTRY,
)

STORAGE_SAMPLES = Counter(
    "dormouse_control_storage_samples_total",
    "Samples of what tenants store, by outcome: taken, unavailable.",
    ["outcome"],
    registry=REGISTRY,
)

STORED_BYTES = Gauge(
    "dormouse_control_stored_bytes",
    "What all tenants store, as of the last sample.",
    registry=REGISTRY,
)

USAGE_COMPACTED = Counter(
    "dormouse_control_usage_compacted_total",
    "Rows of the usage ledger that were deleted because of their age.",
    registry=REGISTRY,
)

AUDIT_ENTRIES = Counter(
    "dormouse_control_audit_entries_total",
    "Changes in the audit log, by action.",
    ["action"],
    registry=REGISTRY,
)

REFUSED = Counter(
    "dormouse_control_refused_total",
    "API requests that were not let in, by reason: rate_key, rate_address, forbidden, hidden.",
    ["reason"],
    registry=REGISTRY,
)

IDEMPOTENT = Counter(
    "dormouse_control_idempotent_total",
    "Requests with an idempotency key: first, repeated, contradicted, lost, in_progress.",
    ["outcome"],
    registry=REGISTRY,
)

BACKUPS = Counter(
    "dormouse_control_backups_total",
    "Backups and restores, by how they ended.",
    ["action", "outcome"],
    registry=REGISTRY,
)
OPERATIONS = Counter(
    "dormouse_control_operations_total",
    "Long actions that ended, by kind and status.",
    ["kind", "status"],
    registry=REGISTRY,
)

TIDIED = Counter(
    "dormouse_control_tidied_total",
    "Rows that were old enough to be forgotten, by table.",
    ["table"],
    registry=REGISTRY,
)

EVENTS = Counter(
    "dormouse_control_events_total",
    "Events that were written down, by kind (docs/events.md).",
    ["kind"],
    registry=REGISTRY,
)

SEALED_ANEW = Counter(
    "dormouse_control_sealed_anew_total",
    "Secrets of the registry that were sealed anew under a newer key.",
    registry=REGISTRY,
)

OWNERS_UNTOLD = Gauge(
    "dormouse_control_owners_untold",
    "Tenants with a new password that their running pods may not know yet.",
    registry=REGISTRY,
)

WEBHOOK_ATTEMPTS = Counter(
    "dormouse_control_webhook_attempts_total",
    "Deliveries that were attempted, by outcome: delivered, refused, timeout, unreachable,"
    " not_allowed, broken (on this side).",
    ["outcome"],
    registry=REGISTRY,
)

WEBHOOK_SECONDS = Histogram(
    "dormouse_control_webhook_seconds",
    "How long attempts to deliver took, whatever came of them.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
    registry=REGISTRY,
)

WEBHOOK_GIVEN_UP = Counter(
    "dormouse_control_webhook_given_up_total",
    "Deliveries that never arrived and are attempted no more.",
    registry=REGISTRY,
)

WEBHOOK_WAITING = Gauge(
    "dormouse_control_webhook_waiting",
    "Deliveries that wait for an attempt, as of the last minute.",
    registry=REGISTRY,
)

WEBHOOK_OLDEST_SECONDS = Gauge(
    "dormouse_control_webhook_oldest_seconds",
    "Age of the oldest event that waits to be delivered, as of the last minute.",
    registry=REGISTRY,
)

WEBHOOKS_DISABLED = Counter(
    "dormouse_control_webhooks_disabled_total",
    "Webhooks that were disabled by themselves, by reason: failing, gone.",
    ["reason"],
    registry=REGISTRY,
)

SPEND_LEAVES = Counter(
    "dormouse_control_spend_leaves_total",
    "Leaves to spend that pods were told, by state: free, open, throttled, stopped.",
    ["state"],
    registry=REGISTRY,
)

SPEND_PODS = Gauge(
    "dormouse_control_spend_pods",
    "Pods that listen for their leave to spend, by the state they were told last.",
    ["state"],
    registry=REGISTRY,
)

SPEND_LIMITS = Gauge(
    "dormouse_control_spend_limits",
    "Tenants and organisations with a spend limit.",
    registry=REGISTRY,
)

SPEND_NOTICES = Counter(
    "dormouse_control_spend_notices_total",
    "Notices of spend limits that were given, by percentage.",
    ["percent"],
    registry=REGISTRY,
)

SPEND_OVER = Counter(
    "dormouse_control_spend_over_total",
    "By how much limits that stop were passed: millionths of a request unit, or of the currency.",
    ["unit"],
    registry=REGISTRY,
)

SPEND_ROUND_SECONDS = Histogram(
    "dormouse_control_spend_round_seconds",
    "How long it took to decide what the pods of an account may spend, and to write it down.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
    registry=REGISTRY,
)

INVOICES = Counter(
    "dormouse_control_invoices_total",
    "Months of organisations that were over, by what became of them: `closed` (an invoice), `empty`"
    " (nothing to invoice), `contradicted` (the sums do not add up; tried again), `failed`.",
    ["outcome"],
    registry=REGISTRY,
)

INVOICES_DUE = Gauge(
    "dormouse_control_invoices_due",
    "Organisations with a month that is over and settled and not closed, at the last look.",
    registry=REGISTRY,
)

INVOICE_SECONDS = Histogram(
    "dormouse_control_invoice_close_seconds",
    "How long it took to close a month of an organisation.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)

CERTIFICATES_RENEWED = Counter(
    "dormouse_control_certificates_renewed_total",
    "Certificates that were issued anew while roles ran.",
    registry=REGISTRY,
)

ROTATION_PHASE = Gauge(
    "dormouse_control_rotation_phase",
    "1 for the phase that a rotation of the authority is in; 0 for all: none is under way.",
    ["phase"],
    registry=REGISTRY,
)

PODS_REVOKED = Counter(
    "dormouse_control_pods_revoked_total", "Pods that were revoked.", registry=REGISTRY
)
