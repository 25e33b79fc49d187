"""The server of moto, an emulator of AWS, on a loopback port of the system's
choice. It prints its URL when it is ready and ends with its standard input.

Where moto 5.2.5 is not like KMS's documentation, it is made so here: it hashes a
message of MessageType DIGEST again, and salts RSA-PSS with as much as fits.
"""

import sys
import threading

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from moto.kms.responses import KmsResponse
from moto.kms.utils import ECDSAPrivateKey, RSAPrivateKey
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

request = threading.local()
motos_sign = KmsResponse.sign
SHA256 = hashes.SHA256()


def sign(self):
    request.hash = SHA256
    if self._get_param("MessageType") == "DIGEST":
        request.hash = utils.Prehashed(SHA256)
    return motos_sign(self)


def sign_ecdsa(self, message, algorithm):
    if algorithm not in self.valid_signing_algorithms or algorithm != "ECDSA_SHA_256":
        raise NotImplementedError(algorithm)
    return self.private_key.sign(message, ec.ECDSA(request.hash))


def sign_rsa(self, message, algorithm):
    if algorithm != "RSASSA_PSS_SHA_256":
        raise NotImplementedError(algorithm)
    pss = padding.PSS(padding.MGF1(SHA256), padding.PSS.DIGEST_LENGTH)
    return self.private_key.sign(message, pss, request.hash)


class Handler(MotoRequestHandler):
    def log_request(self, *args, **kwargs):
        pass


KmsResponse.sign = sign
ECDSAPrivateKey.sign = sign_ecdsa
RSAPrivateKey.sign = sign_rsa
server = make_server(
    "127.0.0.1",
    0,
    DomainDispatcherApplication(create_backend_app),
    threaded=True,
    request_handler=Handler,
)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_port}", flush=True)
sys.stdin.read()
