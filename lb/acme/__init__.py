"""Certificates that are ordered and renewed by themselves: ACME (RFC 8555) with ARI (RFC 9773).

upkeep          which names a balancer wants, and what is served of them
challenges      what the data plane of a process does: challenges, and why there is no certificate yet
renewer         the task: for each wanted name, when is the next attempt, and what became of it
stock           what is known of each name: what the folder has of it
issuing         one attempt for one name: the authorities in line, until one gives a certificate
trial           what answers at our own challenge URL, seen through the public name
ordering        one order at one authority: authorisations, challenges, the request, the chain
directory       one authority: its resources, nonces, our account, signed requests
fetching        one HTTP request to an authority: bounded in time and size
acme_errors     what an authority says, as sentences that name what to do
ari             when an authority would like a certificate to be renewed
proofs          what proves a challenge: the key authorisation, the certificate of TLS-ALPN-01
issued          facts of a certificate that was issued
jose            signatures as ACME wants them
answers         what the data plane asks: which challenges are to be answered, and with what
storage         the folder: accounts, certificates, failures, challenges
folder_lock     the lock of that folder

Nothing here knows a listener. `answers`, `storage` and `folder_lock` need no more than msgspec. `renewer` and
what is below it need cryptography and httpx, so they are imported only where `[tls.acme]` is configured.
"""
