"""The way to AWS: a small client of the few operations that functions use.

botocore takes most of the time in which a function starts, and several times that of a request;
what is needed of it is little. Everything here speaks to endpoints of AWS, with the function's own
credentials; nothing that a caller or a provider says decides where to (for that there is
:mod:`keystow.egress`). Tests hold it against botocore: the same store, the same bytes.

    signing      Signature Version 4
    credentials  of the function, renewed before they end
    endpoints    where a service answers
    wire         HTTP/1.1 over kept connections
    retrying     what is asked again
    client       calls, of all that
    clients      one of each service for a container
"""
