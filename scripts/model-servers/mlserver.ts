/**
 * MLServer with a small scikit-learn model: a real server of the Open Inference Protocol, whose counter of executions is
 * not ours.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createVenv, type Venv } from './venv.js'

/** All that the server and the model import, and nothing for its command line, Kafka apart, which it always loads. */
const REQUIREMENTS = [
  'mlserver==1.7.1',
  'mlserver-sklearn==1.7.1',
  'aiofiles==25.1.0',
  'aiokafka==0.14.0',
  'annotated-types==0.8.0',
  'anyio==4.16.0',
  'asgiref==3.13.0',
  'async-timeout==5.0.1',
  'click==8.5.1',
  'cloudpickle==3.1.3',
  'fastapi==0.115.14',
  'googleapis-common-protos==1.76.0',
  'grpcio==1.85.3',
  'h11==0.16.0',
  'idna==3.20',
  'importlib_resources==6.5.2',
  'joblib==1.6.0',
  'narwhals==2.29.0',
  'numpy==2.4.6',
  'opentelemetry-api==1.45.2',
  'opentelemetry-exporter-otlp-common==0.66b2',
  'opentelemetry-exporter-otlp-proto-common==1.45.2',
  'opentelemetry-exporter-otlp-proto-grpc==1.45.2',
  'opentelemetry-instrumentation==0.66b2',
  'opentelemetry-instrumentation-asgi==0.66b2',
  'opentelemetry-instrumentation-fastapi==0.66b2',
  'opentelemetry-instrumentation-grpc==0.66b2',
  'opentelemetry-proto==1.45.2',
  'opentelemetry-sdk==1.45.2',
  'opentelemetry-semantic-conventions==0.66b2',
  'opentelemetry-util-http==0.66b2',
  'orjson==3.13.0',
  'packaging==26.3',
  'pandas==3.1.1',
  'prometheus_client==0.26.0',
  'protobuf==6.33.6',
  'py-grpc-prometheus==0.8.0',
  'pydantic==2.14.4',
  'pydantic-settings==2.16.3',
  'pydantic_core==2.50.5',
  'python-dateutil==4.0.0',
  'python-dotenv==1.2.4',
  'python-multipart==0.0.34',
  'scikit-learn==1.9.1',
  'scipy==1.17.1',
  'starlette==0.46.2',
  'starlette_exporter==0.24.0',
  'threadpoolctl==3.8.0',
  'typing-inspection==0.4.5',
  'typing_extensions==4.16.0',
  'uvicorn==0.54.0',
  'wrapt==2.5.2',
]

export type MlserverInstallation = Venv & {
  script: string
  model: string
  /** A JSON file: `{ row, target }[]`, rows that the model was not trained on. */
  rows: string
}

/** Installed and trained once; quick when it is there. */
export async function installMlserver(): Promise<MlserverInstallation> {
  const script = await readFile(join(import.meta.dirname, 'train.py'), 'utf8')
  const venv = await createVenv('mlserver', REQUIREMENTS, { complete: true, script, python: { from: 11, to: 12 } })
  return {
    ...venv,
    script: join(import.meta.dirname, 'serve-mlserver.py'),
    model: join(venv.dir, 'breast-cancer.joblib'),
    rows: join(venv.dir, 'breast-cancer-rows.json'),
  }
}
