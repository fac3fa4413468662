"""What the fault tests share with the integration tests."""

from tests.integration.conftest import (  # noqa: F401 - fixtures
    _no_child_survives,
    pipeline,
    scratch,
)
