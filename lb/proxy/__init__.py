"""The data plane: client connections, exchanges, connections to backends.

acceptor            one task per listener; one task per client connection
running_exchanges   what runs now, for an operator
client_side/        a client connection: its requests in turn, the fast path, HTTP/1 towards the client
exchange/           one request and its response: state, attempts, both bodies, hedges, tunnels
context, guard      what all exchanges share; the deadlines and the cancel scope of one
backend_side/       connections to backends: opened, lent, kept; HTTP/1 towards the backend
http1_stream        the bodies on one HTTP/1 connection, both ways
sides               the two interfaces that an exchange sees
"""
