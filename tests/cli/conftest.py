"""The folder of a sweep, as in the tests of records."""

from tests.records.conftest import sweep as sweep
