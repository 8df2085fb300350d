"""The message loop of a session: the simple and the extended protocol over one connection.

One task per session runs this loop and nothing else: it takes a message, acts, and takes the next
if it is here already; only when none is does it write its replies and wait. So a pipeline of Bind,
Execute and Sync that came in one piece is answered in one write.

An error in the extended protocol discards what follows up to Sync, as the table of pgwire.states
has it. Transactions outside blocks end with the query, or at Sync.

A proxy's frames (pgwire.link) may stand between any two messages. They are no activity of the
client's, and the conversation goes on as if they had not been there.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from dormouse.base.errors import DormouseError
from pgwire import backend as replies
from pgwire import frontend
from pgwire.errors import ProtocolViolation
from pgwire.framing import Frame
from pgwire.frontend import CopyData, CopyDone, CopyFail
from pgwire.link import KIND as LINK_FRAME
from pgwire.notices import error_response
from pgwire.states import Action, Event, State, action, after
from sqlnode.errors import SqlError, unsupported
from sqlnode.parse import RawStatement, parse
from sqlnode.session import utility
from sqlnode.session.connection import ConnectionClosed
from sqlnode.session.encoding import decode_params, fields
from sqlnode.session.interrupts import SessionEnded
from sqlnode.session.linked import LinkedSession
from sqlnode.session.literals import template_of
from sqlnode.session.pipeline import Planned
from sqlnode.session.portal import Portal
from sqlnode.session.prepared import PreparedStatement
from sqlnode.session.replanning import plan_resumed
from sqlnode.session.replies import error_notice, internal_error
from sqlnode.session.resuming import idle_session
from sqlnode.session.session import Session
from sqlnode.session.transactions import Block
from sqlnode.types import oids

_SYNC = ord("S")
_log = logging.getLogger(__name__)


class Terminated(Exception):
    """The client has said goodbye in the middle of a COPY."""


Handler = Callable[[Frame], Awaitable[None]]


class Backend:
    """Serves one session until its end."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.state = State.READY
        self._linked = LinkedSession(session, session.link) if session.link is not None else None
        self._generation = session.settings.generation
        self._handlers: dict[int, Handler] = {
            ord("Q"): self._query,
            ord("P"): self._parse,
            ord("B"): self._bind,
            ord("D"): self._describe,
            ord("E"): self._execute,
            ord("C"): self._close,
            ord("H"): self._flush,
            ord("S"): self._sync,
            ord("F"): self._function_call,
        }

    async def run(self) -> None:
        """Answer messages until Terminate, or until the session is given away. Raises SessionEnded,
        ConnectionClosed and ProtocolViolation, all of which end the connection."""
        self._ready()
        if self.session.resumed:
            # What its client knows of the server is what the last pod told: the next time tells.
            self._generation = -1
        next_frame = self.session.connection.next_frame
        while True:
            frame = next_frame() or await self._idle()
            verdict = action(self.state, frame.kind)
            if verdict is Action.DISCARD:
                continue
            if verdict is Action.REFUSE:
                raise ProtocolViolation(f"invalid frontend message type {frame.kind}")
            if frame.kind == 88:  # X
                return
            if frame.kind == LINK_FRAME:
                if self._give_away(frame):
                    return
                continue
            await self._handle(frame)
            self.session.interrupts.check_end()

    def _give_away(self, frame: Frame) -> bool:
        """Whether the session has gone. Raises ProtocolViolation, and SessionEnded where it was
        told to end before."""
        if self._linked is None:
            raise ProtocolViolation(f"invalid frontend message type {frame.kind}")
        self.session.interrupts.check_end()
        return self._linked.give_away(frame.body, self.state)

    async def _handle(self, frame: Frame) -> None:
        session = self.session
        interrupts = session.interrupts
        if not session.busy:
            session.busy = True
            session.tenant.active += 1
            session.context.start_statement()
        interrupts.begin(session.statement_timeout_ms)
        failure: DormouseError | None = None
        try:
            await self._handlers[frame.kind](frame)
        except asyncio.CancelledError:
            cause = interrupts.cause()
            if not isinstance(cause, SqlError):
                raise cause or asyncio.CancelledError from None
            failure = cause
        except (SessionEnded, ConnectionClosed, Terminated):
            raise
        except DormouseError as error:
            failure = error
            if isinstance(error, ProtocolViolation) and error.sqlstate == "08P01":
                self._log_violation(error)
        except RecursionError:
            failure = SqlError("54001", "stack depth limit exceeded")
        except Exception as unexpected:  # noqa: BLE001 - one statement's fault must not end others
            failure = internal_error(unexpected)
        finally:
            interrupts.end()
        if failure is not None:
            await self._failed(frame, failure)

    def _log_violation(self, error: ProtocolViolation) -> None:
        _log.info("protocol violation", extra={"reason": error.message, "pid": self.session.pid})

    async def _failed(self, frame: Frame, error: DormouseError) -> None:
        session = self.session
        await session.fail()
        session.connection.send(error_response(error_notice(error), session.codec))
        if self.state in (State.COPY_IN, State.COPY_IN_EXTENDED):
            self.state = after(self.state, Event.COPY_IN_FAILED)
            if self.state is State.READY:
                self._ready()
        elif frame.kind in b"QF":
            self._ready()
        elif frame.kind == 83:  # S: the implicit commit failed, and the pipeline is over
            self.state = after(self.state, Event.SYNCED)
            self._ready()
        else:
            self.state = after(self.state, Event.FAILED)

    # --- waiting -----------------------------------------------------------------------------

    async def _idle(self) -> Frame:
        session = self.session
        if session.busy:
            session.busy = False
            session.tenant.statement_ended()
            session.waits_since = session.tenant.idle_since
            session.meter.pause()
        name, milliseconds = session.idle_timeout()
        session.interrupts.wait()
        try:
            if not milliseconds:
                return await session.connection.read()
            silent = session.tenant.clock.monotonic() - session.waits_since
            async with asyncio.timeout(milliseconds / 1000 - silent):
                return await session.connection.read()
        except TimeoutError:
            raise SessionEnded(_IDLE_ERRORS[name]()) from None
        except asyncio.CancelledError:
            raise session.interrupts.cause() or asyncio.CancelledError from None
        finally:
            session.interrupts.waited()

    def _ready(self) -> None:
        """ReadyForQuery, after the settings that have changed."""
        session = self.session
        if session.settings.generation != self._generation:
            self._generation = session.settings.generation
            session.take_encoding()
            session.look_again()
            now = session.settings.reported()
            for name, value in now.items():
                if session.told.get(name) != value:
                    report = replies.parameter_status(name, value, session.codec)
                    session.connection.send(report)
            session.told = now
        if session.notifications.waiting:
            session.tell_notifications()
        status = session.transactions.status
        if status == "I" and self._linked is not None:
            self._linked.checkpoint()
        session.connection.send(replies.READY[status])

    # --- the simple protocol -----------------------------------------------------------------

    async def _query(self, frame: Frame) -> None:
        session = self.session
        text = frontend.parse(frame, session.codec)
        if not isinstance(text, frontend.Query):
            raise ProtocolViolation("query expected")
        session.meter.cut()
        if self.state is State.EXTENDED:
            # A simple query ends the pipeline's implicit transaction, as Sync would.
            await session.finish()
            self.state = after(self.state, Event.SYNCED)
        await session.close_portal("")
        session.statements.drop("")
        await self._run_text(text.text)
        self._ready()

    async def _run_text(self, text: str) -> None:
        session = self.session
        session.look_again()
        planned = session.tenant.plans.find(text, session.context)
        if planned is None and (shared := await self._shared_plan(text)) is not None:
            planned, values = shared
            await self._run_one(planned.raw, planned, last=True, many=False, params=values)
            return
        statements = [planned.raw] if planned is not None else parse(text)
        if not statements:
            session.connection.send(replies.EMPTY_QUERY)
        for raw in statements:
            if len(statements) > 1:
                session.transactions.begin_implicit_block()
            await self._run_one(raw, planned, last=raw is statements[-1], many=len(statements) > 1)

    async def _shared_plan(self, text: str) -> tuple[Planned, tuple[int, ...]] | None:
        """A plan for all texts that differ from this one in their integers only; see `literals`."""
        tenant, template = self.session.tenant, template_of(text)
        if template is None or template.text in tenant.refused_templates:
            return None
        declared = (oids.INT4,) * len(template.values)
        planned = tenant.plans.find(template.text, self.session.context, declared)
        if planned is not None:
            return planned, template.values
        if self.session.transactions.block is Block.FAILED:
            return None
        planned = await self._plan_template(template.text, declared)
        if planned is None or planned.executable is None or planned.param_types != declared:
            tenant.refused_templates.add(template.text)
            return None
        return planned, template.values

    async def _plan_template(self, text: str, declared: tuple[int, ...]) -> Planned | None:
        """None where it cannot be planned: the text as it came will say what is wrong."""
        try:
            (raw,) = parse(text)
        except (SqlError, ValueError):
            return None
        await self.session.look_first(raw)  # where that fails, it is not for the text
        try:
            return await self.session.plan(raw, declared, alone=True)
        except SqlError:
            return None

    async def _run_one(
        self,
        raw: RawStatement,
        planned: Planned | None,
        *,
        last: bool,
        many: bool,
        params: tuple[int, ...] = (),
    ) -> None:
        session = self.session
        session.meter.name(raw)
        if not utility.is_exit(raw):
            session.transactions.refuse_failed()
        session.transactions.start()
        if planned is None:
            planned = await session.plan(raw, alone=not many)
        if len(planned.param_types) != len(params):
            raise SqlError("42P02", "there is no parameter $1")
        portal = Portal("", planned, params, undescribed=True)
        tag = await self._run_metered(portal, describe=True, alone=not many)
        if last:
            await session.finish()
        session.connection.send(replies.command_complete(tag))

    async def _run_metered(
        self, portal: Portal, *, describe: bool, limit: int = 0, alone: bool = False
    ) -> str:
        """See `_run_portal`; the time is booked to the portal's statement."""
        meter = self.session.meter
        began = meter.now_ns()
        tag = await self._run_portal(portal, describe=describe, limit=limit, alone=alone)
        portal.elapsed_ns += meter.now_ns() - began
        if tag:
            meter.ran(tag, portal.elapsed_ns)
        return tag

    async def _run_portal(
        self, portal: Portal, *, describe: bool, limit: int = 0, alone: bool = False
    ) -> str:
        """Run a portal (on); its command tag, empty where it has paused. `alone`: if it begins a
        transaction, nothing else follows in that."""
        session = self.session
        planned = session.budget.running = portal.planned
        if session.budget.spending.limited:
            await session.budget.enter(planned, begun=portal.started)
        if planned.executable is None:
            if not portal.started:
                answer = await utility.run(session, portal, self)
                if answer.batches is None:
                    portal.finished = True
                    return answer.tag
                portal.tag, portal.counted = answer.tag, answer.counted
                session.shape(portal, answer.columns, portal.asked_formats)
                portal.open(answer.batches, answer.execution)
        elif not portal.started:
            if planned.executable.writes:
                await session.run_write(portal, alone=alone)
            else:
                await session.start_query(portal)
            portal.tag, portal.counted = planned.executable.tag, True
            if describe:
                session.shape(portal, portal.planned.columns)
        elif portal.columns is None:
            raise SqlError("55000", f'portal "{portal.name}" cannot be run')
        if describe:
            session.send_description(portal)
        return await self._send_all(portal, limit)

    async def _send_all(self, portal: Portal, limit: int) -> str:
        session = self.session
        if portal.columns is None:
            while await portal.take(0):
                pass
            sent = 0
        else:
            sent = await session.send_rows(portal, limit)
        execution = portal.execution
        if execution is not None and execution.notices:
            for severity, sqlstate, message in execution.notices:
                session.notice(severity, sqlstate, message)
            execution.notices.clear()
        if limit and sent == limit:
            return ""
        if not portal.counted:
            return portal.tag
        if portal.tag != "SELECT" and execution is not None:
            return f"{portal.tag} {execution.rows_processed}"
        return f"{portal.tag} {sent}"

    # --- COPY --------------------------------------------------------------------------------

    def copy_in_begun(self) -> None:
        """See `utility.CopyStates`."""
        self.state = after(self.state, Event.COPY_IN_BEGUN)

    def copy_in_ended(self) -> None:
        """See `utility.CopyStates`."""
        self.state = after(self.state, Event.COPY_IN_ENDED)

    def _is_ours(self, frame: Frame) -> bool:
        """Whether a frame found in a COPY is the proxy's; it has been refused then."""
        try:
            return not self._give_away(frame)
        except ProtocolViolation:
            return False

    async def read_copy(self) -> CopyData | CopyDone | CopyFail:
        """The client's next message of a COPY. Raises Terminated where it says goodbye."""
        connection = self.session.connection
        while True:
            frame = connection.next_frame() or await connection.read()
            verdict = action(self.state, frame.kind)
            if frame.kind == LINK_FRAME:
                if self._is_ours(frame):
                    continue
                verdict = Action.REFUSE
            if verdict is Action.REFUSE:
                raise ProtocolViolation(
                    f"unexpected message type 0x{frame.kind:02X} during COPY from stdin"
                )
            if verdict is Action.DISCARD:
                continue
            message = frontend.parse(frame, self.session.codec)
            if isinstance(message, CopyData):
                # Clients send a message per row, and where one ends means nothing.
                return CopyData(message.data + connection.next_run(frame.kind))
            if isinstance(message, CopyDone | CopyFail):
                return message
            raise Terminated

    # --- the extended protocol ---------------------------------------------------------------

    async def _parse(self, frame: Frame) -> None:
        message = frontend.parse(frame, self.session.codec)
        if not isinstance(message, frontend.Parse):
            raise ProtocolViolation("parse message expected")
        if self.state is not State.EXTENDED:
            self.state = after(self.state, Event.EXTENDED_BEGUN)
        session = self.session
        if message.statement:
            if message.statement in session.statements:
                raise SqlError("42P05", f'prepared statement "{message.statement}" already exists')
        else:
            session.statements.drop("")
        session.meter.cut()
        session.look_again()
        declared = message.param_types
        planned = session.tenant.plans.find(message.text, session.context, declared)
        if planned is None:
            planned = await self._plan_text(message.text, declared)
        elif not utility.is_exit(planned.raw):
            session.transactions.refuse_failed()
        session.transactions.start()
        columns, types = None, declared
        if planned is not None:
            planned = await session.settled(planned)
            session.meter.name(planned.raw)
            columns, types = await utility.columns_of(session, planned), planned.param_types
        session.add_statement(
            PreparedStatement(message.statement, message.text, planned, columns, types)
        )
        session.connection.send(replies.PARSE_COMPLETE)

    async def _plan_text(self, text: str, declared: tuple[int, ...]) -> Planned | None:
        session = self.session
        statements = parse(text)
        if not statements:
            return None
        if len(statements) > 1:
            raise SqlError("42601", "cannot insert multiple commands into a prepared statement")
        if not utility.is_exit(statements[0]):
            session.transactions.refuse_failed()
        session.transactions.start()
        return await session.plan(statements[0], declared, alone=True)

    async def _bind(self, frame: Frame) -> None:
        session = self.session
        message = frontend.parse(frame, session.codec)
        if not isinstance(message, frontend.Bind):
            raise ProtocolViolation("bind message expected")
        if self.state is not State.EXTENDED:
            self.state = after(self.state, Event.EXTENDED_BEGUN)
        statement = self._statement(message.statement)
        if statement.resumed is not None:
            await plan_resumed(session, statement)
        params = message.params
        decoders = statement.decoders(message.param_formats, len(params), session.codec)
        planned = statement.planned
        if planned is not None:
            session.meter.name(planned.raw)
        if planned is None or not utility.is_exit(planned.raw):
            session.transactions.refuse_failed()
        session.transactions.start()
        if message.portal in session.portals:
            if message.portal:
                raise SqlError("42P03", f'cursor "{message.portal}" already exists')
            await session.close_portal("")
        values = decode_params(params, decoders, session.context) if params else ()
        if planned is not None and planned.catalog is not session.transactions.catalog:
            session.look_again()
            planned = statement.planned = await session.fresh(planned)
        portal = Portal(message.portal, planned or _EMPTY, values)
        portal.asked_formats = message.result_formats
        portal.columns = statement.columns
        if statement.columns is not None:
            portal.formats, portal.encoders = statement.encoders(
                message.result_formats, session.codec
            )
        session.add_portal(portal)
        session.connection.send(replies.BIND_COMPLETE)

    def _statement(self, name: str) -> PreparedStatement:
        statement = self.session.statements.get(name)
        if statement is None:
            shown = f'prepared statement "{name}"' if name else "unnamed prepared statement"
            raise SqlError("26000", f"{shown} does not exist")
        return statement

    def _portal(self, name: str) -> Portal:
        portal = self.session.portals.get(name)
        if portal is None:
            raise SqlError("34000", f'portal "{name}" does not exist')
        return portal

    async def _describe(self, frame: Frame) -> None:
        session = self.session
        message = frontend.parse(frame, session.codec)
        if not isinstance(message, frontend.Describe):
            raise ProtocolViolation("describe message expected")
        if self.state is not State.EXTENDED:
            self.state = after(self.state, Event.EXTENDED_BEGUN)
        send = session.connection.send
        if message.kind == "S":
            statement = self._statement(message.name)
            if statement.resumed is not None:
                await plan_resumed(session, statement)
            if statement.columns is not None:
                session.transactions.refuse_failed()  # rows can be described no more
            send(replies.parameter_description(statement.param_types))
            columns, formats = statement.columns, (0,) * len(statement.columns or ())
        else:
            portal = self._portal(message.name)
            columns, formats = portal.columns, portal.formats
            if columns is not None:
                session.transactions.refuse_failed()
        if columns is None:
            send(replies.NO_DATA)
        else:
            send(replies.row_description(fields(columns, formats), session.codec))

    async def _execute(self, frame: Frame) -> None:
        session = self.session
        message = frontend.parse(frame, session.codec)
        if not isinstance(message, frontend.Execute):
            raise ProtocolViolation("execute message expected")
        if self.state is not State.EXTENDED:
            self.state = after(self.state, Event.EXTENDED_BEGUN)
        portal = self._portal(message.portal)
        send = session.connection.send
        if portal.planned is _EMPTY:
            send(replies.EMPTY_QUERY)
            return
        session.meter.name(portal.planned.raw)
        if not utility.is_exit(portal.planned.raw):
            session.transactions.refuse_failed()
        session.transactions.start()
        alone = session.connection.following == _SYNC
        tag = await self._run_metered(portal, describe=False, limit=message.rows_max, alone=alone)
        send(replies.command_complete(tag) if tag else replies.PORTAL_SUSPENDED)

    async def _close(self, frame: Frame) -> None:
        session = self.session
        message = frontend.parse(frame, session.codec)
        if not isinstance(message, frontend.Close):
            raise ProtocolViolation("close message expected")
        if self.state is not State.EXTENDED:
            self.state = after(self.state, Event.EXTENDED_BEGUN)
        if message.kind == "S":
            session.statements.drop(message.name)
        else:
            await session.close_portal(message.name)
        session.connection.send(replies.CLOSE_COMPLETE)

    async def _flush(self, _frame: Frame) -> None:
        self.session.connection.flush()

    async def _sync(self, _frame: Frame) -> None:
        await self.session.finish()
        self.state = after(self.state, Event.SYNCED)
        self._ready()

    async def _function_call(self, _frame: Frame) -> None:
        raise unsupported("the function call protocol")


_EMPTY = Planned(RawStatement(None, "", "", 0, ""), None, None, None, ())  # type: ignore[arg-type]


def _idle_in_transaction() -> SqlError:
    return SqlError("25P03", "terminating connection due to idle-in-transaction timeout")


_IDLE_ERRORS = {"transaction": _idle_in_transaction, "session": idle_session}
