"""python-tuf's side of the jobs: one request a line, and one reply. See python.go."""

import base64
import datetime
import json
import sys
import time

from cryptography.hazmat.primitives.serialization import load_der_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, TargetFile
from tuf.api.serialization.json import JSONSerializer


def do(job, data, signer):
    metadata = Metadata.from_bytes(data)
    signed = metadata.signed
    if job["kind"] == "bin":
        signed.targets[job["path"]] = TargetFile(job["length"], {"sha256": job["sha256"]}, job["path"])
    else:
        for name in job["names"]:
            signed.meta[name] = MetaFile(job["version"])
    signed.version = job["version"]
    signed.expires = datetime.datetime.fromisoformat(job["expires"])
    metadata.sign(signer)
    return metadata.to_bytes(JSONSerializer(compact=True))


def main():
    for line in sys.stdin:
        request = json.loads(line)
        if "job" in request:
            job = request["job"]
            data = base64.b64decode(request["file"])
            signer = CryptoSigner(load_der_private_key(base64.b64decode(request["key"]), None))
            reply = {"file": base64.b64encode(do(job, data, signer)).decode()}
        else:
            start, runs = time.perf_counter_ns(), 0
            while runs == 0 or time.perf_counter_ns() - start < request.get("ns", 0):
                do(job, data, signer)
                runs += 1
            reply = {"ns": (time.perf_counter_ns() - start) // runs}
        print(json.dumps(reply), flush=True)


main()
