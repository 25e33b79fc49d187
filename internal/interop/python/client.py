"""One visit of a python-tuf client; the request and the report are those of visit in client_test.go."""

import hashlib
import json
import os
import sys
import traceback

from tuf.ngclient import Updater


def failed(error):
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}"


request = json.load(sys.stdin.buffer)
state = request["state"]
download = os.path.join(state, "download")
os.makedirs(os.path.join(state, "targets"), exist_ok=True)
report = {"found": [], "missing": [], "refused": []}

try:
    with open(request["root"], "rb") as root:
        client = Updater(
            metadata_dir=os.path.join(state, "metadata"),
            metadata_base_url=request["url"] + "/metadata/",
            target_dir=os.path.join(state, "targets"),
            target_base_url=request["url"] + "/targets/",
            bootstrap=root.read(),
        )
    client.refresh()
except Exception as error:
    report["refresh"] = failed(error)
    request["paths"] = []

for path in request["paths"]:
    try:
        target = client.get_targetinfo(path)
        if target is None:
            report["missing"].append(path)
            continue
        client.download_target(target, download)
        with open(download, "rb") as file:
            content = hashlib.sha256(file.read()).hexdigest()
        found = {"path": target.path, "length": target.length, "hashes": target.hashes, "content": content}
        if target.custom is not None:
            found["custom"] = target.custom
        report["found"].append(found)
    except Exception as error:
        report["refused"].append({"path": path, "error": failed(error)})

json.dump(report, sys.stdout)
