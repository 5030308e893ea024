"""The folder of a sweep, as tests of records have it."""

from tests.records.conftest import sweep as sweep
