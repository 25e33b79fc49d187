"""An index in Python, which knows no more of the journal than the package comment says.

It is given how to reach the database as the index's role, and prints what it found, in JSON.
"""

import hashlib
import json
import sys
import uuid

import psycopg


def item(path, content):
    digest = hashlib.sha256(content).hexdigest()
    target = {"path": path, "length": len(content), "hashes": {"sha256": digest}}
    return json.dumps({"add": [target]}, indent=1).encode()


def queue(connection, path, content, id=None):
    """Part of the transaction that is open."""
    id = id or str(uuid.uuid4())
    connection.execute(
        'INSERT INTO bindery.queue (id, "by", item) VALUES (%s, %s, %s)', (id, "warehouse", item(path, content))
    )
    return id


def refused(connection, id, by, item):
    """The SQLSTATE with which the INSERT of a row fails."""
    try:
        with connection.transaction():
            connection.execute('INSERT INTO bindery.queue (id, "by", item) VALUES (%s, %s, %s)', (id, by, item))
    except psycopg.Error as error:
        return error.sqlstate
    return "it was queued"


def upload(url):
    found = {}
    with psycopg.connect(url, autocommit=True) as connection:
        (found["version"],) = connection.execute("SELECT version FROM bindery.version").fetchone()
        found["ids"] = []
        for level in psycopg.IsolationLevel:
            if level == psycopg.IsolationLevel.READ_UNCOMMITTED:
                continue
            connection.isolation_level = level
            with connection.transaction():
                connection.execute("SELECT 1")
                found["ids"].append(queue(connection, f"{level.name}.whl".lower(), level.name.encode()))
            try:
                with connection.transaction():
                    queue(connection, "rolled-back.whl", b"never")
                    raise KeyError
            except KeyError:
                pass
        connection.isolation_level = None
        with connection.transaction():  # no item
            connection.execute("INSERT INTO bindery.queue (id, item) VALUES ('no-item', 'no JSON')")
        found["ids"].append("no-item")
        found["again"] = refused(connection, found["ids"][0], "", b"{}")
        found["refused"] = [
            refused(connection, "a b", "", b"{}"),
            refused(connection, "a", "\n", b"{}"),
            refused(connection, "a", "", b"\xff"),
            refused(connection, "a", "", None),
        ]
        found["backlog"] = connection.execute("SELECT pending, bytes > 0, oldest <= now() FROM bindery.backlog").fetchone()
        found["moment"] = connection.execute("SELECT moment FROM bindery.progress").fetchone()
    print(json.dumps(found))


def outcomes(url, ids):
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            'SELECT id, "by", accepted <= now(), state, generation, reason FROM bindery.outcomes WHERE id = ANY(%s)', (ids,)
        ).fetchall()
        moment = connection.execute("SELECT moment FROM bindery.progress").fetchone()
    print(json.dumps({"outcomes": {row[0]: row[1:] for row in rows}, "moment": moment}))


if __name__ == "__main__":
    if sys.argv[1] == "upload":
        upload(sys.argv[2])
    else:
        outcomes(sys.argv[2], sys.argv[3:])
