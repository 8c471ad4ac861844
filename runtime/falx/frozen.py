"""A dictionary that cannot be changed."""

from __future__ import annotations

from typing import NoReturn, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """A dictionary that cannot be changed, so that it can be hashed and stand in frozen results.

    To `json`, `pickle`, `copy` and `dataclasses.asdict` it is a `dict`; `types.MappingProxyType` is not.
    """

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override] # a dict has none, as it can be changed
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return type(self), (dict(self),)

    def __repr__(self) -> str:
        return dict.__repr__(self)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a result cannot be changed; make a dict of it first: dict(...)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse
