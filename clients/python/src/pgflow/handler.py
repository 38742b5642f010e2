"""The function behind a step: what it wants, judged once when the step is defined, and how it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from .context import Context
from .errors import DefinitionError

_ITEM, _INDEX = "item", "index"
_Parameter = inspect.Parameter
_ABSENT = object()


@dataclass(frozen=True)
class Handler:
    """A function and where its arguments come from."""

    function: Callable[..., Any]
    is_async: bool
    keys: tuple[str, ...]
    """The keys of the input that its parameters name: of a single step `run` and its deps."""
    positional: tuple[tuple[str, Any], ...]
    """Keys of the input, with what to pass for an absent one."""
    named: tuple[tuple[str, str], ...]
    """Parameters and keys of the input."""
    optional: frozenset[str]
    """Parameters that have a default."""
    context: str | None
    """The parameter that gets the attempt."""
    takes_rest: bool
    """Whether it takes all other inputs as well."""

    @classmethod
    def of_step(cls, where: str, function: Callable[..., Any], known: Collection[str]) -> Handler:
        """Judges the function of a single step. `known` are the steps above it. Raises DefinitionError."""

        def source(parameter: inspect.Parameter) -> str:
            name = parameter.name
            if name != "run" and name not in known:
                there_are = ", ".join(("run", "ctx", *known))
                raise DefinitionError(f"{where}: parameter {name!r} is no step above it; there are: {there_are}")
            return name

        return cls._of(where, function, source)

    @classmethod
    def of_map(cls, where: str, function: Callable[..., Any], known: Collection[str]) -> Handler:
        """Judges the function of a map, whose parameters have any names. Raises DefinitionError."""
        names = [parameter.name for parameter in _parameters(where, function)]
        left = [key for key in (_ITEM, _INDEX) if key not in names]

        def source(parameter: inspect.Parameter) -> str | None:
            name = parameter.name
            if name in (_ITEM, _INDEX):
                return name
            if name == "run" or name in known:
                raise DefinitionError(
                    f"{where}: parameter {name!r} is a step's output or the payload, but a task of a map gets "
                    "(item, index) alone; put what it needs into the elements"
                )
            if not left:
                if parameter.default is not _Parameter.empty:
                    return None
                raise DefinitionError(f"{where}: parameter {name!r} is one too many: a map gets (item, index)")
            # One that has a default is an option of the function's, unless it is the only one that may be the item.
            if parameter.default is not _Parameter.empty and (
                left[0] == _INDEX or parameter.kind is _Parameter.KEYWORD_ONLY
            ):
                return None
            return left.pop(0)

        handler = cls._of(where, function, source)
        if handler.takes_rest:
            raise DefinitionError(f"{where}: a map's function gets (item, index) and no other keywords")
        return handler

    @classmethod
    def _of(
        cls, where: str, function: Callable[..., Any], source: Callable[[inspect.Parameter], str | None]
    ) -> Handler:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DefinitionError(f"{where}: a generator returns no JSON; return a list")
        hints = _hints(function)
        positional: list[tuple[str, Any]] = []
        named: list[tuple[str, str]] = []
        optional: set[str] = set()
        context: str | None = None
        takes_rest = False
        for parameter in _parameters(where, function):
            if parameter.kind is _Parameter.VAR_POSITIONAL:
                raise DefinitionError(f"{where}: *{parameter.name} has no names; name the deps")
            if parameter.kind is _Parameter.VAR_KEYWORD:
                takes_rest = True
            elif _is_context(parameter, hints) and parameter.kind is not _Parameter.POSITIONAL_ONLY:
                if context is not None:
                    raise DefinitionError(
                        f"{where}: parameters {context!r} and {parameter.name!r} are both the context"
                    )
                context = parameter.name
            else:
                key = source(parameter)
                has_default = parameter.default is not _Parameter.empty
                if parameter.kind is _Parameter.POSITIONAL_ONLY:
                    # No input is called "".
                    positional.append((key or "", parameter.default if has_default else None))
                elif key is not None:
                    named.append((parameter.name, key))
                    if has_default:
                        optional.add(parameter.name)
        keys = (*(key for key, _ in positional if key), *(key for _, key in named))
        call = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
        return cls(
            function=function,
            is_async=inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call),
            keys=keys,
            positional=tuple(positional),
            named=tuple(named),
            optional=frozenset(optional),
            context=context,
            takes_rest=takes_rest,
        )

    def call(self, input: Mapping[str, Any], context: Context) -> Any:
        """Calls the function with the input of a task: its output, or what is to be awaited for it."""
        arguments = [input.get(key, default) for key, default in self.positional]
        keywords: dict[str, Any] = {}
        for name, key in self.named:
            value = input.get(key, _ABSENT)
            if value is not _ABSENT:
                keywords[name] = value
            elif name not in self.optional:
                keywords[name] = None
        if self.takes_rest:
            taken = {key for _, key in self.named} | {key for key, _ in self.positional}
            keywords.update((key, value) for key, value in input.items() if key not in taken)
        if self.context is not None:
            keywords[self.context] = context
        return self.function(*arguments, **keywords)


def _parameters(where: str, function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"{where}: {function!r} does not say what parameters it has") from error


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return get_type_hints(function)
    except Exception:  # names that exist for the type checker alone
        return {}


def _is_context(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    if parameter.name == "ctx":
        return True
    annotation = hints.get(parameter.name, parameter.annotation)
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2] == "Context"
    return annotation is Context
