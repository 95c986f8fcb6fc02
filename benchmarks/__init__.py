"""What the project measures itself by: other supervisors and ours on the same small services, by ``make bench``.

Nothing here is part of the product, and no test asserts a time that is measured here. Traffic goes to 127.0.0.1 alone,
everything that is written lies in temporary folders and in ``build``, and each process is ended by its own pid.
"""
