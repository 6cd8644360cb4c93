"""The operator's side: watch and steer a running balancer over HTTP.

The layers, from the socket down; imports point only downwards, and a contract in pyproject.toml checks it:

    server            the service: its tasks, its end, its restarts
    docs_command      (beside it) `lb docs`
    application       routes, and what every request passes before and after its handler
    event_publisher   (beside it) what happens, published to the feed of /events
    trouble_watch     (beside it) looks for what is wrong; `files_on_disk` and `late_loop` do so for it
    transport/        (beside it) hypercorn's connections on sockets with limits
    dispatch          one request: the scope of its token, its handler, the audit
    reference/        what `lb docs` and /docs show, made from the types
    resources/        one module for each resource of the API
    page/             (beside it) the page at / for browsers
    changes/          what changes have in common: dry runs, the availability guard, how a change holds
    views/            what is answered: backends, requests, events, metrics and failures
    input/            (beside it) what is asked: parameters, bodies, forms
    security/         who may ask for what: hosts, tokens, scopes, backend addresses, secrets
    protocol/         operations and calls, responses and problems, entity tags, /openapi.json
"""
