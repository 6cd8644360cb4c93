"""The data plane: client connections, exchanges, connections to backends.

acceptor            one task per listener; one for each client connection that needs one
incoming            a connection that was accepted, and who is at its other end
places              the limit on client connections, and which idle ones are closed for it
front_rules         what a client gets that came by the wrong door: redirects, other hosts, challenges
route_judge         which way a made-up request would take
running_exchanges   the exchanges that run now, listed and ended for an operator
client_side/        one client connection: its requests in turn, the fast path, HTTP/1 towards the client
exchange/           one request and its response: state, attempts, both bodies, hedges, tunnels
context, guard      what all exchanges share; the deadlines and the cancel scope of one
backend_side/       connections to backends: opened, lent, kept idle; HTTP/1 towards the backend
http1_stream        the bodies on one HTTP/1 connection, in both directions
sides               the interfaces of the two sides, as an exchange sees them
"""
