"""llama.cpp's own server, out of xllamacpp's wheel. Imports nothing of ours.

Run as `python llama_server.py MODEL PORT TOKEN`; serves until its standard input ends.
"""

from __future__ import annotations

import sys


def main() -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.port, params.api_keys = sys.argv[1], int(sys.argv[2]), [sys.argv[3]]
    params.hostnames, params.model_alias = ["127.0.0.1"], {"small"}
    params.n_ctx, params.n_parallel = 1024, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
