"""Our own server of the trainer's HTTP API, in rehearsal mode: everything real but the training.

    python -m lora_prep.trainer_service --state-folder DIR --port 8090

A client of the hosted trainer changes only its base URL: it submits, polls and downloads as it
always does. The service really fetches the data URL, opens the zip and counts the images; the LoRA
it returns is well-formed and changes nothing (`lora_B` is zero), and says so in its metadata.

How a request travels through the modules:

    server       socket, logging, the end            keys, options     who may, and for how much
    app          routes, the key; beside it the      breakage, faults  what goes wrong on request
                 handlers: predictions, account, media                 openapi: all of it described
    service      accept, find, list, hand out        protocol, listing, answers   the API in values
    tasks        what became of each training        database, state   the folder that survives
    workers      threads that take tasks             catalogue         trainers and their ranges
    backend      what trains: a job in, files out    rehearsal -> dataset (fetch, count), lora
    webhooks     who is told of the end              deliveries        and who still has to be
    uploads      files without a bucket              links             signed, expiring links

Which addresses it may ask for a client says `lora_prep.guard`. The service stands apart: nothing in
lora_prep imports it, and it uses only the base layer. Clients reach it over HTTP, as they would the
hosted one. It needs `pip install "lora_prep[local]"`; this file imports nothing, so that a missing
extra can be told in words.
"""

__all__: list[str] = []
