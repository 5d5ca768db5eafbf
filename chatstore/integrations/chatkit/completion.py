"""Complete the SDK's models while only the SDK's names are in sight.

They refer to classes that are defined after them. pydantic looks those up at a model's first use, and there first
among the names of the code that uses it: a program that imports ``chatstore.ThreadStatus`` would find that one in
the place of ChatKit's. The same holds for ``Attachment``, ``Page`` and ``Thread``.
"""

from __future__ import annotations

from chatkit import types
from pydantic import BaseModel


def complete_models() -> None:
    """Build every model of ``chatkit.types``; one that is complete already is left as it is."""
    names = vars(types)
    for model in list(names.values()):
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == types.__name__:
            model.model_rebuild(_types_namespace=names)
