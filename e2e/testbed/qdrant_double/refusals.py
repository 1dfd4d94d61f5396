"""What the double answers instead of a result: an HTTP status and the sentence that Qdrant's envelope carries.

The prefixes ("Wrong input: ", "Not found: ") are the server's; every module raises these, `app` renders them.
"""


class Refused(Exception):
    """A request that is answered with the error status `status` and `message`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def malformed(what: str) -> Refused:
    """A body that is not of the request's form."""
    return Refused(400, f"Format error in JSON body: {what}")


def invalid(what: str) -> Refused:
    """A body of the right form with a value out of bounds."""
    return Refused(422, f"Validation error in JSON body: [{what}]")


def wrong_input(what: str) -> Refused:
    """An input that does not fit the collection."""
    return Refused(400, f"Wrong input: {what}")


def bad_request(what: str) -> Refused:
    """A request that the collection's state or settings do not allow."""
    return Refused(400, f"Bad request: {what}")


def strict_mode(what: str, help_: str) -> Refused:
    """A request that the collection's strict mode forbids."""
    return bad_request(f"{what}. Help: {help_}")


def not_found(what: str) -> Refused:
    """Something named in the request that does not exist."""
    return Refused(404, f"Not found: {what}")


def already_exists(what: str) -> Refused:
    """A name that is taken."""
    return Refused(409, f"Wrong input: {what}")


def unavailable(what: str) -> Refused:
    """Shards that cannot answer now."""
    return Refused(503, f"Shard temporarily unavailable: {what}")


def internal(what: str) -> Refused:
    """A failure inside the server."""
    return Refused(500, f"Service internal error: {what}")


def unsupported(what: str) -> Refused:
    """Something that the real server speaks and this double does not."""
    return Refused(501, f"The Qdrant double does not speak {what}; use a real server (QDRANT_URL) or extend the double")


def from_engine(error: Exception) -> Refused:
    """Translate an error of Qdrant's engine, which is a bare Exception with a sentence, as the server would."""
    text = str(error)
    if text.startswith(("Vector dimension error", "Not existing vector name error", "Wrong input", "failed to parse")):
        return wrong_input(text.removeprefix("Wrong input: "))
    if text.startswith("No point with id"):
        return not_found(f"{text} found")
    if text.startswith(("No appropriate index", "No range index", "Bad request", "Validation")):
        return bad_request(text.removeprefix("Bad request: "))
    return internal(text[:300])
