"""The package around Word, PowerPoint and Excel documents: parts, and what refers to what.

Targets outside of the package are told apart and never followed.
"""

from __future__ import annotations

from dataclasses import dataclass

from lectern_runtime.embed.parsers.archive import Archive, beside
from lectern_runtime.embed.parsers.faults import fault
from lectern_runtime.embed.parsers.xml_tree import Element, local


@dataclass(frozen=True, slots=True)
class Relation:
    """A reference to the part `target`; `kind` is the last word of its type, as `slide` or `image`."""

    kind: str
    target: str


class Package:
    """An Office document of the kind that Microsoft writes since 2007."""

    def __init__(self, data: bytes, what: str) -> None:
        self.archive = Archive(data, what)
        self._relations: dict[str, dict[str, Relation]] = {}
        if "[Content_Types].xml" not in self.archive and "_rels/.rels" not in self.archive:
            raise fault("NotWhatItSays", f"{what} is a ZIP archive, but no Office document; name it as what it is")

    @property
    def main(self) -> str:
        """The name of the part that the document is in."""
        for relation in self.relations("").values():
            if relation.kind == "officeDocument":
                return relation.target
        raise fault("Corrupt", f"{self.archive.what} does not say which of its parts is the document")

    @property
    def title(self) -> str:
        """What the properties of the document give as its title."""
        for relation in self.relations("").values():
            if relation.kind == "core-properties":
                root = self.archive.optional_xml(relation.target)
                if root is not None:
                    return next((each.text or "" for each in root if local(each.tag) == "title"), "")
        return ""

    def relations(self, part: str) -> dict[str, Relation]:
        """What `part` refers to within the package, by id; "" is the package itself."""
        found = self._relations.get(part)
        if found is None:
            folder, _, name = part.rpartition("/")
            root = self.archive.optional_xml(f"{folder}/_rels/{name}.rels".lstrip("/"))
            found = self._relations[part] = dict(_relations(part, root)) if root is not None else {}
        return found

    def related(self, part: str, kind: str) -> list[str]:
        """The parts of one kind that `part` refers to and that are there."""
        targets = [each.target for each in self.relations(part).values() if each.kind == kind]
        return [target for target in targets if target in self.archive]

    def related_xml(self, part: str, kind: str) -> Element | None:
        """The root of the first part of one kind, or None."""
        names = self.related(part, kind)
        return self.archive.optional_xml(names[0]) if names else None


def _relations(part: str, root: Element) -> list[tuple[str, Relation]]:
    return [
        (each.get("Id", ""), Relation(each.get("Type", "").rpartition("/")[2], beside(part, each.get("Target", ""))))
        for each in root
        if each.get("TargetMode") != "External"
    ]
