"""Lookups of python-tuf clients, each of a path that is in no role.

The first line is the forest of search_test.go, each other line a lookup. The answer to a lookup is a line with the
roles that were asked for, in order.
The one argument is an empty directory.
"""

import contextlib
import io
import json
import sys

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater


class Client(Updater):
    """One that begins with nothing and keeps nothing: files take longer than all the rest."""

    def _persist_file(self, filename, data):
        pass

    def _persist_root(self, version, data):
        pass

    def _update_root_symlink(self):
        pass


class Recorder(FetcherInterface):
    def __init__(self, documents):
        self.documents = documents
        self.asked = []

    @contextlib.contextmanager
    def download_file(self, url, max_length):
        yield io.BytesIO(b"".join(self.fetch(url)))

    def _fetch(self, url):
        name = url.removeprefix(forest["base"])
        if name in forest["fixed"]:
            return iter([forest["fixed"][name].encode()])
        if not name.startswith("1."):
            raise DownloadHTTPError("not found", 404)
        role = name.removeprefix("1.").removesuffix(".json")
        self.asked.append(role)
        return iter([self.documents.get(role, forest["leaf"]).encode()])


forest = json.loads(sys.stdin.readline())
for line in sys.stdin:
    lookup = json.loads(line)
    fetcher = Recorder(lookup["documents"])
    root = forest["fixed"]["1.root.json"].encode()
    client = Client(metadata_dir=sys.argv[1], metadata_base_url=forest["base"], fetcher=fetcher, bootstrap=root)
    if client.get_targetinfo(lookup["path"]) is not None:
        sys.exit(f"found {lookup['path']}")
    print(json.dumps(fetcher.asked), flush=True)
