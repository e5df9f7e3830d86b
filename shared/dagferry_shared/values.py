"""Value classes: what ``@dataclass(slots=True)`` makes of a class, without compiling source for each one at import.

The standard ``dataclasses`` imports inspect and runs ``exec`` for every class: a quarter of what it cost to start a
puller. Here the methods are closures over the fields' slots. Only what dagferry uses is there: no inheritance of
fields (it is refused), no ordering. The standard ``fields``, ``replace`` and ``asdict`` take these classes, too.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_NOTHING: Any = object()


class _Field:
    """What ``field`` says of one field."""

    __slots__ = ("compare", "default", "factory", "repr")

    def __init__(self, default: object, factory: Callable[[], Any] | None, *, repr: bool, compare: bool) -> None:  # noqa: A002
        self.default, self.factory, self.repr, self.compare = default, factory, repr, compare

    def make(self) -> Any:
        return self.default if self.factory is None else self.factory()


def field(
    *,
    default: Any = _NOTHING,
    default_factory: Callable[[], Any] | None = None,
    repr: bool = True,  # noqa: A002 - the names are those of dataclasses
    compare: bool = True,
) -> Any:
    """Describe a field, as ``dataclasses.field`` does."""
    return _Field(default, default_factory, repr=repr, compare=compare)


class _StandardFields:
    """Makes the standard ``fields``, ``replace`` and ``asdict`` work: their kind of fields, once they ask for it."""

    def __get__(self, _: object, owner: type) -> Any:
        import dataclasses  # noqa: PLC0415 - it is what is not to be loaded

        return dataclasses.make_dataclass(owner.__name__, owner.__match_args__).__dataclass_fields__  # type: ignore[attr-defined]


def _tuple_of(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _methods(fields: dict[str, _Field], *, frozen: bool) -> dict[str, Any]:
    """Return the methods of a value class."""
    compared = _tuple_of([name for name, one in fields.items() if one.compare])
    shown = [name for name, one in fields.items() if one.repr]
    every = _tuple_of(list(fields))

    def equal(self: object, other: object) -> bool:
        return compared(self) == compared(other) if type(other) is type(self) else NotImplemented

    def represent(self: object) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def reduce(self: object) -> tuple[type, tuple[Any, ...]]:
        return type(self), every(self)

    methods: dict[str, Any] = {"__eq__": equal, "__repr__": represent, "__reduce__": reduce, "__hash__": None}
    if frozen:
        methods |= {"__hash__": lambda self: hash(compared(self)), "__setattr__": _refuse, "__delattr__": _refuse}
    return methods


def _refuse(self: object, name: str, *_: object) -> None:
    raise AttributeError(f"{type(self).__qualname__}.{name} cannot be changed")


def _complete(cls: type, fields: dict[str, _Field], given: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
    """Return the value of each field of a call: given in order, given by name, or its default."""
    if len(given) > len(fields):
        raise TypeError(f"{cls.__name__}() takes {len(fields)} values, {len(given)} were given")
    values = list(given)
    for name, one in list(fields.items())[len(given) :]:
        value = named.pop(name, _NOTHING)
        if value is _NOTHING:
            value = one.make()
        if value is _NOTHING:
            raise TypeError(f"{cls.__name__}() lacks {name!r}")
        values.append(value)
    if named:
        raise TypeError(f"{cls.__name__}() does not take {', '.join(named)}, or not twice")
    return values


def _initializer(cls: type, fields: dict[str, _Field]) -> Callable[..., None]:
    put = [getattr(cls, name).__set__ for name in fields]  # the slots: also a frozen object is filled by them
    count, check = len(put), getattr(cls, "__post_init__", None)

    def initialize(self: object, *given: Any, **named: Any) -> None:
        values = given if len(given) == count and not named else _complete(cls, fields, given, named)
        for into, value in zip(put, values):  # noqa: B905 - as many, by the line before
            into(self, value)
        if check is not None:
            check(self)

    return initialize


@dataclass_transform(field_specifiers=(field,))
def dataclass(*, slots: bool, frozen: bool = False) -> Callable[[type[_T]], type[_T]]:
    """Make a class with annotations a value class, as ``dataclasses.dataclass`` does.

    Args:
        slots: must be true: values are kept in slots.
        frozen: whether its objects can be hashed, and not be changed.
    """
    assert slots, "value classes have slots"  # noqa: S101 - the word stands there for readers and type checkers

    def make(cls: type[_T]) -> type[_T]:
        if hasattr(cls, "__dataclass_fields__"):
            raise TypeError(f"{cls.__name__} would inherit fields, which value classes cannot")
        space = dict(cls.__dict__)
        fields = {}
        for name in space.get("__annotations__", {}):
            given = space.pop(name, _NOTHING)
            fields[name] = given if isinstance(given, _Field) else _Field(given, None, repr=True, compare=True)
        for name in ("__dict__", "__weakref__"):
            space.pop(name, None)
        space = _methods(fields, frozen=frozen) | space
        space |= {"__slots__": tuple(fields), "__match_args__": tuple(fields), "__qualname__": cls.__qualname__}
        space["__dataclass_fields__"] = _StandardFields()
        kind: Any = type(cls)
        made = kind(cls.__name__, cls.__bases__, space)
        made.__init__ = _initializer(made, fields)
        return made  # type: ignore[no-any-return]

    return make


def replace(value: _T, /, **changes: Any) -> _T:
    """Return a copy with some fields changed, as ``dataclasses.replace`` does."""
    cls: Any = type(value)
    names = cls.__match_args__
    fields = dict(zip(names, value.__reduce__()[1], strict=True))  # each poll does this five times
    fields.update(changes)
    if len(fields) != len(names):
        raise TypeError(f"{cls.__name__} has no {', '.join(changes.keys() - set(names))}")
    return cls(*fields.values())  # type: ignore[no-any-return]


def asdict(value: object) -> dict[str, Any]:
    """Return the fields as a dictionary, values inside as well, as ``dataclasses.asdict`` does."""
    return {name: _plain(getattr(value, name)) for name in type(value).__match_args__}  # type: ignore[attr-defined]


def _plain(value: Any) -> Any:
    if "__dataclass_fields__" in vars(type(value)):  # to ask for it would load what is not to be loaded
        return asdict(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(one) for one in value)
    return value
