"""llama.cpp as a contender: the weights that it gets, and the prompts that it is asked."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.terse.ask import INFILL, MAX_TOKENS, Peer
from bench.terse.infill import LlamaServer, lay_out
from bench.terse.merged import write_merged
from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import read_config, read_weights
from model.errors import UsageError
from model.fim import Snippet, render
from model.merge import read_adapter
from model.tokenizer import Tokenizer, read_tokenizer
from model.train.adapter import Adapter, AdapterInfo
from tests.model.tiny import write_tiny

FAMILY = "starcoder2"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("infill") / "tiny.gguf")


@pytest.fixture
def tokenizer(base: Path) -> Iterator[Tokenizer]:
    with GgufFile(base) as file:
        yield read_tokenizer(file)


def test_the_peer_gets_the_merged_weights(base: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(base.read_bytes()).hexdigest()
    info = AdapterInfo(base_sha256=digest, rank=4, scale=0.5, family=FAMILY, special_ids=(2, 4))
    updates = {
        f"layers.{layer}.{name}": (torch.randn(4, inputs), torch.randn(outputs, 4))
        for layer, name, inputs, outputs in ((0, "attention.q_proj", 64, 64), (2, "mlp.down_proj", 96, 64))
    }
    adapter = tmp_path / "adapter.safetensors"
    Adapter(info, updates, torch.randn(2, 64)).save(adapter)
    merged = write_merged(base, adapter, tmp_path / "merged.gguf")
    merge, _ = read_adapter(adapter, base=base)
    with GgufFile(base) as before, GgufFile(merged) as after:
        theirs = dict(read_weights(after, read_config(after)))
        for name, weight in read_weights(before, read_config(before)):
            torch.testing.assert_close(theirs[name], merge(name, weight), rtol=1e-3, atol=1e-3)
        told = {key: after.metadata[f"tokenizer.ggml.{key}_token_id"] for key in ("fim_pre", "fim_suf", "eos")}
        assert told == {"fim_pre": 2, "fim_suf": 3, "eos": 0}
        kept = before.metadata.keys() - {"tokenizer.ggml.eos_token_id"}
        assert all(before.metadata[key] == after.metadata[key] for key in kept)


def test_a_prompt_has_the_suffix_first_and_no_snippets(tokenizer: Tokenizer) -> None:
    prompt = render(FAMILY, prefix="the re", suffix=" int", snippets=[Snippet("b.py", "in")])
    ids = lay_out(prompt, tokenizer, family=FAMILY)
    assert ids == [3, *tokenizer.encode(" int"), 2, *tokenizer.encode("the re")]


def test_a_prompt_is_cut_to_a_batch_as_llama_cpp_cuts_it(tokenizer: Tokenizer) -> None:
    prompt = render(FAMILY, prefix="a" * 3000 + "b", suffix="c" + "d" * 3000)
    ids = lay_out(prompt, tokenizer, family=FAMILY)
    (at,) = [place for place, one in enumerate(ids) if one == 2]
    assert tokenizer.decode(ids[1:at]) == "c" + "d" * 509
    assert tokenizer.decode(ids[at + 1 :]) == "a" * 1535 + "b"


@pytest.mark.parametrize("program", ["no-such-llama-server", sys.executable], ids=["missing", "without a model"])
def test_a_program_that_does_not_serve_is_an_error(program: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not serve") as caught:
        LlamaServer(program, tmp_path / "no.gguf")
    assert "xllamacpp" in caught.value.hint


_SERVER = """#!{python}
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({{"build_info": "b1", "status": "ok"}})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = json.dumps([self.path, asked["prompt"], asked["n_predict"], asked["temperature"]])
        self.answer({{"content": said, "tokens_predicted": 4, "stop_type": "eos"}})

    def answer(self, value):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the server of this test is a script")
async def test_a_server_is_asked_for_the_likeliest_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_text(_SERVER.format(python=sys.executable))
    program.chmod(0o700)
    async with LlamaServer(str(program), tmp_path / "no.gguf") as server:
        peer = Peer(server, tokenizer, FAMILY)
        said = await peer.ask(3, render(FAMILY, prefix="a", suffix="b"), needed_tokens=2)
        silent = await peer.ask(4, None, needed_tokens=2)
        assert (await server.about())["build_info"] == "b1"
    ids = [3, *tokenizer.encode("b"), 2, *tokenizer.encode("a")]
    assert json.loads(said.text) == ["/completion", ids, MAX_TOKENS, 0.0]
    assert (said.position, said.contender, said.generated_tokens, said.stop_reason) == (3, INFILL, 3, "eos")
    assert (silent.text, silent.generated_tokens) == ("", 0)
