"""What a tenant has used of a pod since its stamp (proto/pod.proto, Usage)."""

import time

from proto.pod_pb2 import Usage
from sqlnode.server import SqlServer
from sqlnode.session.tenant import Tenant


class Accounts:
    """Adds up a pod's counters; made when the stamp is over."""

    def __init__(self, tenant: Tenant, server: SqlServer) -> None:
        self._tenant = tenant
        self._server = server
        self._cpu_ns = time.process_time_ns()

    def usage(self) -> Usage:
        """The sums now. CPU is the whole process's: it serves nobody else."""
        kv = self._tenant.kv.usage
        return Usage(
            sql_cpu_micros=(time.process_time_ns() - self._cpu_ns) // 1000,
            read_batches=kv.read_batches,
            read_requests=kv.read_requests,
            read_bytes=kv.read_bytes,
            write_batches=kv.write_batches,
            write_requests=kv.write_requests,
            write_bytes=kv.write_bytes,
            egress_bytes=self._server.sent_bytes,
        )
