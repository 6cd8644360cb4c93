"""The reference: every key, metric, event, alert, error, field, operation and command, made from its type.

`reference_book` has the topics; the others make one topic each, of the structs, classes and tables that the
program itself works with. So a new key or metric is in the reference as soon as it exists. `lb docs` and GET
/docs show the same text.
"""
