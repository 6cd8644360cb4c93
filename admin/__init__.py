"""The operator's side: watch and steer a running balancer over HTTP.

server       the service: sockets, limits, restarts
application  every request's way in and out
resources/   what can be asked, one module for each resource
page/        the page at / for browsers
protocol/    operations, dispatch, responses, problems, entity tags, dry runs, /openapi.json
security/    who may ask: hosts and origins, tokens, addresses of backends
input/       what is asked: parameters, bodies, forms
views/       what is answered: backends, metrics and failures in words and numbers
"""
