"""Our own server of the trainer's HTTP API, in rehearsal mode: everything real but the training.

    python -m lora_prep.trainer_service --state-folder DIR --port 8090

A client of the hosted trainer changes only its base URL: it submits, polls and downloads as it
always does. The service really fetches the data URL, opens the zip and counts the images; the LoRA
it returns is well-formed and changes nothing (`lora_B` is zero), and says so in its metadata.

How a request travels through the modules:

    app        HTTP: routes, the key, the envelope           protocol   the API in values
    service    accept, find, hand out                        links      signed, expiring links
    tasks      the task table in SQLite                      state      the folder that survives
    workers    threads that take tasks                       server     socket, logging, the end
    rehearsal  a task in, a LoRA file out  ->  dataset (fetch, count), lora (write)

The service stands apart: nothing in lora_prep imports it, and it uses only the base layer. Clients
reach it over HTTP, as they would the hosted one. It needs `pip install "lora_prep[local]"`; this
file imports nothing, so that a missing extra can be told in words.
"""

__all__: list[str] = []
