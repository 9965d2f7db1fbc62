# Serves one scikit-learn model: serve-mlserver.py MODEL HTTP_PORT GRPC_PORT METRICS_PORT
# The server object of MLServer itself, not its command, whose batch client would need a dozen packages more.
import asyncio
import sys

from mlserver import MLServer
from mlserver.settings import ModelSettings, Settings


async def main(model: str, http_port: str, grpc_port: str, metrics_port: str) -> None:
    settings = Settings(
        host="127.0.0.1",
        http_port=int(http_port),
        grpc_port=int(grpc_port),
        metrics_port=int(metrics_port),
        # In this process: a test that kills it leaves no worker behind.
        parallel_workers=0,
        debug=False,
    )
    served = ModelSettings.model_validate(
        {
            "name": "breast-cancer",
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": model, "version": "1"},
        }
    )
    await MLServer(settings).start([served])


asyncio.run(main(*sys.argv[1:5]))
