"""Drives the publisher as Warehouse, PyPI's server, would. It knows README.md, and nothing but Python's
standard library.

usage: warehouse.py CONFIG PROGRAM [ARGUMENT...]

The program is started with the configuration file as its last argument. With TUF_ROOT in the environment,
python-tuf looks the files up in the end, starting from that root.
"""

import atexit
import concurrent.futures
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

config, command = sys.argv[1], sys.argv[2:]
nobody = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Publisher:
    """The daemon, and the addresses that its log names."""

    def __init__(self):
        self.process = subprocess.Popen([*command, config], stderr=subprocess.PIPE, text=True)
        self.url = {}
        for line in self.process.stderr:
            found = re.search(r"msg=listening for=(\w+) address=(\S+)", line)
            if found:
                self.url[found[1]] = "http://" + found[2]
            if len(self.url) == 2:
                break
        else:
            sys.exit("the publisher did not start: " + line)
        # Somebody must read what it writes.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait()


class Refused(Exception):
    def __init__(self, status, answer, retry_after):
        super().__init__(f"{status}: {answer['error']}")
        self.status, self.answer, self.retry_after = status, answer, retry_after


def ask(method, path, body=None):
    """One request; the answer, or Refused."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(publisher.url["index"] + path, data=data, method=method)
    try:
        with nobody.open(request, timeout=100) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise Refused(error.code, json.load(error), error.headers.get("Retry-After")) from None


def submit(item, identity, wait="30s"):
    """Repeats a request as long as that may help. The ID makes repeating harmless."""
    path = f"/v1/items/{urllib.parse.quote(identity, safe='')}?by=warehouse&wait={wait}"
    while True:
        try:
            return ask("PUT", path, item)
        except Refused as refused:
            if refused.retry_after is None:
                raise
            time.sleep(float(refused.retry_after))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)


def target(name, content=None):
    content = (content or name).encode()
    return {"path": "packages/" + name, "length": len(content), "hashes": {"sha256": hashlib.sha256(content).hexdigest()}}


def upload(name, identity=None, content=None):
    """An upload that must not replace another file of this name."""
    item = {"add": [target(name, content)], "if": [{"path": "packages/" + name, "absent": True}]}
    return submit(item, identity or str(uuid.uuid4()))


def expect(status, code, call, *args):
    try:
        call(*args)
    except Refused as refused:
        assert (refused.status, refused.answer["code"]) == (status, code), refused
        return refused.answer
    raise AssertionError(f"{args} was not refused")


publisher = Publisher()
atexit.register(lambda: publisher.process.kill())

# An upload, and the same request once more, as after a lost answer.
first = upload("demo-1.0.tar.gz", "upload 1/é".encode().hex())
assert first["state"] == "published", first
again = upload("demo-1.0.tar.gz", first["id"])
assert again["repeated"] and again["generation"] == first["generation"], again
assert ask("GET", "/v1/items/" + first["id"])["state"] == "published"

# The same file once more, as another upload: nothing changes.
assert upload("demo-1.0.tar.gz")["state"] == "unchanged"

# What can't be: the name is taken, the ID is another's, the path is no path, nobody knows the ID.
answer = expect(409, "refused", upload, "demo-1.0.tar.gz", None, "other content")
assert answer["state"] == "refused" and answer["reason"], answer
expect(409, "id_reused", upload, "demo-2.0.tar.gz", first["id"])
expect(400, "invalid", submit, {"add": [dict(target("x"), path="../x")]}, "bad")
expect(404, "unknown_item", ask, "GET", "/v1/items/nobody")

# Many at once share generations.
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    outcomes = list(pool.map(upload, [f"many-{n}.whl" for n in range(40)]))
assert all(outcome["state"] == "published" for outcome in outcomes), outcomes

# A release replaced in one item: clients see both changes or neither.
done = submit({"add": [target("demo-1.1.tar.gz")], "remove": ["packages/demo-1.0.tar.gz"]}, str(uuid.uuid4()))
assert done["state"] == "published", done

# A takedown.
assert upload("malware.whl")["state"] == "published"
assert submit({"remove": ["packages/malware.whl"]}, "takedown-17")["state"] == "published"

# Accepted is accepted: killed right after, the publisher publishes it when it is started again.
identity = str(uuid.uuid4())
path = f"/v1/items/{identity}"
assert ask("PUT", path, {"add": [target("killed.whl")]})["state"] in ("accepted", "published")
publisher.end(signal.SIGKILL)
publisher = Publisher()
assert ask("GET", path + "?wait=30s")["state"] == "published"

# An orderly end answers who waits. The process ends with success.
assert ask("GET", "/ready") == {"status": "ready"}
assert publisher.end(signal.SIGTERM) == 0
publisher = Publisher()
assert ask("GET", "/v1/status")["problems"] is None or isinstance(ask("GET", "/v1/status")["problems"], list)
assert {d["role"] for d in ask("GET", "/v1/documents")["documents"]} == {"root", "targets", "bins"}

if "TUF_ROOT" in os.environ:
    from tuf.ngclient import Updater

    with tempfile.TemporaryDirectory() as directory, open(os.environ["TUF_ROOT"], "rb") as root:
        client = Updater(metadata_dir=directory, metadata_base_url=publisher.url["clients"] + "/metadata/", bootstrap=root.read())
        client.refresh()
        for name in ["demo-1.1.tar.gz", "killed.whl", *(f"many-{n}.whl" for n in range(40))]:
            found = client.get_targetinfo("packages/" + name)
            assert found.length == len(name) and found.hashes == target(name)["hashes"], name
        for name in ["demo-1.0.tar.gz", "demo-2.0.tar.gz", "malware.whl"]:
            assert client.get_targetinfo("packages/" + name) is None, name
    print("python-tuf verified 45 paths")

assert publisher.end(signal.SIGTERM) == 0
print("all as documented")
