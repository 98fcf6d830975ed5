"""A relay between a client and a PostgreSQL server that counts round trips: how often the client speaks after the server did."""

from __future__ import annotations

import select
import shutil
import socket
import tempfile
import threading
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Relay:
    """Stands before a server on a Unix socket. ``conninfo`` leads through it."""

    def __init__(self, conninfo: str) -> None:
        self.trips = 0
        given = conninfo_to_dict(conninfo)
        self._server = f"{given['host']}/.s.PGSQL.{given['port']}"
        self._directory = Path(tempfile.mkdtemp(prefix="leasehold-relay-"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._directory / ".s.PGSQL.5432"))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.conninfo = make_conninfo(conninfo, host=str(self._directory), port=5432)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._relay, args=(client,)))
            self._threads[-1].start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            answered = True
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    if one is client:
                        self.trips += answered
                    answered = one is server
                    (server if one is client else client).sendall(data)

    def close(self) -> None:
        """Once the clients are gone."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
        shutil.rmtree(self._directory)
