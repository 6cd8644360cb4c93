"""The operator's API from a terminal: `lb backends`, `top`, `why`, `tap` and `drain`.

    commands        what can be typed; nothing slow is imported before one of them runs
    where           which balancer is meant, and the token for it
    client          one call, one stream of events; what goes wrong becomes a `Failed`
    backends, waiting, balancer, why, top, tap      one for each thing that can be asked
    text            what came from elsewhere, made safe to print

It only speaks HTTP, as curl would, and knows nothing of the balancer but its API: what that decides is not
decided here a second time. Each runs for as long as somebody waits for it, so plain blocking code will do.
"""
