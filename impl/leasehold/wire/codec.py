"""Records to the JSON of the adapter protocol and back, in exactly its shapes.

Decoding is strict about what the protocol names: a missing member, a wrong type, an unknown tag or word is a `ShapeError` that
says where. ``True`` is no integer and ``3.0`` is none either. Members the protocol does not name are ignored. An optional member
(marked ``?`` in the protocol) may be absent or null, which are the same. A value typed ``Json`` is handed on as it is, not copied.

Encoding is as strict, and gives one canonical form: every member, an optional one that is none as null; only in a node, whose
members share one object with its content, it is left out. The turn commit hash (COMMIT-9) is taken over this form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, overload

import attrs
from cattrs import Converter

from leasehold.records import (
    ActivePath,
    Append,
    Batch,
    BatchDraft,
    Boundary,
    Claim,
    Commit,
    CommitResult,
    Fence,
    FullGraph,
    GcReport,
    GraphDelta,
    Group,
    Intent,
    Json,
    Lease,
    LeaseCompletion,
    ManifestEntry,
    MergeKey,
    Node,
    Read,
    ReadScope,
    ReplaceFull,
    SessionMeta,
    Unchanged,
    UsageRow,
    VacuumReport,
)

T = TypeVar("T")
Decode = Callable[[Any], Any]
"""Wire value to record value; raises `ShapeError` with a path relative to the value."""
Encode = Callable[[Any], Any]
"""Record value to wire value."""


class ShapeError(ValueError):
    """A value does not have the shape the protocol gives it. ``path`` is where, e.g. ``ok.batches[0].enqueue_seq``, or empty."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(path, message)
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message

    def below(self, place: str) -> ShapeError:
        """The same error, seen from the value that holds this one at ``place`` (a member's name, or ``[index]``)."""
        joint = "" if not place or not self.path or self.path.startswith("[") else "."
        return ShapeError(f"{place}{joint}{self.path}", self.message)


_brief = Repr()
_brief.maxstring = _brief.maxlong = _brief.maxother = 60


def _expected(what: str, value: object) -> ShapeError:
    return ShapeError("", f"{what} was expected, got {_brief.repr(value)}")


def _at(place: str, function: Callable[[Any], Any], value: Any) -> Any:
    try:
        return function(value)
    except ShapeError as error:
        raise error.below(place) from None


# ---- decoding: one hook per kind of type ----------------------------------------------------------------------------------


def _decode_int(value: Any, _: Any = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _expected("an integer", value)
    return value


def _decode_text(value: Any, _: Any = None) -> str:
    if not isinstance(value, str):
        raise _expected("text", value)
    return value


def _decode_bytes(value: Any, _: Any = None) -> bytes:
    numbers = [_at(f"[{index}]", _decode_int, item) for index, item in enumerate(_decode_list(value))]
    for index, number in enumerate(numbers):
        if not 0 <= number <= 255:
            raise _expected("a byte value, 0 to 255,", number).below(f"[{index}]")
    return bytes(numbers)


def _decode_null(value: Any, _: Any = None) -> None:
    if value is not None:
        raise _expected("null", value)


def _decode_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _expected("an array", value)
    return value


def _decode_object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _expected("an object", value)
    return value


def _words_decoder(words: Any) -> Callable[[Any, Any], Any]:
    known = get_args(words)

    def decode(value: Any, _: Any) -> Any:
        if not isinstance(value, str) or value not in known:
            raise _expected("one of " + ", ".join(repr(word) for word in known), value)
        return value

    return decode


def _array_decoder(array: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
    item = _decoder(get_args(array)[0])

    def decode(value: Any, _: Any) -> tuple[Any, ...]:
        return tuple(_at(f"[{index}]", item, element) for index, element in enumerate(_decode_list(value)))

    return decode


def _optional_decoder(optional: Any) -> Callable[[Any, Any], Any]:
    (present,) = (option for option in get_args(optional) if option is not NoneType)
    decode_present = _decoder(present)
    return lambda value, _: None if value is None else decode_present(value)


def _members(record: type) -> list[tuple[str, Any, bool]]:
    """The members of a record: name, type, and whether the protocol lets it be absent."""
    fields = attrs.fields(attrs.resolve_types(record))
    return [(f.name, f.type, _admits_none(f.type) or (f.type is Any and f.default is None)) for f in fields]


def _admits_none(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)


def _record_decoder(record: Any) -> Callable[[Any, Any], Any]:
    members = [(name, _decoder(kind), optional) for name, kind, optional in _members(record)]

    def decode(value: Any, _: Any) -> Any:
        given = _decode_object(value)
        return record(**{name: _member(given, name, decoder, optional) for name, decoder, optional in members})

    return decode


def _member(given: Mapping[str, Any], name: str, decode: Decode, optional: bool) -> Any:
    if name in given:
        return _at(name, decode, given[name])
    if optional:
        return None
    raise ShapeError(name, "this member is required and missing")


def _decoder(kind: Any) -> Decode:
    if kind is Any:
        return lambda value: value
    hook = _converter.get_structure_hook(kind)
    return lambda value: hook(value, kind)


# ---- shapes that are more than their members --------------------------------------------------------------------------------

_DELTA_TAGS: dict[str, type] = {"Unchanged": Unchanged, "Append": Append, "ReplaceFull": ReplaceFull}
_SCOPE_TAGS: dict[str, type] = {"full_graph": FullGraph, "active_path": ActivePath}


def _tagged_decoder(tags: dict[str, type]) -> Callable[[Any, Any], Any]:
    decoders = {tag: _record_decoder(record) for tag, record in tags.items()}

    def decode(value: Any, _: Any) -> Any:
        given = _decode_object(value)
        present = [tag for tag in decoders if tag in given]
        if len(present) != 1:
            raise _expected("an object with one of the members " + ", ".join(decoders), value)
        return _at(present[0], lambda inner: decoders[present[0]](inner, None), given[present[0]])

    return decode


def _decode_group(value: Any, _: Any = None) -> Group:
    return Group(_member(_decode_object(value), "group", _decode_text, optional=False))


def _decode_merge_key(value: Any, _: Any = None) -> Any:
    return _decode_group(value) if isinstance(value, dict) else _decode_word_of_merge_key(value)


def _decode_word_of_merge_key(value: Any) -> Any:
    if not isinstance(value, str) or value not in ("never", "payload_default"):
        raise _expected("'never', 'payload_default' or a group", value)
    return value


def _encode_merge_key(value: Any) -> Json:
    return {"group": _at("group", _decode_text, value.group)} if isinstance(value, Group) else _decode_word_of_merge_key(value)


_USAGE = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")


def _decode_usage_row(value: Any, _: Any = None) -> UsageRow:
    given = _decode_object(value)
    source = _member(given, "source", _decode_text, optional=False)
    model = _member(given, "model", _decode_text, optional=False)
    return UsageRow(source=source, model=model, **_member(given, "usage", _decode_usage, optional=False))


def _decode_usage(value: Any) -> dict[str, int]:
    given = _decode_object(value)
    return {name: _member(given, name, _decode_int, optional=False) for name in _USAGE}


def _usage_row_encoder() -> Encode:
    encode_flat = _record_encoder(UsageRow)

    def encode(row: Any) -> Json:
        flat = encode_flat(row)
        return {"source": flat["source"], "model": flat["model"], "usage": {name: flat[name] for name in _USAGE}}

    return encode


_NODE = ("node_id", "parent_node_id", "agent_frame_id", "timestamp")


def _decode_node(value: Any, _: Any = None) -> Node:
    given = _decode_object(value)
    optional_text = _decoder(str | None)
    return Node(
        node_id=_member(given, "node_id", _decode_text, optional=False),
        parent_node_id=_member(given, "parent_node_id", optional_text, optional=True),
        agent_frame_id=_member(given, "agent_frame_id", optional_text, optional=True),
        timestamp=_member(given, "timestamp", _decode_text, optional=False),
        content={name: member for name, member in given.items() if name not in _NODE},
    )


def _node_encoder() -> Encode:
    encode_flat = _record_encoder(Node)

    def encode(node: Any) -> Json:
        own = encode_flat(node)
        content = _at("content", _decode_object, own.pop("content"))
        for name in _NODE:
            if name in content:
                raise ShapeError(f"content.{name}", "a node's content cannot hold a member of the node itself")
        return {name: value for name, value in own.items() if value is not None} | dict(content)

    return encode


# ---- encoding ---------------------------------------------------------------------------------------------------------------


def _encoder(kind: Any) -> Encode:
    if kind is Any:
        return lambda value: value
    return _converter.get_unstructure_hook(kind)


def _record_encoder(record: Any) -> Encode:
    members = [(name, _encoder(kind)) for name, kind, _ in _members(record)]

    def encode(value: Any) -> Json:
        if not isinstance(value, record):
            raise _expected(f"a {record.__name__}", value)
        return {name: _at(name, encoder, getattr(value, name)) for name, encoder in members}

    return encode


def _tagged_encoder(tag: str, record: type) -> Encode:
    encode = _record_encoder(record)
    return lambda value: {tag: encode(value)}


def _array_encoder(array: Any) -> Encode:
    item = _encoder(get_args(array)[0])

    def encode(value: Any) -> Json:
        if not isinstance(value, (tuple, list)):
            raise _expected("a sequence", value)
        return [_at(f"[{index}]", item, element) for index, element in enumerate(value)]

    return encode


def _optional_encoder(optional: Any) -> Encode:
    (present,) = (option for option in get_args(optional) if option is not NoneType)
    encode = _encoder(present)
    return lambda value: None if value is None else encode(value)


def _either_encoder(records: Iterable[type]) -> Encode:
    """A union of several records: by the class of the value."""
    encoders = {record: _converter.get_unstructure_hook(record) for record in records}
    names = " or ".join(record.__name__ for record in encoders)

    def encode(value: Any) -> Json:
        if type(value) not in encoders:
            raise _expected(names, value)
        return encoders[type(value)](value)

    return encode


def _refuse(kind: Any) -> Encode:
    def encode(_: Any) -> Json:
        raise _expected("a record", kind)

    return encode


def _encode_bytes(value: Any) -> Json:
    if not isinstance(value, bytes):
        raise _expected("bytes", value)
    return list(value)


def _words_encoder(words: Any) -> Encode:
    decode = _words_decoder(words)
    return lambda value: decode(value, words)


def _is_array(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _is_optional(kind: Any) -> bool:
    return _admits_none(kind) and len(get_args(kind)) == 2


def _is_words(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _teach(converter: Converter) -> None:
    """The order matters twice: the later a hook is registered, the sooner it is asked; and a hook looks up those of its parts."""
    converter.register_structure_hook_factory(attrs.has, _record_decoder)
    converter.register_unstructure_hook_factory(attrs.has, _record_encoder)
    converter.register_structure_hook_factory(_is_words, _words_decoder)
    converter.register_unstructure_hook_factory(_is_words, _words_encoder)
    converter.register_structure_hook_factory(_is_array, _array_decoder)
    converter.register_unstructure_hook_factory(_is_array, _array_encoder)
    converter.register_structure_hook_factory(_is_optional, _optional_decoder)
    converter.register_unstructure_hook_factory(_is_optional, _optional_encoder)
    for plain, check in ((int, _decode_int), (str, _decode_text), (NoneType, _decode_null)):
        converter.register_structure_hook(plain, check)
        converter.register_unstructure_hook(plain, check)
    converter.register_structure_hook(bytes, _decode_bytes)
    converter.register_unstructure_hook(bytes, _encode_bytes)
    converter.register_structure_hook(Node, _decode_node)
    converter.register_unstructure_hook(Node, _node_encoder())
    converter.register_structure_hook(UsageRow, _decode_usage_row)
    converter.register_unstructure_hook(UsageRow, _usage_row_encoder())
    converter.register_structure_hook(Group, _decode_group)
    converter.register_structure_hook(MergeKey, _decode_merge_key)
    converter.register_unstructure_hook(MergeKey, _encode_merge_key)
    for union, tags in ((GraphDelta, _DELTA_TAGS), (ReadScope, _SCOPE_TAGS)):
        converter.register_structure_hook(union, _tagged_decoder(tags))
        for tag, record in tags.items():
            converter.register_structure_hook(record, _tagged_decoder({tag: record}))
            converter.register_unstructure_hook(record, _tagged_encoder(tag, record))
        converter.register_unstructure_hook(union, _either_encoder(tags.values()))


_converter = Converter(detailed_validation=False, unstructure_fallback_factory=_refuse)
_teach(_converter)


# ---- the public functions ---------------------------------------------------------------------------------------------------


def to_wire(record: Any) -> Json:
    """A record as the protocol writes it. Raises `ShapeError` for what is no record."""
    return _converter.unstructure(record)


@overload
def from_wire(record_type: type[T], value: Json, path: str = "") -> T: ...
@overload
def from_wire(record_type: Any, value: Json, path: str = "") -> Any: ...
def from_wire(record_type: Any, value: Json, path: str = "") -> Any:
    """The record of that type (a record, a union of records, an optional one or ``tuple[record, ...]``) that the value writes.

    ``path`` is where the value stands; errors start with it. Raises `ShapeError`.
    """
    return _at(path, _decoder(record_type), value)


@attrs.frozen
class Signature:
    """The arguments of one operation, by name and in the order of the Store method, and its result."""

    args: tuple[tuple[str, Any], ...]
    result: Any


def _signature(result: Any, **args: Any) -> Signature:
    return Signature(tuple(args.items()), result)


_CLAIMING = {"session_id": str, "session_execution_lease": Fence, "owner_id": str, "boundary": Boundary, "lease_ttl_ms": int}

SIGNATURES: Mapping[str, Signature] = {
    "load_session": _signature(Read | None, scope=ReadScope),
    "load_node": _signature(Node | None, node_id=str),
    "commit_runtime_state": _signature(CommitResult, commit=Commit),
    "try_claim_session_execution_lease": _signature(Lease | None, session_id=str, owner_id=str, lease_ttl_ms=int),
    "renew_session_execution_lease": _signature(Lease, fence=Fence, lease_ttl_ms=int),
    "release_session_execution_lease": _signature(NoneType, completion=LeaseCompletion),
    "enqueue_queued_work": _signature(Batch, batch=BatchDraft),
    "claim_ready_queued_work": _signature(Claim | None, **_CLAIMING, max_batches=int),
    "claim_ready_queued_work_by_batch_ids": _signature(Claim | None, **_CLAIMING, batch_ids=tuple[str, ...]),
    "renew_queued_work_claim": _signature(Claim, claim=Claim, lease_ttl_ms=int),
    "abandon_queued_work_claim": _signature(NoneType, claim=Claim),
    "cancel_queued_work_batch": _signature(Batch | None, session_id=str, batch_id=str),
    "list_queued_work": _signature(tuple[Batch, ...], session_id=str),
    "list_pending_queued_work": _signature(tuple[Batch, ...], session_id=str),
    "save_session_meta": _signature(NoneType, meta=SessionMeta),
    "load_session_meta": _signature(SessionMeta | None),
    "tombstone_nodes": _signature(NoneType, ids=tuple[str, ...]),
    "vacuum": _signature(VacuumReport),
    "gc_unreachable": _signature(GcReport),
    "record_intent": _signature(NoneType, intent=Intent),
    "commit_refs": _signature(NoneType, session_id=str, attachment_ids=tuple[str, ...]),
    "list_uncommitted": _signature(tuple[ManifestEntry, ...], older_than_epoch_ms=int),
    "forget": _signature(NoneType, attachment_id=str),
}
"""Every operation of the protocol: what it takes and what it gives."""


def signature(op: str) -> Signature:
    """The signature of an operation. Raises `ShapeError` for a name that is none."""
    if op not in SIGNATURES:
        raise ShapeError("op", f"unknown operation {op!r}")
    return SIGNATURES[op]


def encode_args(op: str, args: tuple[Any, ...]) -> dict[str, Json]:
    """The arguments of a call, in the order of the Store method, as the protocol's ``args``."""
    declared = signature(op).args
    if len(args) != len(declared):
        raise ShapeError("args", f"{op} takes {len(declared)} arguments, got {len(args)}")
    return {name: _at(f"args.{name}", _encoder(kind), value) for (name, kind), value in zip(declared, args, strict=True)}


def decode_args(op: str, value: Json) -> tuple[Any, ...]:
    """The protocol's ``args`` as the arguments of the Store method, in its order. Raises `ShapeError`."""
    declared = signature(op).args

    def decode(args: Any) -> tuple[Any, ...]:
        given = _decode_object(args)
        return tuple(_member(given, name, _decoder(kind), optional=False) for name, kind in declared)

    return cast("tuple[Any, ...]", _at("args", decode, value))


def encode_result(op: str, value: Any) -> Json:
    """What a Store method returned as the protocol's ``ok``. Raises `ShapeError` if it is not what the operation gives."""
    return _at("ok", _encoder(signature(op).result), value)


def decode_result(op: str, value: Json) -> Any:
    """The protocol's ``ok`` as what the Store method returns. Raises `ShapeError`."""
    return _at("ok", _decoder(signature(op).result), value)
