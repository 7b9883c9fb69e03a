"""PostgreSQL as a key-value store, through psycopg: prepared statements on one table, one transaction a request.

    get -> SELECT by primary key     set, add, replace ... -> INSERT ... ON CONFLICT     delete -> DELETE     incr, decr -> UPDATE

The table (`offspec_kv` unless the option `table` says otherwise) is made if it is not there, and never dropped.
"""

import re
from collections.abc import Mapping

import psycopg

from agent import _engine

_STORES = frozenset({"set", "cas", "add", "replace", "append", "prepend"})


class PostgreSql:
    kind = "kv"

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        left = {name: value for name, value in options.items() if name not in ("table", "url")}
        if left:
            raise ValueError(f"option {next(iter(left))}: expected only table")
        self._url = url
        self.table = options.get("table", "offspec_kv")
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", self.table):
            raise ValueError(f"option table={self.table}: expected a plain lower-case name")

    def connect(self) -> "PostgreSqlSession":
        try:
            connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5, prepare_threshold=0)
            with connection.cursor() as cursor:
                # Two connections may both find the table missing: the lock lets one of them make it.
                cursor.execute("SELECT pg_advisory_lock(hashtext(%s))", [self.table])
                try:
                    cursor.execute(
                        f"CREATE TABLE IF NOT EXISTS {self.table} (key bytea PRIMARY KEY, value bytea NOT NULL, number bigint DEFAULT 0)"
                    )
                finally:
                    cursor.execute("SELECT pg_advisory_unlock(hashtext(%s))", [self.table])
        except psycopg.Error as error:
            raise ConnectionError(" ".join(str(error).split())) from None
        return PostgreSqlSession(connection, self.table)


class PostgreSqlSession:
    def __init__(self, connection: "psycopg.Connection[tuple[object, ...]]", table: str) -> None:
        self._connection = connection
        self._cursor = connection.cursor(binary=True)
        self._get = f"SELECT value FROM {table} WHERE key = %b"
        insert = f"INSERT INTO {table} (key, value) VALUES (%b, %b) ON CONFLICT (key) DO "
        self._stores = {
            "set": insert + "UPDATE SET value = excluded.value",
            "add": insert + "NOTHING",
            "replace": f"UPDATE {table} SET value = %(value)b WHERE key = %(key)b",
            "append": insert + f"UPDATE SET value = {table}.value || excluded.value",
            "prepend": insert + f"UPDATE SET value = excluded.value || {table}.value",
        }
        self._delete = f"DELETE FROM {table} WHERE key = %b"
        self._count = f"UPDATE {table} SET number = number + %s WHERE key = %b"

    def request(self, request: _engine.Request) -> str:
        key = _engine.key_text(request.key_id, request.key_bytes).encode()
        try:
            if request.op in _STORES:
                value = _engine.value(request.key_id, request.req_bytes)
                statement = self._stores.get(request.op, self._stores["set"])
                self._cursor.execute(statement, {"key": key, "value": value} if request.op == "replace" else (key, value))
                return "ok" if self._cursor.rowcount else "miss"
            if request.op == "delete":
                self._cursor.execute(self._delete, (key,))
                return "ok" if self._cursor.rowcount else "miss"
            if request.op in ("incr", "decr"):
                self._cursor.execute(self._count, (1 if request.op == "incr" else -1, key))
                return "ok" if self._cursor.rowcount else "miss"
            self._cursor.execute(self._get, (key,))
            return "ok" if self._cursor.fetchone() else "miss"
        except psycopg.OperationalError as error:
            if self._connection.broken:
                raise ConnectionError(str(error)) from None
            return "server"
        except psycopg.Error:
            return "server"

    def close(self) -> None:
        self._connection.close()
