"""Key files by pyzmq. Reads {"create": [directory, name]} or {"load": path} from standard input.

Prints {"public_file", "secret_file"} or {"public_key", "secret_key"}.
"""

import json
import sys

import zmq.auth

request = json.loads(sys.stdin.readline())
if "create" in request:
    public_file, secret_file = zmq.auth.create_certificates(*request["create"])
    print(json.dumps({"public_file": public_file, "secret_file": secret_file}))
else:
    public_key, secret_key = zmq.auth.load_certificate(request["load"])
    print(
        json.dumps({"public_key": public_key.decode(), "secret_key": secret_key.decode() if secret_key else None})
    )
