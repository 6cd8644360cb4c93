"""The operator's side: watch and steer a running balancer over HTTP.

serve.py      the service: sockets, limits, restarts
app.py        every request's way in and out
operation.py  what can be asked; routes, checks, /openapi.json and the cheat sheet are made from it
backends.py (views: backend_views.py), pools.py, health.py, metrics.py, about.py    the resources
stats.py, events.py (what is told: telling.py), drain.py    for whoever watches, and takes this one out
config.py (the keys: effective.py)    the configuration: look, judge, reload
schema.py, settings.py, parameters.py    what is asked
conditions.py, access.py, targets.py     whether it may be
render.py, replies.py, problems.py, saving.py    what is answered
families.py, backend_metrics.py    what /metrics is made of
"""
