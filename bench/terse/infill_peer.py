"""llama.cpp's own server in an interpreter that has xllamacpp, whose wheel carries it. Imports nothing else.

Run as `python infill_peer.py MODEL PORT THREADS`; serves until its standard input ends.
"""

from __future__ import annotations

import sys


def main() -> None:
    import xllamacpp

    model, port, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 4096
    params.n_parallel = 1
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
