"""The decisions, pure: no sockets, no clock, no chance, no logging. Time and chance come in as arguments.

Everything here is plain `def`; the few `async def` are Protocols of what others offer. Nothing can interleave
with a plain function under Trio, so a function is our lock, and what it leaves behind is consistent at every
await of the callers.

These are the main ones; `lb docs lb/core/` lists all:

    registry         the verbs of operators and probes; on top of
      membership       which backends are in which pool, and what is wished of each
      drain_control    how drains (`drain`) begin, go on and end
      registry_events  what is told of each change
    pool             which backend takes a request; on top of
      request_queue    the order of the requests that wait
      roster           who may be chosen, kept up to date by each change
      pool_health      ejections, trials and panic
      policies/        the choice among candidates
    passed_over      the backends that a choice left out, and why
    backend          one live backend; what an operator may say of it is in `lb.settings.backend_spec`
      tally            how many of a pool are ready, fit, ejected
      health/          what probes and attempts show about it
    routes           which pool a request goes to; on top of
      route_table    the first route that matches, found without trying each
      request_path   how a backend reads the path of a request
    retry            may a request be tried again? `retry_budget`: can the pool afford it?
    exchange_record  what was decided about a request, and how it went
    body_pace        how slow a body may be
    renewal          when a certificate is renewed; `renewal_view`: how an operator sees it
    measures/        histograms, rates, sliding windows
    simulation/      copies of a registry for dry runs, and forecasts
"""
