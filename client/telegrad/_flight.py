"""The procedures of a session, one at a time; one may be under way while others record.

Its request was sent then, and its answer is read when somebody comes by: who records next, who waits for a value, or the sender
after a while. So the server computes while more is recorded, without a second thread that fights for the interpreter's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import sleep
from typing import Any, TypeVar

from telegrad._exchange import Exchange
from telegrad._transport import Begun, NotSent, Pause, Pipelined, Procedure, Transport, run
from telegrad.contract.errors import TelegradError, TransportError

R = TypeVar("R")


class Traffic:
    """What one session says to its server.

    Attributes:
        lock: held by who sends.
    """

    def __init__(self, exchange: Exchange, transport: Transport) -> None:
        self.lock = threading.RLock()
        self._exchange = exchange
        self._transport = transport
        self._flight: Flight | None = None
        self._busy = False

    @property
    def departs(self) -> bool:
        """Whether a batch can be left under way."""
        return isinstance(self._transport, Pipelined)

    @property
    def is_under_way(self) -> bool:
        """Whether a batch is under way that nobody waits for."""
        return self._flight is not None

    @property
    def is_busy(self) -> bool:
        """Whether somebody is sending."""
        return self._busy

    def run(self, procedure: Procedure[R]) -> R:
        """Run a procedure after what is under way, while no other runs."""
        with self.lock:
            self.land()
            self._busy = True
            try:
                return run(procedure, self._transport)
            finally:
                self._busy = False

    def depart(self) -> None:
        """Send what is recorded, and leave it under way; nothing where something else is."""
        if self.is_busy:  # asked before the lock, which an interruption could leave locked if it was only tried
            return
        with self.lock:
            exchange, transport = self._exchange, self._transport
            if self._busy or exchange.recorder.closed or exchange.trouble is not None or not isinstance(transport, Pipelined):
                return
            if self._flight is not None and not self._go_on(self._flight, wait=False):
                return
            self._go_on(Flight(exchange.flush(background=True), transport), wait=False)

    def land(self) -> None:
        """Wait for the answer to what is under way. The next flush that somebody waits for raises what it met."""
        if self._flight is not None:
            self._go_on(self._flight, wait=True)

    def _go_on(self, flight: Flight, *, wait: bool) -> bool:
        """Go on with a flight; whether it has ended."""
        self._flight = None
        self._busy = True
        try:
            ended = flight.go_on(wait=wait)
        except TelegradError as error:
            self._exchange.remember(error)
            return True
        finally:
            self._busy = False
        if not ended:
            self._flight = flight
        return ended

    def abandon(self) -> None:
        """Forget what is recorded, and what is under way."""
        with self.lock:
            flight, self._flight = self._flight, None
            if flight is not None:
                flight.abandon()
            self._exchange.discard()


class Flight:
    """Runs a procedure as ``run`` does, a bit at a time."""

    def __init__(self, procedure: Procedure[Any], transport: Pipelined) -> None:
        """Nothing is done until ``go_on``."""
        self._procedure = procedure
        self._transport = transport
        self._begun: Begun | None = None
        self._pause: Pause | None = None
        self._step: Callable[[], Any] = lambda: next(procedure)

    def go_on(self, *, wait: bool) -> bool:
        """Go on, to the end or as far as nothing has to be waited for; whether it has ended.

        Raises what the procedure raises, and has ended then.
        """
        try:
            while True:
                if self._begun is not None:
                    if not wait and not self._begun.is_answered():
                        return False
                    begun, self._begun = self._begun, None
                    self._answer(begun)
                elif self._pause is not None:
                    if not wait:
                        return False
                    sleep(self._pause.seconds)
                    self._pause = None
                    self._step = lambda: self._procedure.send(None)
                else:
                    self._act(self._step())
        except StopIteration:
            return True
        except BaseException:
            self.abandon()
            raise

    def _act(self, action: Any) -> None:
        if isinstance(action, Pause):
            self._pause = action
            return
        try:
            self._begun = self._transport.begin(action)
        except (NotSent, TransportError) as error:
            self._throw(error)

    def _answer(self, begun: Begun) -> None:
        try:
            response = begun.finish()
        except (NotSent, TransportError) as error:
            self._throw(error)
        else:
            self._step = lambda: self._procedure.send(response)

    def _throw(self, error: Exception) -> None:
        self._step = lambda: self._procedure.throw(error)

    def abandon(self) -> None:
        """End it as an interruption does: what was not answered stays recorded."""
        if self._begun is not None:
            self._begun.abandon()
        self._procedure.close()
