"""Models of the responses, for the OpenAPI document and for the columns of tables, by topic.

Responses are written from plain rows (responses.py), not from these models; the tests check each
response against the OpenAPI document.
"""
