"""A small valid file of each format, written by hand in its published form: what the fuzzing of importers begins with."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.property import trace_samples_of_clusters as clusters
from traces.formats import lcs, oracle_general, twr, vscsi


@dataclass(frozen=True)
class Sample:
    """`folder`: name and bytes of each file, instead of a body. `variants`: other forms that the format reads."""

    body: Callable[[], bytes] = bytes
    suffix: str = ""
    options: dict[str, str] = field(default_factory=dict)
    sniffed: bool = True
    why_not: str = ""
    folder: Mapping[str, bytes] = field(default_factory=dict)
    variants: tuple[str, ...] = ()

    def bodies(self) -> list[bytes]:
        return [self.body(), *(variant.encode() for variant in self.variants)]


def write_sample(parent: Path, name: str) -> Path:
    """The sample as a file, or a folder, under `parent`."""
    sample = SAMPLES[name]
    path = parent / f"{name}{sample.suffix}"
    if not sample.folder:
        path.write_bytes(sample.body())
        return path
    path.mkdir(exist_ok=True)
    for file, data in sample.folder.items():
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_bytes(data)
    return path


def text(body: str, suffix: str = "", options: dict[str, str] | None = None, why_not: str = "", variants: tuple[str, ...] = ()) -> Sample:
    return Sample(lambda: body.encode(), suffix, options or {}, not why_not, why_not, variants=variants)


def _oracle() -> bytes:
    rows = np.zeros(40, dtype=oracle_general.RECORD)
    rows["ts_s"], rows["object"], rows["size"] = 50 + np.arange(40) // 4, np.arange(40) % 7, 512
    rows["next"] = np.where(np.arange(40) < 33, np.arange(40) + 8, -1)
    return rows.tobytes()


def _vscsi() -> bytes:
    rows = np.zeros(20, dtype=vscsi.RECORD)
    rows["version"], rows["command"], rows["length"] = 1 << 8, 0x28, 4096
    rows["sector"], rows["ts_us"] = np.arange(20) * 8, 5_000_000 + np.arange(20) * 100
    return rows.tobytes()


def _twr() -> bytes:
    rows = np.zeros(20, dtype=twr.RECORD)
    rows["ts_s"], rows["object"], rows["sizes"], rows["op_ttl"] = np.arange(20) // 4, np.arange(20) % 3, 20 << 22 | 500, 1 << 24
    return rows.tobytes()


def _lcs() -> bytes:
    rows = np.zeros(5, dtype=lcs.VERSIONS[3])
    rows["object"], rows["size"], rows["op_tenant"], rows["ttl_s"] = np.arange(5), 100, 3 | 7 << 8, 60
    return lcs.MAGIC + (3).to_bytes(8, "little") + bytes(8168) + lcs.MAGIC + rows.tobytes()


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"arrival_s": [0.5, 1.0, 2.5], "key": ["a", "b", "a"], "resp_bytes": [1, 2, 3]}), sink)
    return sink.getvalue()


SAMPLES: dict[str, Sample] = {
    "alibaba_block": text(clusters.ALIBABA_BLOCK, ".csv"),
    "alibaba_cluster_2017": text(clusters.BATCH_2017, ".csv"),
    "alibaba_cluster_2018": text(clusters.BATCH_2018, ".csv"),
    "alibaba_dlrm_2025": text(clusters.DLRM, ".csv"),
    "alibaba_genai_2026": text(clusters.IMAGES, ".csv", variants=(clusters.IMAGE_METRIC,)),
    "alibaba_gpu_2020": text(clusters.PAI_TASKS, ".csv", variants=(clusters.PAI_JOBS,)),
    "alibaba_gpu_2023": text(clusters.POD_LIST, ".csv"),
    "alibaba_microservices_2021": text(clusters.CALLS_2021, ".csv"),
    "alibaba_microservices_2022": text(clusters.CALLS_2022, ".csv"),
    "bitbrains": Sample(folder=clusters.opendc()),
    "blkparse": text(clusters.BLKPARSE, ".txt"),
    "coflow": text(clusters.COFLOW, ".txt"),
    "fio_iolog": text(clusters.IOLOG_3, ".log", variants=(clusters.IOLOG_2,)),
    "google_borg_2019": text(clusters.BORG, ".json", variants=(clusters.BORG_INSTANCES,)),
    "swim": text(clusters.SWIM, ".tsv"),
    "tencent_block": text(clusters.TENCENT_BLOCK, ".csv"),
    "access_log": text(
        '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://x/" "Mozilla/4.08 [en]"\n'
        '127.0.0.1 - - [10/Oct/2000:13:55:37 -0700] "POST /form HTTP/1.1" 302 -\n',
        ".log",
    ),
    "arc": text("10 3 0 0\n2 1 0 1\n", ".lis"),
    "azure_functions_2019": Sample(
        folder={
            "invocations.csv": b"HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,2,0,1\no,a,g,timer,0,3,0\n",
            "durations.csv": b"HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum,percentile_Average_0,percentile_Average_1,"
            b"percentile_Average_25,percentile_Average_50,percentile_Average_75,percentile_Average_99,percentile_Average_100\n"
            b"o,a,f,5,9,1.0,9.0,1,1,2,3,4,7,9\n",
            "memory.csv": b"HashOwner,HashApp,SampleCount,AverageAllocatedMb,AverageAllocatedMb_pct1,AverageAllocatedMb_pct5,"
            b"AverageAllocatedMb_pct25,AverageAllocatedMb_pct50,AverageAllocatedMb_pct75,AverageAllocatedMb_pct95,AverageAllocatedMb_pct99,"
            b"AverageAllocatedMb_pct100\no,a,9,100,64,64,80,100,120,128,128,256\n",
        },
    ),
    "azure_functions_2021": text("app,func,end_timestamp,duration\na1,f1,10.5,0.5\na1,f2,10.25,8.25\na2,f1,0.5,1.0\n", ".csv"),
    "azure_llm": text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319600,3180,8", ".csv"
    ),
    "burstgpt": text(
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,7,1.5,ChatGPT,472,18,490,Conversation log\n45,,0.25,GPT-4,1087,0,1087,API log\n",
        ".csv",
    ),
    "cachebench": text(
        '{"cache_config": {}, "test_config": {"numOps": 100, "numThreads": 2, "numKeys": 110, "getRatio": 0.5, "setRatio": 0.3, '
        '"loneGetRatio": 0.1, "keySizeRange": [1, 8, 64], "keySizeRangeProbability": [0.3, 0.7], "popularityBuckets": [10, 100], '
        '"popularityWeights": [60, 40], "valSizeRange": [10, 1000], "valSizeRangeProbability": [0.75, 0.25]}}',
        ".json",
    ),
    "csv": text("arrival_s,op,key,resp_bytes\n0.5,get,a,10\n0.75,set,b,20\n", ".csv"),
    "faasrail": text(
        'avg,mapped_wreq,1-720,721-1440\n1633,"{""mean"": 1624.0, ""bench"": ""pyaes-1""}",2,0\n2.5,"{""bench"": ""a""}",1,3\n', ".csv"
    ),
    "goreplay": text(
        "1 d7123dasd913 1700000000000000000 -1\nPOST /upload HTTP/1.1\r\nHost: w3.org\r\nContent-Length: 7\r\n\r\na=1&b=2\n🐵🙈🙉\n"
        "2 d7123dasd913 1700000000005000000 1000\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\n🐵🙈🙉\n",
        ".gor",
    ),
    "har": text(
        '{"log": {"version": "1.2", "creator": {"name": "t", "version": "1"}, "entries": ['
        '{"startedDateTime": "2009-07-24T19:20:30.45+01:00", '
        '"time": 50, "request": {"method": "GET", "url": "https://h/p?q=1", "bodySize": 0}, "response": {"status": 200, "bodySize": -1, '
        '"content": {"size": 33}}}]}}',
        ".har",
    ),
    "jsonl": text('{"arrival_s": 0.5, "op": "get", "key": "a"}\n{"arrival_s": 0.75, "op": "set", "key": "b", "req_bytes": 20}\n', ".jsonl"),
    "lcs": Sample(_lcs, ".lcs"),
    "libcachesim_csv": text("# time, object, size, next_access_vtime\n0, 5, 100, 3\n1, 6, 200, -1\n", ".csv"),
    "libcachesim_txt": text("42932745\n42932746\n42932745\n", ".txt"),
    "meta_block": text(
        "op_time,block_id,block_id_size,io_size,io_offset,user_name,user_namespace,op_name,op_count,host_name,rs_shard_id\n"
        "1702511878,12ce23eaa5534a38-9e05ce05bc10d4d0,40,8388608,0,4235083322,3487869255,getChunkData.NotInitialized,2,518845025,4\n"
        "1702511879,12ce23eaa5534a38-9e05ce05bc10d4d0,40,39,7,4235083322,3487869255,putChunk.Permanent,1,518845025,5\n",
        ".csv",
    ),
    "meta_cdn": text(
        "timestamp,cacheKey,OpType,objectSize,responseSize,responseHeaderSize,rangeStart,rangeEnd,TTL,SamplingRate\n"
        "1585119589,cdn:53,1,28816957,54773,496,1582962,1637233,1209600,0.001\n1585119590,cdn:d1,1,7163,0,540,-1,-1,-1,0.001\n",
        ".csv",
    ),
    "msr_cambridge": text(
        "128166372003061629,usr,0,Read,7014609920,24576,41286\n128166372016382155,usr,1,Write,1317441536,8192,1963\n", ".csv"
    ),
    "twitter_cache": text("0,q:q:1:8WT,11,213,4,get,0\n0,a,b,c,5,0,5,gets,0\n2,k,1,30,6,set,600\n"),
    "meta_kv": text(
        "op_time,key,key_size,op,op_count,size,cache_hits,ttl,usecase,sub_usecase\n100,abc,30,GET,3,100,2,0,u1,s\n102,77,8,SET,1,50,0,60,u2,s\n",
        ".csv",
    ),
    "mooncake": text(
        '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}\n'
        '{"timestamp": 3000, "input_length": 10, "output_length": 4, "hash_ids": [0]}\n',
        ".jsonl",
    ),
    "oracle_general": Sample(_oracle, ".oracleGeneral.bin"),
    "parquet": Sample(_parquet, ".parquet"),
    "redis_monitor": text(
        'OK\n1339518083.107412 [0 127.0.0.1:60866] "get" "a\\"b"\n1339518087.877697 [0 127.0.0.1:60866] "MSET" "k" "v\\x00" "77" "x"\n',
        ".txt",
    ),
    "qwen_bailian": text(
        '{"chat_id": 10, "parent_chat_id": -1, "timestamp": 0.25, "input_length": 20, "output_length": 3, "type": "text", "turn": 1, '
        '"hash_ids": [1, 2]}\n{"chat_id": 11, "parent_chat_id": 10, "timestamp": 1.5, "input_length": 40, "output_length": 5, '
        '"type": "text", "turn": 2, "hash_ids": [1, 2, 3]}\n',
        ".jsonl",
    ),
    "servegen": Sample(
        folder={
            "chunk-3-trace.csv": b"0,0,0,,0,0\n600,0.05,2.0,Gamma,0.25,0.8\n",
            "chunk-12-trace.csv": b"0,0.05,1.0,Gamma,1.0,2.0\n600,0.025,1.2,Weibull,0.8,3.5\n",
            "chunk-12-dataset.json": b'{"0": {"input_tokens": "{7: 1.0}", "output_tokens": "{1: 0.5, 9: 0.5}"}}',
        },
    ),
    "twr": Sample(_twr, ".twr"),
    "vscsi": Sample(_vscsi, ".vscsi"),
    "webcachesim": text("0 5 100\n2 6 200\n", ".tr"),
    "ycsb": text(
        "# a comment\nrecordcount=1000\noperationcount=300\nworkload=site.ycsb.workloads.CoreWorkload\nreadproportion=0.5\n"
        "updateproportion=0.4\nscanproportion=0.05\nmaxscanlength=10\ninsertproportion=0.05\nrequestdistribution=zipfian\n"
    ),
}
