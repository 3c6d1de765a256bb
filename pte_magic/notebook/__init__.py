"""The magics ``%pte``, ``%%pte`` and ``%%stap``: they parse a line and call the API."""
