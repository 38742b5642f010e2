"""pgflow: durable workflows inside PostgreSQL.

```python
from pgflow import Client, Flow, Worker

flow = Flow("greeting")

@flow.step
def greet(run: dict[str, str]) -> str:
    return f"hello {run['name']}"

with Client() as client, Worker("", [flow]):
    client.define(flow)
    print(client.run(flow, {"name": "ann"}).wait())
```

`Flow` says what is to be done, `Client` starts runs and looks after them, `Worker` does the steps. PGHOST, PGDATABASE
and so on say where the database is, or a connection string.
"""

from .calls import Definition
from .client import AsyncClient, AsyncRunHandle, Client, RunHandle
from .context import Context
from .errors import (
    Conflict,
    DefinitionError,
    InvalidValue,
    NonRetryable,
    NotAllowed,
    NotFound,
    PgflowError,
    Refused,
    RetryAfter,
    RunCancelled,
    RunFailed,
    TaskCancelled,
)
from .flow import Flow, Step, StepOptions
from .state import RunState, StepState
from .worker import Worker

__all__ = [
    "AsyncClient",
    "AsyncRunHandle",
    "Client",
    "Conflict",
    "Context",
    "Definition",
    "DefinitionError",
    "Flow",
    "InvalidValue",
    "NonRetryable",
    "NotAllowed",
    "NotFound",
    "PgflowError",
    "Refused",
    "RetryAfter",
    "RunCancelled",
    "RunFailed",
    "RunHandle",
    "RunState",
    "Step",
    "StepOptions",
    "StepState",
    "TaskCancelled",
    "Worker",
]
__version__ = "0.2.0"
