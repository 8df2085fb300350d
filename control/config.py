"""Settings of the control role."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """Where control keeps its state, where it listens, and whom it asks."""

    registry: Path
    """The SQLite file of tenants, keys and usage; created on the first start."""

    authority: Path
    """Folder of the certificate authority: `ca.key` (mode 0600) and `ca.crt`."""

    certs: Path
    """Folder with this role's own `control.key`, `control.crt` and `ca.crt`."""

    rpc_address: str
    """host:port of the internal gRPC service."""

    autoscaler_address: str
    storage_address: str

    api_fds: list[int] = field(default_factory=list)
    """Inherited listening sockets of the HTTP API. They outlive this process, so a restart refuses
    no connection. Empty: bind `api_host` and `api_port`."""

    api_host: str = "127.0.0.1"
    api_port: int = 0

    api_certificate: Path | None = None
    """The API answers over TLS with this chain (PEM), read again when it changes. None: without
    TLS, on loopback only."""

    api_private_key: Path | None = None
    """The key (PEM, not encrypted) of `api_certificate`."""

    api_insecure: bool = False
    """Let the API answer on other addresses than loopback without TLS."""

    admin_key_hash: str = ""
    """SHA-256 (hex) of the operator's key; registered at every start. Empty: keys are those that
    the registry has."""

    sql_host: str = "localhost"
    """The host in connection URLs."""

    sql_port: int = 5433
    """The port in connection URLs: the proxy's."""

    sql_domain: str = "dormouse.localhost"
    """Tenants are `<name>-<id>.<sql_domain>` to clients that send the server name."""

    ca_file: Path | None = None
    """What clients verify the proxy with, as an absolute path in connection URLs. None: the proxy's
    certificate is of a public authority, and the URLs name no file."""

    status_file: Path | None = None
    """What the supervisor writes about every role. None: nobody supervises on this machine."""

    manages_certificates: bool = False
    """Whether control keeps every role's certificate in `certs` fresh, and `ca_file`: where all of
    them are on this machine."""

    authority_settle_seconds: float = 10.0
    """How long roles may take to read new certificates from their files; a rotation of the
    authority waits that long in each phase."""

    pod_certificate_days: int = 7
    """Life of a tenant pod's certificate, which is also the longest life of a pod."""

    tenant_connections_max: int = 1_000
    """Client connections of one tenant that the proxy lets in at a time."""

    tenant_storage_max_bytes: int = 0
    """Bytes of current rows of a tenant that has no limit of its own; 0: as many as it likes."""

    tenant_recovery_window_seconds: int = 86_400
    """How far back the rows of a tenant without a window of its own can be read as they were; what
    is superseded is stored, and billed, as long."""

    price_book: Path | None = None
    """A JSON file with the versions of the prices (docs/usage.md). None: the built-in prices."""

    invoice_settle_hours: float = 24.0
    """How long after its end a month is closed; reports that come later go to the next invoice."""

    invoice_check_seconds: float = 300.0
    """Between two looks for months that are to be closed; the first is as long after the start."""

    invoice_number_prefix: str = ""
    """Before the number of each invoice; numbers have no gap."""

    invoice_payment_days: int = 30
    """From an invoice's date to the day it is due."""

    invoice_font: Path | None = None
    """A TrueType font that invoices are printed in, with all their text. None: the viewer's fonts,
    for Latin letters, Japanese, Chinese and Korean."""

    seller_name: str = ""
    """Who sends the invoices."""

    seller_address: str = ""
    """Of the seller; lines of text."""

    seller_tax_id: str = ""
    """As it is to be printed, with its name: `Registration number T1234567890123`."""

    seller_note: str = ""
    """Lines of text on every invoice: how to pay."""

    tax_label: str = "Tax"
    """What the tax is called on invoices."""

    tax_percent: str = "0"
    """A decimal number; on the net amount of each invoice."""

    storage_sample_seconds: float = 60.0
    """Between two samples of what tenants store."""

    usage_entries_days: float = 3.0
    """How long single entries of the usage ledger are kept; their sums stay."""

    usage_hours_days: float = 100.0
    """How long sums over hours are kept; those over days and months stay."""

    peer_timeout_seconds: float = 2.0
    """How long the API waits for the autoscaler's live picture; then states read `unknown`."""

    requests_max: int = 256
    """HTTP requests in work at a time; one more is answered 503."""

    body_bytes_max: int = 64 * 1024
    """A larger request body is answered 413."""

    connections_max: int = 1_000
    """Connections to the API at a time; for one more, the longest idle one goes."""

    connections_per_address: int = 200
    """Of them from one address (an IPv6 /64)."""

    handshake_seconds: float = 10.0
    """For TLS, from the moment a connection is accepted."""

    head_seconds: float = 10.0
    """For the head of a request, from the connection's begin or from the first byte of a later
    request; then 408. A body has as long again."""

    unread_seconds: float = 30.0
    """How long a client may leave an answer unread until it is cut."""

    requests_per_key: float = 50.0
    """API requests a second of one key in the long run, four seconds' worth at once; one more is
    answered 429. The operator's keys have no such limit."""

    requests_per_address: float = 100.0
    """Likewise for one address (an IPv6 /64), all its keys and failed attempts together."""

    signup_open: bool = False
    """Whether strangers may make an organisation of their own."""

    signups_per_hour: float = 5.0
    """Of one address (an IPv6 /64), where signing up is open."""

    delete_grace_days: float = 7.0
    """How long a deleted tenant can be restored; 0: its data goes at once."""

    audit_days: int = 400
    """How long changes stay in the audit log."""

    event_days: int = 90
    """How long events can be read; their deliveries as long."""

    webhook_http: bool = False
    """Whether webhooks may do without TLS."""

    webhook_networks_allowed: list[str] = field(default_factory=list)
    """Networks (CIDR) that webhooks may go to besides public addresses."""

    webhook_ca_file: Path | None = None
    """Certificates (PEM) that webhooks' servers are verified with besides the system's."""

    webhook_disable_days: float = 5.0
    """A webhook that nothing has arrived at for so long is disabled."""

    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    """Port of `/metrics`; 0 takes a free one."""
