from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AttachRequest(_message.Message):
    __slots__ = ("hello", "heartbeat", "result", "telemetry")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    result: CommandResult
    telemetry: Telemetry
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., result: _Optional[_Union[CommandResult, _Mapping]] = ..., telemetry: _Optional[_Union[Telemetry, _Mapping]] = ...) -> None: ...

class AttachResponse(_message.Message):
    __slots__ = ("welcome", "ack", "command")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    ack: HeartbeatAck
    command: Command
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., ack: _Optional[_Union[HeartbeatAck, _Mapping]] = ..., command: _Optional[_Union[Command, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("agent", "machine_id", "boot_id", "version", "token", "epoch_seen", "metrics_url", "labels_json", "pid")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_SEEN_FIELD_NUMBER: _ClassVar[int]
    METRICS_URL_FIELD_NUMBER: _ClassVar[int]
    LABELS_JSON_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    agent: str
    machine_id: str
    boot_id: str
    version: str
    token: str
    epoch_seen: int
    metrics_url: str
    labels_json: str
    pid: int
    def __init__(self, agent: _Optional[str] = ..., machine_id: _Optional[str] = ..., boot_id: _Optional[str] = ..., version: _Optional[str] = ..., token: _Optional[str] = ..., epoch_seen: _Optional[int] = ..., metrics_url: _Optional[str] = ..., labels_json: _Optional[str] = ..., pid: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("lease_ttl_ms", "heartbeat_ms")
    LEASE_TTL_MS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    lease_ttl_ms: int
    heartbeat_ms: int
    def __init__(self, lease_ttl_ms: _Optional[int] = ..., heartbeat_ms: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("seq", "sent_mono_ns", "attempt", "phase")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SENT_MONO_NS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    sent_mono_ns: int
    attempt: str
    phase: str
    def __init__(self, seq: _Optional[int] = ..., sent_mono_ns: _Optional[int] = ..., attempt: _Optional[str] = ..., phase: _Optional[str] = ...) -> None: ...

class HeartbeatAck(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("id", "attempt", "lease_epoch", "timeout_ms", "probe", "deploy", "await_ready", "preload", "violate", "verify_dose", "arm", "start", "finish", "undo", "teardown")
    ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    DEPLOY_FIELD_NUMBER: _ClassVar[int]
    AWAIT_READY_FIELD_NUMBER: _ClassVar[int]
    PRELOAD_FIELD_NUMBER: _ClassVar[int]
    VIOLATE_FIELD_NUMBER: _ClassVar[int]
    VERIFY_DOSE_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    UNDO_FIELD_NUMBER: _ClassVar[int]
    TEARDOWN_FIELD_NUMBER: _ClassVar[int]
    id: str
    attempt: str
    lease_epoch: int
    timeout_ms: int
    probe: Probe
    deploy: Deploy
    await_ready: AwaitReady
    preload: Preload
    violate: Violate
    verify_dose: VerifyDose
    arm: Arm
    start: Start
    finish: Finish
    undo: Undo
    teardown: Teardown
    def __init__(self, id: _Optional[str] = ..., attempt: _Optional[str] = ..., lease_epoch: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ..., deploy: _Optional[_Union[Deploy, _Mapping]] = ..., await_ready: _Optional[_Union[AwaitReady, _Mapping]] = ..., preload: _Optional[_Union[Preload, _Mapping]] = ..., violate: _Optional[_Union[Violate, _Mapping]] = ..., verify_dose: _Optional[_Union[VerifyDose, _Mapping]] = ..., arm: _Optional[_Union[Arm, _Mapping]] = ..., start: _Optional[_Union[Start, _Mapping]] = ..., finish: _Optional[_Union[Finish, _Mapping]] = ..., undo: _Optional[_Union[Undo, _Mapping]] = ..., teardown: _Optional[_Union[Teardown, _Mapping]] = ...) -> None: ...

class CommandResult(_message.Message):
    __slots__ = ("id", "ok", "failure_class", "message", "result_json")
    ID_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    FAILURE_CLASS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    ok: bool
    failure_class: str
    message: str
    result_json: str
    def __init__(self, id: _Optional[str] = ..., ok: _Optional[bool] = ..., failure_class: _Optional[str] = ..., message: _Optional[str] = ..., result_json: _Optional[str] = ...) -> None: ...

class Telemetry(_message.Message):
    __slots__ = ("attempt", "second", "scheduled", "completed", "failed", "inflight", "slip_p99_ns", "response_p50_ns", "response_p99_ns")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    SCHEDULED_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    INFLIGHT_FIELD_NUMBER: _ClassVar[int]
    SLIP_P99_NS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_P50_NS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_P99_NS_FIELD_NUMBER: _ClassVar[int]
    attempt: str
    second: int
    scheduled: int
    completed: int
    failed: int
    inflight: int
    slip_p99_ns: int
    response_p50_ns: int
    response_p99_ns: int
    def __init__(self, attempt: _Optional[str] = ..., second: _Optional[int] = ..., scheduled: _Optional[int] = ..., completed: _Optional[int] = ..., failed: _Optional[int] = ..., inflight: _Optional[int] = ..., slip_p99_ns: _Optional[int] = ..., response_p50_ns: _Optional[int] = ..., response_p99_ns: _Optional[int] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("load_cores", "connections", "by_python")
    LOAD_CORES_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    BY_PYTHON_FIELD_NUMBER: _ClassVar[int]
    load_cores: _containers.RepeatedScalarFieldContainer[int]
    connections: int
    by_python: bool
    def __init__(self, load_cores: _Optional[_Iterable[int]] = ..., connections: _Optional[int] = ..., by_python: _Optional[bool] = ...) -> None: ...

class Deploy(_message.Message):
    __slots__ = ("system", "variant", "command", "env", "cores", "pin", "port", "files", "violations")
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    system: str
    variant: str
    command: _containers.RepeatedScalarFieldContainer[str]
    env: _containers.ScalarMap[str, str]
    cores: _containers.RepeatedScalarFieldContainer[int]
    pin: bool
    port: int
    files: _containers.ScalarMap[str, str]
    violations: _containers.RepeatedCompositeFieldContainer[ViolationOrder]
    def __init__(self, system: _Optional[str] = ..., variant: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., env: _Optional[_Mapping[str, str]] = ..., cores: _Optional[_Iterable[int]] = ..., pin: _Optional[bool] = ..., port: _Optional[int] = ..., files: _Optional[_Mapping[str, str]] = ..., violations: _Optional[_Iterable[_Union[ViolationOrder, _Mapping]]] = ...) -> None: ...

class AwaitReady(_message.Message):
    __slots__ = ("probe", "path", "timeout_ms")
    PROBE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    probe: str
    path: str
    timeout_ms: int
    def __init__(self, probe: _Optional[str] = ..., path: _Optional[str] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class Preload(_message.Message):
    __slots__ = ("trace", "endpoint", "cores")
    TRACE_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    trace: TraceRef
    endpoint: Endpoint
    cores: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, trace: _Optional[_Union[TraceRef, _Mapping]] = ..., endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., cores: _Optional[_Iterable[int]] = ...) -> None: ...

class Violate(_message.Message):
    __slots__ = ("violations",)
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    violations: _containers.RepeatedCompositeFieldContainer[ViolationOrder]
    def __init__(self, violations: _Optional[_Iterable[_Union[ViolationOrder, _Mapping]]] = ...) -> None: ...

class ViolationOrder(_message.Message):
    __slots__ = ("name", "dose", "options", "target_cores", "profile_json", "load_cores")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DOSE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TARGET_CORES_FIELD_NUMBER: _ClassVar[int]
    PROFILE_JSON_FIELD_NUMBER: _ClassVar[int]
    LOAD_CORES_FIELD_NUMBER: _ClassVar[int]
    name: str
    dose: float
    options: _containers.ScalarMap[str, str]
    target_cores: _containers.RepeatedScalarFieldContainer[int]
    profile_json: str
    load_cores: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., dose: _Optional[float] = ..., options: _Optional[_Mapping[str, str]] = ..., target_cores: _Optional[_Iterable[int]] = ..., profile_json: _Optional[str] = ..., load_cores: _Optional[_Iterable[int]] = ...) -> None: ...

class VerifyDose(_message.Message):
    __slots__ = ("window_ms",)
    WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    window_ms: int
    def __init__(self, window_ms: _Optional[int] = ...) -> None: ...

class TraceRef(_message.Message):
    __slots__ = ("sha256", "rows", "bytes", "shard", "shards")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    rows: int
    bytes: int
    shard: int
    shards: int
    def __init__(self, sha256: _Optional[str] = ..., rows: _Optional[int] = ..., bytes: _Optional[int] = ..., shard: _Optional[int] = ..., shards: _Optional[int] = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("driver", "host", "port", "path", "options", "tls")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    driver: str
    host: str
    port: int
    path: str
    options: _containers.ScalarMap[str, str]
    tls: str
    def __init__(self, driver: _Optional[str] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., path: _Optional[str] = ..., options: _Optional[_Mapping[str, str]] = ..., tls: _Optional[str] = ...) -> None: ...

class Arm(_message.Message):
    __slots__ = ("trace", "endpoint", "cores", "connections", "timeout_ms", "late", "warmup_s", "measure_s", "drain_ms", "gate_achieved", "gate_slip_p99_ns", "gate_steal")
    TRACE_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_S_FIELD_NUMBER: _ClassVar[int]
    MEASURE_S_FIELD_NUMBER: _ClassVar[int]
    DRAIN_MS_FIELD_NUMBER: _ClassVar[int]
    GATE_ACHIEVED_FIELD_NUMBER: _ClassVar[int]
    GATE_SLIP_P99_NS_FIELD_NUMBER: _ClassVar[int]
    GATE_STEAL_FIELD_NUMBER: _ClassVar[int]
    trace: TraceRef
    endpoint: Endpoint
    cores: _containers.RepeatedScalarFieldContainer[int]
    connections: int
    timeout_ms: int
    late: str
    warmup_s: int
    measure_s: int
    drain_ms: int
    gate_achieved: float
    gate_slip_p99_ns: int
    gate_steal: float
    def __init__(self, trace: _Optional[_Union[TraceRef, _Mapping]] = ..., endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., cores: _Optional[_Iterable[int]] = ..., connections: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., late: _Optional[str] = ..., warmup_s: _Optional[int] = ..., measure_s: _Optional[int] = ..., drain_ms: _Optional[int] = ..., gate_achieved: _Optional[float] = ..., gate_slip_p99_ns: _Optional[int] = ..., gate_steal: _Optional[float] = ...) -> None: ...

class Start(_message.Message):
    __slots__ = ("t0_controller_mono_ns", "warmup_s", "measure_s")
    T0_CONTROLLER_MONO_NS_FIELD_NUMBER: _ClassVar[int]
    WARMUP_S_FIELD_NUMBER: _ClassVar[int]
    MEASURE_S_FIELD_NUMBER: _ClassVar[int]
    t0_controller_mono_ns: int
    warmup_s: int
    measure_s: int
    def __init__(self, t0_controller_mono_ns: _Optional[int] = ..., warmup_s: _Optional[int] = ..., measure_s: _Optional[int] = ...) -> None: ...

class Finish(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Undo(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Teardown(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SyncClockRequest(_message.Message):
    __slots__ = ("t1_agent_mono_ns",)
    T1_AGENT_MONO_NS_FIELD_NUMBER: _ClassVar[int]
    t1_agent_mono_ns: int
    def __init__(self, t1_agent_mono_ns: _Optional[int] = ...) -> None: ...

class SyncClockResponse(_message.Message):
    __slots__ = ("t1_agent_mono_ns", "t2_controller_mono_ns", "t3_controller_mono_ns")
    T1_AGENT_MONO_NS_FIELD_NUMBER: _ClassVar[int]
    T2_CONTROLLER_MONO_NS_FIELD_NUMBER: _ClassVar[int]
    T3_CONTROLLER_MONO_NS_FIELD_NUMBER: _ClassVar[int]
    t1_agent_mono_ns: int
    t2_controller_mono_ns: int
    t3_controller_mono_ns: int
    def __init__(self, t1_agent_mono_ns: _Optional[int] = ..., t2_controller_mono_ns: _Optional[int] = ..., t3_controller_mono_ns: _Optional[int] = ...) -> None: ...

class FetchTraceRequest(_message.Message):
    __slots__ = ("sha256", "token")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    token: str
    def __init__(self, sha256: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class FetchTraceResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class PutArtifactRequest(_message.Message):
    __slots__ = ("token", "attempt", "agent", "table", "sha256", "data")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    token: str
    attempt: str
    agent: str
    table: str
    sha256: str
    data: bytes
    def __init__(self, token: _Optional[str] = ..., attempt: _Optional[str] = ..., agent: _Optional[str] = ..., table: _Optional[str] = ..., sha256: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class PutArtifactResponse(_message.Message):
    __slots__ = ("bytes",)
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    def __init__(self, bytes: _Optional[int] = ...) -> None: ...
