"""Several processes as one balancer: a keeper, which decides, and workers, which carry the traffic.

These are the main ones; `lb docs lb/workers/` lists all:

keeper           the balancer of the keeper's process: truth, operators, probes; as lb.app.Balancer
worker           the program of one worker
fleet            all workers: started, fed, watched, and started again
link             the keeper's end of one worker: what it was told, what it has applied, what it says
outbox           what a worker is yet to be told
report           what a worker reports of its numbers
sums             what the workers have reported, added up
accounts         how each worker is; asks for numbers when they are wanted
fleet_exchanges  the exchanges of all workers, as the operator's side asks for them
answering        a worker's answers about its exchanges, and the failures that it tells of
messages         what the two tell each other
channel          the messages on a socket pair
borrower         what a worker does with the places that it was lent
board            numbers that the workers show each other, in shared memory
"""
