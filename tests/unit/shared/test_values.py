"""Value classes behave as the standard dataclasses that they stand for, and the standard functions take them."""

import copy
import dataclasses
import os
import pickle
import subprocess
import sys
from typing import Generic, TypeVar

import pytest

from dagferry_shared import values
from dagferry_shared.values import asdict, dataclass, field, replace

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Point:
    """What docstrings are for."""

    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list)

    @property
    def sum(self) -> int:
        return self.x + self.y


@dataclass(slots=True)
class Counter:
    name: str
    count: int = 0


@dataclass(frozen=True, slots=True)
class Secret:
    user: str
    password: str = field(repr=False, default="none")
    cache: object = field(compare=False, default=None)


@dataclass(frozen=True, slots=True)
class Box(Generic[T]):
    content: T

    def __str__(self) -> str:
        return f"<{self.content}>"


@dataclass(frozen=True, slots=True)
class Inner:
    pairs: dict[str, Point]
    row: tuple[Point, ...]


def test_fields_are_given_in_order_by_name_or_by_default() -> None:
    assert (Point(1).x, Point(1).y, Point(1).tags) == (1, 2, [])
    assert Point(1, tags=["a"], y=5) == Point(1, 5, ["a"])
    assert Point(x=1).sum == 3
    assert Point(1).tags is not Point(1).tags


@pytest.mark.parametrize(
    ("given", "named", "words"),
    [
        ((), {}, "lacks 'x'"),
        ((1, 2, [], 4), {}, "takes 3 values, 4 were given"),
        ((1,), {"x": 1}, "does not take x, or not twice"),
        ((1,), {"z": 1}, "does not take z"),
    ],
)
def test_wrong_calls_say_what_is_wrong(given: tuple[object, ...], named: dict[str, object], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        Point(*given, **named)


def test_frozen_values_cannot_be_changed_and_can_be_hashed() -> None:
    point = Point(1)
    for change in (lambda: setattr(point, "x", 2), lambda: delattr(point, "x"), lambda: setattr(point, "new", 2)):
        with pytest.raises(AttributeError):
            change()
    assert point.x == 1
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_other_values_can_be_changed_and_not_hashed() -> None:
    counter = Counter("a")
    counter.count += 1
    assert counter == Counter("a", 1)
    with pytest.raises(AttributeError):
        counter.new = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        hash(counter)


def test_equality_is_of_one_class_and_of_compared_fields() -> None:
    assert Secret("a", cache=1) == Secret("a", cache=2)
    assert Secret("a") != Secret("a", "b")
    assert Box(1) != Counter("x")
    assert Box(1) == Box(1)
    assert Box(1) != Box(2)


def test_representation_leaves_out_what_is_not_to_be_shown() -> None:
    assert repr(Secret("a", "word")) == "Secret(user='a', cache=None)"
    assert repr(Point(1)) == "Point(x=1, y=2, tags=[])"
    assert str(Box(1)) == "<1>"


def test_class_keeps_its_name_documentation_and_parameters() -> None:
    assert (Point.__name__, Point.__doc__, Point.__module__) == ("Point", "What docstrings are for.", __name__)
    assert Box[int](3).content == 3
    match Point(7):
        case Point(x, 2):
            assert x == 7


def test_values_are_copied_and_pickled() -> None:
    for value in (Point(1, 2, ["a"]), Counter("a", 3)):
        assert copy.deepcopy(value) == value
        assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize("change", [replace, dataclasses.replace])
def test_replace_changes_some_fields_of_a_copy(change: object) -> None:
    point = Point(1, 2, ["a"])
    assert change(point, y=5) == Point(1, 5, ["a"])  # type: ignore[operator]
    assert point.y == 2
    with pytest.raises(TypeError):
        change(point, z=1)  # type: ignore[operator]


def test_asdict_is_the_standard_one() -> None:
    value = Inner({"a": Point(1, 2, ["t"])}, (Point(3),))
    expected = {"pairs": {"a": {"x": 1, "y": 2, "tags": ["t"]}}, "row": ({"x": 3, "y": 2, "tags": []},)}
    assert asdict(value) == dataclasses.asdict(value) == expected
    assert dataclasses.is_dataclass(value)
    assert [one.name for one in dataclasses.fields(Point)] == ["x", "y", "tags"]


@dataclass(frozen=True, slots=True)
class Checked:
    low: int
    high: int = 9

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low above high")


def test_own_check_is_run_whichever_way_an_object_is_made() -> None:
    assert Checked(1).high == 9
    for make in (lambda: Checked(10), lambda: Checked(3, 2), lambda: replace(Checked(1), low=10)):
        with pytest.raises(ValueError, match="low above high"):
            make()


def test_fields_are_not_inherited() -> None:
    with pytest.raises(TypeError, match="would inherit fields"):

        @dataclass(frozen=True, slots=True)
        class Child(Checked):
            more: int = 0


def test_value_classes_have_slots() -> None:
    assert not hasattr(Point(1), "__dict__")
    with pytest.raises(AssertionError):
        values.dataclass(slots=False)


def test_asdict_loads_no_dataclasses() -> None:
    code = "import sys; from dagferry_shared.values import asdict, dataclass\n"
    code += "@dataclass(slots=True)\nclass Pair:\n    one: int\n    two: object\n"
    code += "print(asdict(Pair(1, Pair(2, [3]))), 'dataclasses' in sys.modules)"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # coverage loads them
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True)
    assert done.stdout == "{'one': 1, 'two': {'one': 2, 'two': [3]}} False\n", done.stderr
