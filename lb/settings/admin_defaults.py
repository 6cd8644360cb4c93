"""Where the operator's side is, and where its token, unless told otherwise: all that a command asks first."""

ADMIN_LISTEN = "127.0.0.1:9000"
TOKEN_VARIABLE = "LB_ADMIN_TOKEN"
