"""The error tree of the testbed: every message names the object, the cause and the next step.

`build` turns a `ComponentError` into exit status 2; the fixtures let it fail the test.
"""


class ComponentError(Exception):
    """A component of the testbed cannot be built, started or used."""


class MissingComponent(ComponentError):
    """A component has not been built yet, or the directory that should hold it lacks it."""


class StartFailed(ComponentError):
    """A component did not come up in its time; the message ends with the tail of its log."""


class KubectlFailed(ComponentError):
    """`kubectl` ended with a status other than 0."""


class ApiRefused(ComponentError):
    """The API server answered with an error status.

    `status` is the HTTP status, `reason` the reason of the returned `Status` object (empty where there is none).
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ImpossibleStatus(ComponentError):
    """A fake was about to report a state that no real component can reach."""
