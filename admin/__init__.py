"""The operator's side: watch and steer a running balancer over HTTP.

serve.py      the service: sockets, limits, restarts
app.py        every request's way in and out
operation.py  what can be asked; routes, checks, /openapi.json and the cheat sheet are made from it
backends.py, pools.py, health.py, metrics.py, about.py    the resources
schema.py, parameters.py, conditions.py, access.py, targets.py    what is asked, and whether it may be
render.py, replies.py, problems.py    what is answered
"""
